"""fp16 ONNX models open in ONNX Runtime and compute what the fp32 ones do, or there is no export."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import Graph
from onnx import helper
from workshop import SIDE, Workshop

from segexport.artifact import ModelArtifact
from segexport.errors import WorkerFailed
from segexport.exporter.onnx_half import HalfOnnx
from segexport.exporter.program import Program
from segexport.exporter.to_onnx import ToOnnx

DIMS = (1, 3, SIDE, SIDE)
IMAGE = np.random.default_rng(1).normal(size=DIMS).astype(np.float32)


def layer_norm(graph: Graph, x: str) -> str:
    inputs = {"X": x, "Scale": graph.noise(SIDE), "Bias": graph.noise(SIDE)}
    dims = {"Y": DIMS, "Mean": DIMS[:-1], "Variance": DIMS[:-1]}
    return graph.op("layer_norm", inputs, dims, begin_norm_axis=3, epsilon=1e-5)


def rms_norm(graph: Graph, x: str) -> str:
    """Zhang and Sennrich 2019, Root Mean Square Layer Normalization, equation 4."""
    one = (*DIMS[:-1], 1)
    square = graph.op("pow", {"X": x}, DIMS, factor=2.0)
    along = {"dim": [3], "keep_dim": True, "reduce_all": False, "in_dtype": -1, "out_dtype": -1}
    mean = graph.op("reduce_mean", {"X": square}, one, **along)
    mean = graph.op("scale", {"X": mean}, one, scale=1.0, bias=1e-5, bias_after_scale=True)
    ratio = graph.op("elementwise_div", {"X": x, "Y": graph.op("sqrt", {"X": mean}, one)}, DIMS, axis=-1)
    return graph.op("elementwise_mul", {"X": ratio, "Y": graph.noise(SIDE)}, DIMS, axis=-1)


NORMS = {"layer": layer_norm, "root mean square": rms_norm}


def transformer(norm: str, times: float = 1.0) -> Program:
    """Two normalizations with a product between them and a path around it."""
    graph = Graph()
    image = graph.feed(*DIMS)
    big = graph.op("scale", {"X": image}, DIMS, scale=times, bias=0.0, bias_after_scale=True)
    inner = NORMS[norm](graph, big)
    inner = graph.op("matmul_v2", {"X": inner, "Y": graph.noise(SIDE, SIDE)}, DIMS, trans_x=False, trans_y=False)
    both = graph.op("elementwise_add", {"X": big, "Y": inner}, DIMS, axis=-1)
    return graph.program(NORMS[norm](graph, both))


def run(artifact: ModelArtifact) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(artifact.file("model")), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: IMAGE})[0]


@pytest.mark.parametrize("norm", NORMS)
def test_normalizations_around_a_residual_path(norm: str, workshop: Workshop) -> None:
    full = workshop.made(ToOnnx(), workshop.imported(transformer(norm)))
    half = workshop.made(HalfOnnx(), full)
    weights = [value for value in onnx.load(half.file("model")).graph.initializer if list(value.dims) == [SIDE, SIDE]]
    assert [value.data_type for value in weights] == [onnx.TensorProto.FLOAT16]
    np.testing.assert_allclose(run(half), run(full), atol=0.02)


@pytest.mark.parametrize("norm", NORMS)
def test_squares_that_fp16_does_not_hold_stay_in_fp32(norm: str, workshop: Workshop) -> None:
    half = workshop.made(HalfOnnx(), workshop.made(ToOnnx(), workshop.imported(transformer(norm, times=1000.0))))
    graph = onnx.shape_inference.infer_shapes(onnx.load(half.file("model"))).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    squares = [kinds[node.output[0]] for node in graph.node if node.op_type == "Pow"]
    assert squares == [onnx.TensorProto.FLOAT] * 2


def test_a_model_that_the_runtime_refuses_is_no_export(workshop: Workshop) -> None:
    full = workshop.made(ToOnnx(), workshop.imported(transformer("layer")))
    model = onnx.load(full.file("model"))
    last = model.graph.node[-1]
    last.CopyFrom(helper.make_node("Unheard", list(last.input), list(last.output), "unheard", domain="nowhere"))
    model.opset_import.append(helper.make_opsetid("nowhere", 1))
    onnx.save(model, full.file("model"))
    with pytest.raises(WorkerFailed, match=r"^ONNX Runtime refuses the model") as caught:
        workshop.made(HalfOnnx(), full)
    assert "Unheard" in (caught.value.cause or "")


@pytest.mark.parametrize("times", [1e6, 1e-6])
def test_weights_that_fp16_cannot_hold_stay(times: float, workshop: Workshop) -> None:
    graph = Graph()
    weights = graph.param(times * np.random.default_rng(2).normal(size=(SIDE, SIDE)))
    image = graph.feed(*DIMS)
    found = graph.op("matmul_v2", {"X": image, "Y": weights}, DIMS, trans_x=False, trans_y=False)
    found = graph.op("scale", {"X": found}, DIMS, scale=3e4, bias=0.0, bias_after_scale=True)
    fp32 = workshop.made(ToOnnx(), workshop.imported(graph.program(found)))
    fp16 = workshop.made(HalfOnnx(), fp32)
    (told,) = fp16.manifest.lineage[-1].warnings
    assert told.startswith("products that stay in fp32, because fp16 cannot hold their weights: 1 (")
    if times < 1:  # larger ones give results that the next operator cannot read in fp16
        np.testing.assert_allclose(run(fp16), run(fp32), atol=0.1 * np.abs(run(fp32)).max())
