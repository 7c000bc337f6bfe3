"""Exports to ncnn: they compute what their source does, and what crashes ncnn is mended or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import Graph
from installed import require, require_worker
from test_mnn import network, with_context
from workshop import SIDE, Workshop

from segexport.artifact import ModelArtifact
from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.program import Program
from segexport.exporter.same_as_source import difference, made_inputs, outputs_of
from segexport.exporter.to_ncnn import ToNcnn
from segexport.exporter.to_onnx import ToOnnx
from segexport.measure.audit import NOT_RUN, Audit
from segexport.pipeline.registry import make_step, target_named
from segexport.pipeline.step import StepContext
from segexport.runtimes.base import RunOptions, on_arm
from segexport.runtimes.ncnn import NcnnRuntime
from segexport.runtimes.ort import OnnxRuntime
from segexport.spec import Precision
from segexport.verdict import Verdict


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    require("paddle2onnx", "onnx", "onnxruntime")
    require_worker("ncnn", "pnnx")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def source(workshop) -> ModelArtifact:
    return workshop.made(make_step("to_onnx", {}), workshop.imported(network()))


def outputs(artifact: ModelArtifact, runtime) -> np.ndarray:
    ((found,),) = outputs_of(artifact, runtime, [made_inputs(artifact.manifest, 3)], StepContext())
    return found


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 1e-2), ("bf16", 3e-2)])
def test_an_export_computes_what_its_source_does(workshop, source, precision, limit):
    made = workshop.made(make_step("to_ncnn", {"precision": precision}), source)
    expected, found = outputs(source, OnnxRuntime()), outputs(made, NcnnRuntime())
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= limit * np.abs(expected).max()
    assert made.manifest.target.precision == precision
    named = [line.split()[5] for line in made.file("model").read_text().splitlines() if line.startswith("Convolution")]
    assert not any(name.isdecimal() for name in named), named  # the network's own names of its tensors
    found = audit(made)
    assert found.check.verdict is Verdict.PASS, found.check.message
    if precision == "fp32":
        assert found.operators == {"fp32": {"Convolution": 3, "Interp": 1, "Pooling": 1}}
    not_run = found.check.details.get(NOT_RUN, "")
    assert ("arithmetic here is fp32" in not_run) == (precision == "fp16" and not on_arm())


def audit(artifact: ModelArtifact) -> Audit:
    return target_named("ncnn").audit(artifact, [made_inputs(artifact.manifest, 3)], RunOptions(), NcnnRuntime())


@pytest.fixture(scope="module")
def int8(workshop, source) -> tuple[ModelArtifact, ModelArtifact]:
    """The int8 ONNX model as the target makes it, and ncnn's files of it."""
    target = target_named("ncnn")
    recipe = target.Recipe(to="ncnn", precision="int8", calibration={"agreement": 0.0})
    quantize, convert = target.steps(recipe)[-2:]
    quantized = workshop.made(quantize, source)
    return quantized, workshop.made(convert, quantized)


def test_int8_computes_with_our_ranges_and_weights(source, int8):
    quantized, made = int8
    exact, ours, found = outputs(source, OnnxRuntime()), outputs(quantized, OnnxRuntime()), outputs(made, NcnnRuntime())
    assert np.abs(found - ours).mean() < 0.2 * np.abs(ours - exact).mean()
    assert made.manifest.target.precision == "int8"
    assert "int8: 3 of 3 quantized products keep weights and scales" in made.manifest.lineage[-1].notes
    assert audit(made).operators == {"int8": {"Convolution": 3}, "fp32": {"Interp": 1, "Pooling": 1}}
    lines = [line.split() for line in made.file("model").read_text().splitlines() if line.startswith("Convolution")]
    terms = [word for line in lines for word in line if word.startswith("8=")]
    assert terms == ["8=1", "8=101", "8=1"]  # 101: gives integers to the next one; 1: floats, to a pool or out


def test_a_layer_that_stays_float_has_fp16_weights(workshop, source, int8):
    import onnx

    target = target_named("ncnn")
    name = [node.name for node in onnx.load(source.file("model")).graph.node if node.op_type == "Conv"][1]
    recipe = target.Recipe(to="ncnn", precision="int8", calibration={"float_nodes": [name], "agreement": 0.0})
    quantize, convert = target.steps(recipe)[-2:]
    quantized = workshop.made(quantize, source)
    made = workshop.made(convert, quantized)
    assert audit(made).operators == {"int8": {"Convolution": 2}, "fp32": {"Convolution": 1, "Interp": 1, "Pooling": 1}}
    more = made.file("params").stat().st_size - int8[1].file("params").stat().st_size
    assert 0.8 * 16 * 16 * 9 < more < 1.2 * 16 * 16 * 9  # two bytes for each weight in place of one
    ours, found = outputs(quantized, OnnxRuntime()), outputs(made, NcnnRuntime())
    assert np.abs(found - ours).mean() < 0.2 * np.abs(ours - outputs(source, OnnxRuntime())).mean()


@pytest.mark.parametrize("groups", [1, 2])
def test_what_a_float_layer_reads_keeps_its_range(workshop, groups):
    """ncnn has no int8 layer for groups; the means of a white image are far larger than those of the calibration's."""
    target = target_named("ncnn")
    made = workshop.imported(with_context(groups), f"context{groups}")
    *before, convert = target.steps(target.Recipe(to="ncnn", precision="int8", calibration={"agreement": 0.0}))
    for step in before:
        made = workshop.made(step, made)
    white = [[np.ones((1, 3, 32, 32), np.float32)]]
    ((wanted,),), ((found,),) = (
        outputs_of(one, runtime, white, StepContext())
        for one, runtime in ((made, OnnxRuntime()), (workshop.made(convert, made), NcnnRuntime()))
    )
    assert difference(wanted, found) < 0.05


def test_floats_that_call_themselves_int8_fail_the_audit(workshop, source):
    floats = workshop.made(make_step("to_ncnn", {}), source)
    target = floats.manifest.target.model_copy(update={"precision": Precision.INT8})
    found = audit(ModelArtifact(floats.path, floats.manifest.model_copy(update={"target": target})))
    assert found.check.verdict is Verdict.FAIL
    assert "3 in fp32; int8 was asked for, and nothing runs in it" in found.check.message


def test_zero_points_are_refused(workshop, source):
    with_zero_points = workshop.made(make_step("onnx_int8", {}), source)
    with pytest.raises(UnsupportedModelError, match="ncnn has no zero points, and the int8 model has some"):
        workshop.made(ToNcnn(), with_zero_points)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_what_is_int8_is_no_other_precision(workshop, int8, precision):
    with pytest.raises(UnsupportedModelError, match=precision):
        workshop.made(make_step("to_ncnn", {"precision": precision}), int8[0])


def with_a_split(source: ModelArtifact, folder: Path) -> ModelArtifact:
    """The model with its output's channels in two halves, put together in the other order."""
    import onnx
    from onnx import helper

    model = onnx.load(source.file("model"))
    (end,) = (value.name for value in model.graph.output)
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = "whole" if name == end else name
    model.graph.node.append(helper.make_node("Split", ["whole"], ["first", "second"], axis=1))
    model.graph.node.append(helper.make_node("Concat", ["second", "first"], [end], axis=1))
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return ModelArtifact(folder, source.manifest)


def test_equal_parts_are_given_their_sizes(workshop, source, tmp_path):
    split = with_a_split(source, tmp_path / "split")
    expected = outputs(split, OnnxRuntime())
    np.testing.assert_allclose(expected, np.roll(outputs(source, OnnxRuntime()), 2, axis=1), atol=1e-5)
    found = outputs(workshop.made(ToNcnn(), split), NcnnRuntime())
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def ended(
    source: ModelArtifact, folder: Path, nodes: list, shape: tuple[int, ...], **integers: object
) -> ModelArtifact:
    """`source` with `nodes` behind its output, which is now called "whole"; the last of them makes the output."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(source.file("model"))
    (end,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["whole" if name == end.name else name for name in node.output]
    model.graph.initializer.extend(numpy_helper.from_array(np.array(v, "i8"), k) for k, v in integers.items())
    nodes[-1].output[:] = [end.name]
    model.graph.node.extend(nodes)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(end.name, onnx.TensorProto.FLOAT, shape))
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    spec = source.manifest.outputs[0].model_copy(update={"shape": shape})
    return ModelArtifact(folder, source.manifest.model_copy(update={"outputs": (spec,)}))


def require_equal(workshop: Workshop, source: ModelArtifact) -> None:
    expected = outputs(source, OnnxRuntime())
    found = outputs(workshop.made(ToNcnn(), source), NcnnRuntime())
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("counts", [(1, 1, 1, 32), (1, 4, 32, 1), (1, 2, 1, 2)])
@pytest.mark.parametrize("read_by", ["Sub", "Concat"])
def test_a_value_is_repeated(workshop, source, tmp_path, counts, read_by):
    """`Sub` repeats an axis of size 1 by itself, `Concat` does not."""
    from onnx import helper

    whole = source.manifest.outputs[0].shape
    axes = [axis for axis, count in enumerate(counts) if count > 1]
    nodes = [
        helper.make_node("Slice", ["whole", "starts", "ends", "axes"], ["part"], "part"),
        helper.make_node("Tile", ["part", "counts"], ["repeated"], "repeated"),
        helper.make_node(read_by, ["whole", "repeated"], [""], "end", **({"axis": 1} if read_by == "Concat" else {})),
    ]
    ends = [whole[axis] // counts[axis] for axis in axes]
    shape = (1, 2 * whole[1], *whole[2:]) if read_by == "Concat" else whole
    tiled = ended(source, tmp_path / "tile", nodes, shape, starts=[0] * len(axes), ends=ends, axes=axes, counts=counts)
    require_equal(workshop, tiled)


@pytest.mark.parametrize("size", [(64, 128), (40, 27)])
def test_an_asymmetric_resize(workshop, source, tmp_path, size):
    """Paddle's `align_mode=1` without aligned corners; ncnn has no such grid."""
    from onnx import helper

    shape = (*source.manifest.outputs[0].shape[:2], *size)
    grid = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
    node = helper.make_node("Resize", ["whole", "", "", "sizes"], [""], "resized", **grid)
    require_equal(workshop, ended(source, tmp_path / "resized", [node], shape, sizes=shape))


def test_a_crash_of_the_result_is_a_refusal(workshop, source, tmp_path, monkeypatch):
    """As it was before the sizes were given: pnnx says that it left something out, and ncnn is killed."""
    workers = Path(tmp_path / "workers")
    workers.mkdir()
    real = Path(__file__).resolve().parents[2] / "exporter" / "workers"
    for file in real.glob("*.py"):
        (workers / file.name).write_text(file.read_text().replace('"Split": _state', '"NoSuchOperator": _state'))
    monkeypatch.setattr("segexport.exporter.to_ncnn.WORKERS", workers)
    named = []  # which computes every tensor, and may take minutes in a wrong conversion
    monkeypatch.setattr("segexport.exporter.to_ncnn._name_tensors", lambda *arguments: named.append(arguments))
    with pytest.raises(
        UnsupportedModelError, match=r"ncnn converts this model and cannot run the result, from Split \(first\) on"
    ) as caught:
        workshop.made(ToNcnn(), with_a_split(source, tmp_path / "split"))
    assert "pnnx left out of Slice" in caught.value.cause
    assert not named


def test_a_free_size_is_refused(workshop, source):
    free = source.manifest.inputs[0].model_copy(update={"shape": (1, 3, -1, -1)})
    manifest = source.manifest.model_copy(update={"inputs": (free,)})
    with pytest.raises(InputError, match=r"is \[1, 3, -1, -1\], and ncnn's files hold one size"):
        workshop.made(ToNcnn(), ModelArtifact(source.path, manifest))


def test_the_argmax_of_a_mask_is_taken_outside(workshop):
    program, target = network(head="argmax"), target_named("ncnn")
    (verdict,) = target.verdict_before(program)
    assert verdict.support != "no"
    imported = workshop.imported(program, "mask")
    made = imported
    for step in target.steps(target.Recipe(to="ncnn")):
        made = workshop.made(step, made)
    assert [spec.semantics for spec in made.manifest.outputs] == ["logits"]
    assert made.manifest.lineage[-3].params["head"] == "logits"
    inputs = made_inputs(made.manifest, 3)
    with OnnxRuntime().open(workshop.made(make_step("to_onnx", {}), imported), RunOptions()) as session:
        expected = session.infer(inputs)
    with NcnnRuntime().open(made, RunOptions()) as session:
        found = session.infer(inputs)
    assert (found.mask == expected.mask).mean() > 0.999
    assert len(np.unique(found.mask)) > 1


@pytest.mark.parametrize("places", [[0, 0, 1, 2, 2, 3], [3, 1], [1, 2], [-1, -2]])
@pytest.mark.parametrize("axis", [1, 2])
def test_a_constant_list_of_places_is_gathered(workshop, source, tmp_path, places, axis):
    from onnx import helper

    shape = tuple(len(places) if one == axis else size for one, size in enumerate(source.manifest.outputs[0].shape))
    node = helper.make_node("Gather", ["whole", "places"], [""], "gathered", axis=axis)
    require_equal(workshop, ended(source, tmp_path / "gather", [node], shape, places=places))


@pytest.mark.parametrize("counted", [0, 1])
def test_a_mean_of_uneven_pads(workshop, source, tmp_path, counted):
    from onnx import helper

    shape = (*source.manifest.outputs[0].shape[:2], 16, 16)
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": counted}
    node = helper.make_node("AveragePool", ["whole"], [""], "pooled", **window)
    require_equal(workshop, ended(source, tmp_path / "pooled", [node], shape))


@pytest.mark.parametrize("axes", [[1], [2], [-1, -2]])
def test_a_sum_along_axes(workshop, source, tmp_path, axes):
    from onnx import helper

    shape = tuple(
        1 if one in (np.array(axes) % 4) else size for one, size in enumerate(source.manifest.outputs[0].shape)
    )
    node = helper.make_node("ReduceSum", ["whole", "axes"], [""], "sum", keepdims=1)
    require_equal(workshop, ended(source, tmp_path / "sum", [node], shape, axes=axes))


@pytest.mark.parametrize(
    ("dims", "first"),
    [((1, 4, 32, 32), 1), ((1, 4096, 1, 1), 1), ((1, 4, 1024), 1), ((1, 2, 4, 16, 32), 2)],
)
def test_a_normalization_along_many_axes(workshop, source, tmp_path, dims, first):
    """As paddle2onnx writes `layer_norm`; ncnn has a layer for the last one or two of three axes."""
    from onnx import helper, numpy_helper

    axes, kept = list(range(first, len(dims))), {"keepdims": 1}
    scale = np.random.default_rng(3).uniform(0.5, 1.5, dims[first:]).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["whole", "dims"], ["x"], "apart"),
        helper.make_node("ReduceMean", ["x"], ["mean"], "mean", axes=axes, **kept),
        helper.make_node("Sub", ["x", "mean"], ["centred"], "centred"),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Constant", [], ["epsilon"], value_float=1e-5),
        helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(scale)),
        helper.make_node("Pow", ["centred", "two"], ["square"], "square"),
        helper.make_node("ReduceMean", ["square"], ["variance"], "variance", axes=axes, **kept),
        helper.make_node("Add", ["variance", "epsilon"], ["above"], "above"),
        helper.make_node("Sqrt", ["above"], ["deviation"], "deviation"),
        helper.make_node("Div", ["centred", "deviation"], ["normal"], "normal"),
        helper.make_node("Mul", ["normal", "scale"], ["scaled"], "scaled"),
        helper.make_node("Add", ["scaled", "scale"], ["shifted"], "shifted"),
        helper.make_node("Reshape", ["shifted", "image"], [""], "together"),
    ]
    shape = source.manifest.outputs[0].shape
    require_equal(workshop, ended(source, tmp_path / "normal", nodes, shape, dims=dims, image=shape))


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize(("axes", "kept"), [([2, 3], 1), ([1, -1], 0)])
def test_a_reduction_along_several_axes(workshop, source, tmp_path, kind, axes, kept):
    from onnx import helper

    shape = source.manifest.outputs[0].shape
    node = helper.make_node(kind, ["whole"], [""], "most", axes=axes, keepdims=kept)
    left = np.zeros(shape).max(tuple(axes), keepdims=bool(kept)).shape
    require_equal(workshop, ended(source, tmp_path / "most", [node], left))


@pytest.mark.parametrize("perm", [[0, 2, 1, 3], [0, 1, 3, 2]])
def test_a_softmax_between_transposes(workshop, source, tmp_path, perm):
    from onnx import helper

    nodes = [
        helper.make_node("Transpose", ["whole"], ["turned"], "turned", perm=perm),
        helper.make_node("Softmax", ["turned"], ["likely"], "likely", axis=-1),
        helper.make_node("Transpose", ["likely"], [""], "back", perm=perm),
    ]
    require_equal(workshop, ended(source, tmp_path / "likely", nodes, source.manifest.outputs[0].shape))


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("values", [{}, {"exclusive": 1, "reverse": 1}])
def test_a_cumulative_sum(workshop, source, tmp_path, axis, values):
    from onnx import helper

    node = helper.make_node("CumSum", ["whole", "axis"], [""], "sum", **values)
    require_equal(workshop, ended(source, tmp_path / "sum", [node], source.manifest.outputs[0].shape, axis=axis))


@pytest.mark.parametrize(
    ("starts", "ends", "steps", "size"),
    [([0, 1], [99, 99], [2, 2], (16, 16)), ([1, 0], [-1, 32], [3, 1], (10, 32)), ([-30, 2], [20, 9], [1, 4], (18, 2))],
)
def test_every_nth_row_and_column(workshop, source, tmp_path, starts, ends, steps, size):
    from onnx import helper

    shape, bounds = (*source.manifest.outputs[0].shape[:2], *size), ["starts", "ends", "axes", "steps"]
    node = helper.make_node("Slice", ["whole", *bounds], [""], "part")
    sliced = ended(source, tmp_path / "part", [node], shape, starts=starts, ends=ends, axes=[2, 3], steps=steps)
    require_equal(workshop, sliced)


@pytest.mark.parametrize(("axis", "start", "step"), [(1, 0, 2), (1, 1, 2), (1, 2, 4), (2, 1, 3), (3, 31, 2)])
def test_every_nth_element_of_other_axes(workshop, source, tmp_path, axis, start, step):
    """Of [rows, columns, channels], as windows are merged; the last block may be cut off by the axis's end."""
    from onnx import helper

    _, channels, rows, columns = source.manifest.outputs[0].shape
    sizes = [1, rows, columns, channels]
    sizes[axis] = len(range(start, sizes[axis], step))
    nodes = [
        helper.make_node("Transpose", ["whole"], ["last"], "last", perm=[0, 2, 3, 1]),
        helper.make_node("Slice", ["last", "starts", "ends", "axes", "steps"], ["part"], "part"),
        helper.make_node("Transpose", ["part"], [""], "first", perm=[0, 3, 1, 2]),
    ]
    shape = (1, sizes[3], sizes[1], sizes[2])
    bounds = {"starts": [start], "ends": [99], "axes": [axis], "steps": [step]}
    if sizes[axis]:
        require_equal(workshop, ended(source, tmp_path / "part", nodes, shape, **bounds))


def test_where_two_values_are_equal(workshop, source, tmp_path):
    """At the maxima of windows."""
    from onnx import TensorProto, helper

    shape = source.manifest.outputs[0].shape
    nodes = [
        helper.make_node("MaxPool", ["whole"], ["maximum"], "maximum", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Equal", ["whole", "maximum"], ["equal"], "equal"),
        helper.make_node("Cast", ["equal"], [""], "number", to=TensorProto.FLOAT),
    ]
    require_equal(workshop, ended(source, tmp_path / "equal", nodes, shape))


@pytest.mark.parametrize("kind", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
def test_a_choice_by_comparison(workshop, source, tmp_path, kind):
    """The value where it is above (or below) that of the window's maximum, half of it elsewhere."""
    from onnx import helper

    shape = source.manifest.outputs[0].shape
    pool = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("AveragePool", ["whole"], ["mean"], "mean", **pool),
        helper.make_node("MaxPool", ["mean"], ["maximum"], "maximum", **pool),
        helper.make_node(kind, ["whole", "maximum"], ["compared"], "compared"),
        helper.make_node("Where", ["compared", "whole", "mean"], [""], "choice"),
    ]
    require_equal(workshop, ended(source, tmp_path / kind, nodes, shape))


@pytest.mark.parametrize(("kind", "values"), [("Softsign", {}), ("ThresholdedRelu", {"alpha": 0.2})])
def test_an_activation_that_ncnn_lacks(workshop, source, tmp_path, kind, values):
    from onnx import helper

    shape = source.manifest.outputs[0].shape
    node = helper.make_node(kind, ["whole"], [""], "activation", **values)
    require_equal(workshop, ended(source, tmp_path / kind, [node], shape))


def test_a_value_without_its_tangent(workshop, source, tmp_path):
    from onnx import helper

    shape = source.manifest.outputs[0].shape
    nodes = [
        helper.make_node("Tanh", ["whole"], ["bent"], "tanh"),
        helper.make_node("Sub", ["whole", "bent"], [""], "sub"),
    ]
    require_equal(workshop, ended(source, tmp_path / "shrink", nodes, shape))


def test_a_quotient_that_pnnx_takes_for_a_softsign(workshop):
    graph, dims = Graph(), (1, 4, SIDE, SIDE)
    conv = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    image = graph.feed(1, 3, SIDE, SIDE)
    x = graph.op("conv2d", {"Input": image, "Filter": graph.noise(4, 3, 1, 1)}, dims, slot="Output", **conv)
    more = graph.op("scale", {"X": graph.op("abs", {"X": x}, dims)}, dims, scale=1.0, bias=1.0, bias_after_scale=True)
    share = graph.op("elementwise_div", {"X": x, "Y": more}, dims, axis=-1)
    found = graph.op("conv2d", {"Input": share, "Filter": graph.noise(4, 4, 1, 1)}, dims, slot="Output", **conv)
    require_equal(workshop, workshop.made(ToOnnx(), workshop.imported(graph.program(found), "quotient")))


def test_a_selu(workshop, source, tmp_path):
    from onnx import helper

    shape = source.manifest.outputs[0].shape
    require_equal(
        workshop, ended(source, tmp_path / "selu", [helper.make_node("Selu", ["whole"], [""], "selu")], shape)
    )


@pytest.mark.parametrize(("pads", "size"), [((1, 1, 0, 0), (64, 64)), ((1, 0, 0, 0), (64, 65))])
def test_a_transposed_convolution_of_uneven_pads(workshop, source, tmp_path, pads, size):
    import onnx
    from onnx import helper, numpy_helper

    channels = source.manifest.outputs[0].shape[1]
    node = helper.make_node("ConvTranspose", ["whole", "kernel"], [""], "larger", strides=[2, 2], pads=pads)
    larger = ended(source, tmp_path / "larger", [node], (1, 5, *size))
    model = onnx.load(larger.file("model"))
    kernel = np.random.default_rng(5).normal(size=(channels, 5, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "kernel"))
    onnx.save(model, larger.file("model"))
    require_equal(workshop, larger)


@pytest.mark.parametrize("bins", [(1, 1), (4, 3)])
def test_an_adaptive_maximum_without_its_places(workshop, bins):
    graph, made = Graph(), (1, 4, *bins)
    attrs = {"ksize": list(bins), "strides": [1, 1], "paddings": [0, 0], "adaptive": True, "global_pooling": False}
    kernel = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    inputs = {"Input": graph.feed(1, 4, 10, 8), "Filter": graph.noise(4, 4, 3, 3)}
    image = graph.op("conv2d", inputs, (1, 4, 10, 8), slot="Output", padding_algorithm="EXPLICIT", **kernel)
    program = graph.program(graph.op("max_pool2d_with_index", {"X": image}, {"Out": made, "Mask": made}, **attrs))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    require_equal(workshop, workshop.made(make_step("to_onnx", {}), workshop.imported(program, f"maximum{bins[0]}")))


def unpooled(side: int, *, shown: bool = False) -> Program:
    """Pools windows with many equal maxima, and puts other values where they were; `shown`: outputs the indices too."""
    graph, whole, part = Graph(), (1, 4, 12, 18), (1, 4, 12 // side, 18 // side)
    kernel = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    inputs = {"Input": graph.feed(*whole), "Filter": graph.noise(4, 4, 1, 1)}
    image = graph.op("conv2d", inputs, whole, slot="Output", padding_algorithm="EXPLICIT", **kernel)
    image = graph.op("relu", {"X": image}, whole)
    window = {"ksize": [side, side], "strides": [side, side], "paddings": [0, 0]}
    made = {"Out": part, "Mask": part}
    pooled = graph.op("max_pool2d_with_index", {"X": image}, made, adaptive=False, global_pooling=False, **window)
    indices = graph.last().output("Mask")
    graph._program.vars[indices].dtype = "int32"
    values = graph.op("elementwise_add", {"X": pooled, "Y": graph.param([1])}, part, axis=-1)
    back = {"output_size": list(whole[2:]), "unpooling_type": "max", "data_format": "NCHW", **window}
    out = graph.op("unpool", {"X": values, "Indices": indices}, whole, **back)
    return graph.program(out, *([indices] if shown else []))


@pytest.mark.parametrize("side", [2, 3])
def test_values_go_back_to_the_maxima(workshop, side):
    program = unpooled(side)
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    require_equal(workshop, workshop.made(make_step("to_onnx", {}), workshop.imported(program, f"unpooled{side}")))


def test_indices_of_a_pool_that_are_an_output_are_foreseen():
    (verdict,) = target_named("ncnn").verdict_before(unpooled(2, shown=True))
    assert [found.operator for found in verdict.obstacles] == ["max_pool2d_with_index"]


def moved(axes: list[int], *shapes: tuple[int, ...]) -> Program:
    """Reshapes an image to the first shape, transposes it to the second, and reshapes it back."""
    graph = Graph()
    value = graph.op("reshape2", {"X": graph.feed(1, 4, 8, 8)}, shapes[0], shape=list(shapes[0]))
    value = graph.op("transpose2", {"X": value}, shapes[1], axis=axes)
    return graph.program(graph.op("reshape2", {"X": value}, (1, 4, 8, 8), shape=[1, 4, 8, 8]))


def attention(taken: str, heads: int = 2) -> Program:
    """Queries, keys and values of one product, as transformers compute them, over the pixels of an image."""
    side, width = 8, 4
    tokens, channels = side * side, heads * width
    graph, plain = Graph(), {"trans_x": False, "trans_y": False}
    flat = graph.op("reshape2", {"X": graph.feed(1, 3, side, side)}, (1, 3, tokens), shape=[1, 3, tokens])
    value = graph.op("transpose2", {"X": flat}, (1, tokens, 3), axis=[0, 2, 1])
    value = graph.op("matmul_v2", {"X": value, "Y": graph.noise(3, 3 * channels)}, (1, tokens, 3 * channels), **plain)
    apart = (1, tokens, 3, heads, width)
    value = graph.op("reshape2", {"X": value}, apart, shape=list(apart))
    value = graph.op("transpose2", {"X": value}, (3, 1, heads, tokens, width), axis=[2, 0, 3, 1, 4])
    one = (1, heads, tokens, width)
    query, key, values = _thirds(graph, value, one, taken)
    key = graph.op("transpose2", {"X": key}, (1, heads, width, tokens), axis=[0, 1, 3, 2])
    scores = graph.op("matmul_v2", {"X": query, "Y": key}, (1, heads, tokens, tokens), **plain)
    scores = graph.op("softmax", {"X": scores}, (1, heads, tokens, tokens), axis=-1)
    value = graph.op("matmul_v2", {"X": scores, "Y": values}, one, **plain)
    value = graph.op("transpose2", {"X": value}, (1, tokens, heads, width), axis=[0, 2, 1, 3])
    value = graph.op("reshape2", {"X": value}, (1, tokens, channels), shape=[1, tokens, channels])
    value = graph.op("transpose2", {"X": value}, (1, channels, tokens), axis=[0, 2, 1])
    image = (1, channels, side, side)
    return graph.program(graph.op("reshape2", {"X": value}, image, shape=list(image)))


def _thirds(graph: Graph, value: str, dims: tuple[int, ...], taken: str) -> list[str]:
    if taken == "slice":
        cut = {"axes": [0], "decrease_axis": [0], "infer_flags": [1]}
        return [graph.op("slice", {"Input": value}, dims, starts=[n], ends=[n + 1], **cut) for n in range(3)]
    graph.op("unbind", {"X": value}, dims, axis=0)
    made = graph.last().outputs["Out"]
    made += [graph.twin(made[0]) for _ in range(2)]
    return made


@pytest.mark.parametrize("taken", ["slice", "unbind"])
@pytest.mark.parametrize("heads", [1, 2])
def test_parts_of_attention_are_taken_before_the_batch_axis_moves(workshop, taken, heads):
    program, target = attention(taken, heads), target_named("ncnn")
    (verdict,) = target.verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    imported = workshop.imported(program, f"{taken}{heads}")
    expected, made = outputs(workshop.made(make_step("to_onnx", {}), imported), OnnxRuntime()), imported
    for step in target.steps(target.Recipe(to="ncnn")):
        made = workshop.made(step, made)
    found = outputs(made, NcnnRuntime())
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert expected.std() > 0.01


MANY_AXES = {
    "windows apart": ([0, 2, 4, 3, 5, 1], (1, 4, 2, 4, 4, 2)),
    "windows together": ([0, 1, 3, 2, 4, 5], (1, 4, 2, 4, 2, 4)),
    "axes of size 1": ([0, 2, 3, 4, 5, 1], (1, 4, 1, 8, 1, 8)),
    "all reversed": ([6, 5, 4, 3, 2, 1, 0], (1, 4, 2, 2, 2, 4, 2)),
    "every second": ([0, 2, 4, 6, 1, 3, 5, 7], (1, 2, 2, 2, 2, 2, 2, 4)),
    "another axis first": ([2, 0, 1, 3], (2, 2, 8, 8)),
}


@pytest.mark.parametrize("case", MANY_AXES)
def test_a_transpose_of_many_axes(workshop, case):
    axes, sizes = MANY_AXES[case]
    program = moved(axes, sizes, tuple(sizes[axis] for axis in axes))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    require_equal(workshop, workshop.made(make_step("to_onnx", {}), workshop.imported(program, case)))


def added(sizes: tuple[int, ...], constant: tuple[int, ...]) -> Program:
    """Reshapes a convolution's image, adds a constant of fewer sizes, and reshapes it back."""
    graph, image = Graph(), (1, 4, 8, 8)
    kernel = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    inputs = {"Input": graph.feed(*image), "Filter": graph.noise(4, 4, 1, 1)}
    value = graph.op("conv2d", inputs, image, slot="Output", padding_algorithm="EXPLICIT", **kernel)
    value = graph.op("reshape2", {"X": value}, sizes, shape=list(sizes))
    value = graph.op("elementwise_add", {"X": value, "Y": graph.noise(*constant)}, sizes, axis=-1)
    return graph.program(graph.op("reshape2", {"X": value}, (1, 4, 8, 8), shape=[1, 4, 8, 8]))


@pytest.mark.parametrize(
    ("sizes", "constant"),
    [
        ((1, 4, 2, 4, 2, 4), (1, 4, 1, 1, 2, 4)),
        ((1, 4, 2, 4, 2, 4), (2, 4)),
        ((1, 1, 4, 8, 8), (1, 1, 1, 8, 8)),
        ((2, 2, 2, 2, 4, 4), (2, 2, 1, 1, 4, 4)),
    ],
)
def test_a_sum_of_many_axes(workshop, sizes, constant):
    program = added(sizes, constant)
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    name = f"{sizes}{constant}"
    require_equal(workshop, workshop.made(make_step("to_onnx", {}), workshop.imported(program, name)))


def test_windows_of_an_image_as_batch(workshop):
    """As window attention has them: each window is a row of a batch, and masked by a constant of its own."""
    graph, windows, tokens = Graph(), 4, 16
    apart, scores = (1, 4, 2, 4, 2, 4), (windows, tokens, tokens)
    value = graph.op("reshape2", {"X": graph.feed(1, 4, 8, 8)}, apart, shape=list(apart))
    value = graph.op("transpose2", {"X": value}, (1, 2, 2, 4, 4, 4), axis=[0, 2, 4, 3, 5, 1])
    rows = (windows, tokens, 4)
    value = graph.op("reshape2", {"X": value}, rows, shape=list(rows))
    product = graph.op("matmul_v2", {"X": value, "Y": value}, scores, trans_x=False, trans_y=True)
    masked = (1, windows, 1, tokens, tokens)
    product = graph.op("reshape2", {"X": product}, masked, shape=list(masked))
    mask = graph.noise(1, windows, 1, tokens, tokens)
    product = graph.op("elementwise_add", {"X": product, "Y": mask}, masked, axis=-1)
    product = graph.op("reshape2", {"X": product}, scores, shape=list(scores))
    product = graph.op("softmax", {"X": product}, scores, axis=-1)
    value = graph.op("matmul_v2", {"X": product, "Y": value}, rows, trans_x=False, trans_y=False)
    together = (1, 2, 2, 4, 4, 4)
    value = graph.op("reshape2", {"X": value}, together, shape=list(together))
    value = graph.op("transpose2", {"X": value}, together, axis=[0, 5, 1, 3, 2, 4])
    program = graph.program(graph.op("reshape2", {"X": value}, (1, 4, 8, 8), shape=[1, 4, 8, 8]))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    require_equal(workshop, workshop.made(make_step("to_onnx", {}), workshop.imported(program, "windows")))


def test_tokens_ahead_of_their_windows(workshop):
    """As attention modules with the sequence first have them; no axis of size 1 could be taken for the batch."""
    graph, windows, tokens = Graph(), 4, 16
    apart, ahead = (1, 4, 2, 4, 2, 4), (tokens, windows, 4)
    value = graph.op("reshape2", {"X": graph.feed(1, 4, 8, 8)}, apart, shape=list(apart))
    value = graph.op("transpose2", {"X": value}, (4, 4, 1, 2, 2, 4), axis=[3, 5, 0, 2, 4, 1])
    value = graph.op("reshape2", {"X": value}, ahead, shape=list(ahead))
    query = graph.op("transpose2", {"X": value}, (windows, tokens, 4), axis=[1, 0, 2])
    key = graph.op("transpose2", {"X": query}, (windows, 4, tokens), axis=[0, 2, 1])
    product = graph.op("bmm", {"X": query, "Y": key}, (windows, tokens, tokens))
    product = graph.op("softmax", {"X": product}, (windows, tokens, tokens), axis=-1)
    value = graph.op("bmm", {"X": product, "Y": query}, (windows, tokens, 4))
    value = graph.op("transpose2", {"X": value}, ahead, axis=[1, 0, 2])
    value = graph.op("reshape2", {"X": value}, (4, 4, 1, 2, 2, 4), shape=[4, 4, 1, 2, 2, 4])
    value = graph.op("transpose2", {"X": value}, apart, axis=[2, 5, 3, 0, 4, 1])
    program = graph.program(graph.op("reshape2", {"X": value}, (1, 4, 8, 8), shape=[1, 4, 8, 8]))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    require_equal(workshop, workshop.made(make_step("to_onnx", {}), workshop.imported(program, "ahead")))


def test_axes_that_ncnn_lacks_are_foreseen():
    graph, many = Graph(), (1, 4, 2, 4, 2, 4)
    value = graph.op("reshape2", {"X": graph.feed(1, 4, 8, 8)}, many, shape=list(many))
    value = graph.op("softmax", {"X": value}, many, axis=2)
    program = graph.program(graph.op("reshape2", {"X": value}, (1, 4, 8, 8), shape=[1, 4, 8, 8]))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support == "no"
    assert [found.operator for found in verdict.obstacles] == ["reshape2", "softmax"]
    assert all("at most 4 axes beside the batch" in found.reason for found in verdict.obstacles)


def test_another_axis_in_place_of_the_batch_is_foreseen():
    graph, turned = Graph(), (8, 1, 4)
    flat = graph.op("reshape2", {"X": graph.feed(1, 4, 2, 4)}, (1, 4, 8), shape=[1, 4, 8])
    value = graph.op("transpose2", {"X": flat}, turned, axis=[2, 0, 1])
    program = graph.program(graph.op("elementwise_add", {"X": value, "Y": graph.noise(*turned)}, turned, axis=-1))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert [found.operator for found in verdict.obstacles] == ["transpose2"]
    assert "puts another axis in its place" in verdict.obstacles[0].reason


def test_a_test_for_nan_is_foreseen():
    graph = Graph()
    image = graph.feed(1, 4, 8, 8)
    unknown = graph.op("isnan_v2", {"X": image}, (1, 4, 8, 8), dtype="bool")
    chosen = {"Condition": unknown, "X": graph.noise(1, 4, 8, 8), "Y": image}
    (verdict,) = target_named("ncnn").verdict_before(graph.program(graph.op("where", chosen, (1, 4, 8, 8))))
    assert [found.operator for found in verdict.obstacles] == ["isnan_v2"]
    assert "tells NaN or infinity" in verdict.obstacles[0].reason


def test_several_images_are_foreseen():
    graph, images = Graph(), (4, 1, 8, 8)
    value = graph.op("reshape2", {"X": graph.feed(1, 4, 8, 8)}, images, shape=list(images))
    kernel = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    inputs = {"Input": value, "Filter": graph.noise(1, 1, 3, 3)}
    value = graph.op("conv2d", inputs, images, slot="Output", padding_algorithm="EXPLICIT", **kernel)
    program = graph.program(graph.op("reshape2", {"X": value}, (1, 4, 8, 8), shape=[1, 4, 8, 8]))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert [found.operator for found in verdict.obstacles] == ["conv2d"]
    assert "no batch axis" in verdict.obstacles[0].reason


def test_a_sort_is_foreseen():
    graph, sizes = Graph(), (1, 4, 8, 8)
    sort = {"X": graph.feed(*sizes)}
    program = graph.program(graph.op("argsort", sort, {"Out": sizes, "Indices": sizes}, axis=1, descending=False))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert [(found.operator, found.reason) for found in verdict.obstacles] == [("argsort", "ncnn has no layer for it")]


def test_what_depends_on_no_image_is_no_obstacle():
    """A table of several rows, sorted once: a constant of the ONNX export."""
    graph, sizes = Graph(), (4, 8)
    order = graph.op("argsort", {"X": graph.noise(*sizes)}, {"Out": sizes, "Indices": sizes}, axis=1, descending=False)
    statistics = {"Mean": graph.param(np.zeros(8)), "Variance": graph.param(np.ones(8))}
    given = {"X": order, "Scale": graph.param(np.ones(8)), "Bias": graph.param(np.zeros(8)), **statistics}
    row = graph.op("batch_norm", given, sizes, slot="Y", epsilon=1e-5, is_test=True, data_layout="NCHW")
    mean = graph.op("reduce_mean", {"X": row}, (1, 1), dim=[0, 1], keep_dim=True, reduce_all=True)
    image = graph.feed(1, 4, 8, 8)
    program = graph.program(graph.op("elementwise_add", {"X": image, "Y": mean}, (1, 4, 8, 8), axis=-1))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert not verdict.obstacles


@pytest.mark.parametrize(("table", "said"), [("image", "at computed places"), ("parameter", "")])
def test_places_that_are_computed_are_foreseen(table, said):
    graph = Graph()
    image = graph.feed(1, 4, 8, 8)
    graph.op("top_k_v2", {"X": image}, {"Out": (1, 4, 8, 2), "Indices": (1, 4, 8, 2)}, k=2, axis=-1)
    places = graph.last().outputs["Indices"][0] if table == "image" else graph.param(np.zeros((1, 4, 8, 2)), "int64")
    taken = graph.op("take_along_axis", {"Input": image, "Index": places}, (1, 4, 8, 2), slot="Result", Axis=3)
    (verdict,) = target_named("ncnn").verdict_before(graph.program(taken))
    reasons = [found.reason for found in verdict.obstacles if found.operator == "take_along_axis"]
    assert bool(reasons) == bool(said)
    assert all(said in reason for reason in reasons)


def test_a_table_that_is_computed_once_may_have_any_axes(workshop):
    """A grid of positions, transposed as a constant, which the network adds to an image."""
    graph, (rows, columns) = Graph(), (8, 6)
    table = graph.op("transpose2", {"X": graph.noise(columns, rows)}, (rows, columns), axis=[1, 0])
    table = graph.op("unsqueeze2", {"X": table}, (1, rows, columns), axes=[0])
    kernel = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    inputs, shape = {"Input": graph.feed(1, 3, rows, columns), "Filter": graph.noise(4, 3, 3, 3)}, (1, 4, rows, columns)
    image = graph.op("conv2d", inputs, shape, slot="Output", padding_algorithm="EXPLICIT", **kernel)
    program = graph.program(graph.op("elementwise_add", {"X": image, "Y": table}, shape, axis=-1))
    (verdict,) = target_named("ncnn").verdict_before(program)
    assert verdict.support != "no", verdict.obstacles
    require_equal(workshop, workshop.made(make_step("to_onnx", {}), workshop.imported(program, "table")))


def test_an_argmax_that_stays_is_refused_before_anything_is_converted(workshop):
    masks = workshop.made(make_step("to_onnx", {}), workshop.imported(network(head="argmax"), "small_mask"))
    with pytest.raises(UnsupportedModelError, match="ncnn has no layer for ArgMax") as caught:
        workshop.made(ToNcnn(), masks)
    assert "--head logits" in caught.value.hint
    target = target_named("ncnn")
    assert "argmax_outside" not in [step.kind for step in target.steps(target.Recipe(to="ncnn", head="argmax_small"))]
