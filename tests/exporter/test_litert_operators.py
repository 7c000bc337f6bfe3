"""Every operator of the LiteRT writer, in each form that it distinguishes: LiteRT computes what ONNX Runtime does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import require, require_worker

from segexport.errors import WorkerFailed
from segexport.process.worker import Worker

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = (1, 4, 6, 8)
RANDOM = np.random.default_rng(7)


def noise(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


Case = tuple[str, list[Any], dict[str, Any]]
"""An ONNX operator: its type, its inputs after the image, its attributes."""
CASES: dict[str, Case] = {
    "conv 3x3": ("Conv", [noise(5, 4, 3, 3), noise(5)], {"pads": [1, 1, 1, 1]}),
    "conv, no pads": ("Conv", [noise(5, 4, 3, 3)], {}),
    "conv, stride": ("Conv", [noise(5, 4, 3, 3), noise(5)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "conv, uneven pads": ("Conv", [noise(5, 4, 3, 2)], {"pads": [2, 0, 0, 1]}),
    "conv, dilation": ("Conv", [noise(5, 4, 3, 3)], {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "conv, groups": ("Conv", [noise(6, 2, 3, 3), noise(6)], {"pads": [1, 1, 1, 1], "group": 2}),
    "conv, depthwise": ("Conv", [noise(4, 1, 3, 3), noise(4)], {"pads": [1, 1, 1, 1], "group": 4}),
    "conv, depthwise times 2": ("Conv", [noise(8, 1, 3, 3)], {"pads": [1, 1, 1, 1], "group": 4, "strides": [2, 1]}),
    "conv, auto_pad": ("Conv", [noise(5, 4, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "transposed 2x2": ("ConvTranspose", [noise(4, 5, 2, 2), noise(5)], {"strides": [2, 2]}),
    "transposed 4x4": ("ConvTranspose", [noise(4, 5, 4, 4)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "transposed 3x3": (
        "ConvTranspose",
        [noise(4, 5, 3, 3), noise(5)],
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    "transposed, uneven": ("ConvTranspose", [noise(4, 5, 3, 3)], {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
    "transposed, dilation": ("ConvTranspose", [noise(4, 5, 3, 2)], {"strides": [2, 1], "dilations": [1, 3]}),
    "transposed, groups": ("ConvTranspose", [noise(4, 3, 2, 2), noise(6)], {"strides": [2, 2], "group": 2}),
    "max pool": ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "max pool, pads": ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max pool, ceil": ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "mean pool": ("AveragePool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "mean pool, pads": ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "mean pool, pads and stride": ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
    "mean pool, counted pads": ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
    "mean of all": ("GlobalAveragePool", [], {}),
    "largest of all": ("GlobalMaxPool", [], {}),
    "resize, half pixel": (
        "Resize",
        [None, None, integers(1, 4, 12, 16)],
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    ),
    "resize, corners": (
        "Resize",
        [None, None, integers(1, 4, 11, 5)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    "resize, asymmetric": (
        "Resize",
        [None, np.array([1, 1, 2, 2], np.float32)],
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    ),
    "nearest": (
        "Resize",
        [None, np.array([1, 1, 2, 2], np.float32)],
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "nearest, half pixel": ("Resize", [None, None, integers(1, 4, 9, 12)], {"mode": "nearest"}),
    "nearest, corners": (
        "Resize",
        [None, None, integers(1, 4, 11, 15)],
        {"mode": "nearest", "coordinate_transformation_mode": "align_corners"},
    ),
    "cubic": (
        "Resize",
        [None, None, integers(1, 4, 9, 12)],
        {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
    ),
    "cubic, half pixel": ("Resize", [None, None, integers(1, 4, 12, 5)], {"mode": "cubic"}),
    "resize, rounded sizes": (
        "Resize",
        [None, np.array([1, 1, 1.7, 1.7], np.float32)],
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    ),
    **{
        f"grid sample, {padding}, corners {corners}": (
            "GridSample",
            [RANDOM.uniform(-1.6, 1.6, (1, 5, 7, 2)).astype(np.float32)],
            {"mode": "bilinear", "padding_mode": padding, "align_corners": corners},
        )
        for padding in ("zeros", "border")
        for corners in (0, 1)
    },
    "selu": ("Selu", [], {}),
    "tan": ("Tan", [], {}),
    "cosh": ("Cosh", [], {}),
    "sinh": ("Sinh", [], {}),
    "log of summed exponents": ("ReduceLogSumExp", [], {"axes": [1], "keepdims": 0}),
    "gather along an axis": ("GatherElements", [RANDOM.integers(-4, 4, (1, 3, 6, 8))], {"axis": 1}),
    "scatter along an axis": ("ScatterElements", [integers(1, -1).reshape(1, 2, 1, 1), noise(1, 2, 1, 1)], {"axis": 1}),
    "scatter": ("ScatterND", [integers(0, 3, 0, -3).reshape(2, 2), noise(2, 6, 8)], {}),
    "shrink": ("Shrink", [], {"lambd": 0.3, "bias": 0.2}),
    "thresholded relu": ("ThresholdedRelu", [], {"alpha": 0.4}),
    "upper triangle": ("Trilu", [np.array(1, np.int64)], {"upper": 1}),
    "unit length": ("LpNormalization", [], {"axis": 1}),
    "unit sum": ("LpNormalization", [], {"axis": -1, "p": 1}),
    "gather elements": ("GatherND", [integers(0, 3, 0, -1).reshape(2, 2)], {}),
    "batch norm": ("BatchNormalization", [noise(4), noise(4), noise(4), np.abs(noise(4))], {"epsilon": 1e-3}),
    "instance norm": ("InstanceNormalization", [noise(4), noise(4)], {}),
    "layer norm": ("LayerNormalization", [noise(8), noise(8)], {"axis": -1}),
    "prelu": ("PRelu", [noise(4, 1, 1)], {}),
    "prelu, one slope": ("PRelu", [noise(1)], {}),
    "leaky relu": ("LeakyRelu", [], {"alpha": 0.2}),
    "elu": ("Elu", [], {}),
    "elu of another alpha": ("Elu", [], {"alpha": 0.7}),
    "hard swish": ("HardSwish", [], {}),
    "hard sigmoid": ("HardSigmoid", [], {"alpha": 0.25, "beta": 0.4}),
    "softplus": ("Softplus", [], {}),
    "softsign": ("Softsign", [], {}),
    "erf": ("Erf", [], {}),
    "mish": ("Mish", [], {}),
    "reciprocal": ("Reciprocal", [], {}),
    "relu6": ("Clip", [np.float32(0), np.float32(6)], {}),
    "clip": ("Clip", [np.float32(-0.5), np.float32(0.7)], {}),
    "clip below": ("Clip", [np.float32(-0.5)], {}),
    "square": ("Pow", [np.float32(2)], {}),
    "power": ("Pow", [np.float32(3)], {}),
    "add of a row": ("Add", [noise(8)], {}),
    "add of a channel": ("Add", [noise(4, 1, 1)], {}),
    "sub of a number": ("Sub", [np.float32(0.25)], {}),
    "div": ("Div", [noise(1, 4, 6, 8) + 5], {}),
    "max": ("Max", [noise(4, 1, 1), np.float32(0)], {}),
    "sum": ("Sum", [noise(1, 4, 6, 8), noise(1, 1, 6, 8)], {}),
    "mean": ("Mean", [noise(1, 4, 6, 8), noise(1, 1, 6, 8)], {}),
    "softmax of channels": ("Softmax", [], {"axis": 1}),
    "softmax of a row": ("Softmax", [], {"axis": -1}),
    "softmax of a column": ("Softmax", [], {"axis": 2}),
    "log softmax": ("LogSoftmax", [], {"axis": 1}),
    "argmax": ("ArgMax", [], {"axis": 1, "keepdims": 0}),
    "argmax, kept": ("ArgMax", [], {"axis": 1, "keepdims": 1}),
    "mean of an axis": ("ReduceMean", [], {"axes": [1], "keepdims": 1}),
    "mean of two axes": ("ReduceMean", [], {"axes": [2, 3], "keepdims": 0}),
    "sum of an axis": ("ReduceSum", [integers(1)], {"keepdims": 0}),
    "largest of an axis": ("ReduceMax", [], {"axes": [3], "keepdims": 0}),
    "length": ("ReduceL2", [], {"axes": [1], "keepdims": 1}),
    "absolute sum": ("ReduceL1", [], {"axes": [1], "keepdims": 0}),
    "concat": ("Concat", [noise(1, 2, 6, 8)], {"axis": 1}),
    "concat of rows": ("Concat", [noise(1, 4, 2, 8)], {"axis": -2}),
    "slice": ("Slice", [integers(1, 2), integers(3, 100), integers(1, 3)], {}),
    "slice, steps": ("Slice", [integers(0), integers(8), integers(3), integers(3)], {}),
    "slice, backwards": ("Slice", [integers(-1), integers(-1000), integers(2), integers(-1)], {}),
    "pad": ("Pad", [integers(0, 0, 1, 2, 0, 0, 3, 1)], {}),
    "pad with a number": ("Pad", [integers(0, 0, 1, 2, 0, 0, 3, 1), np.float32(1.5)], {}),
    "pad, reflect": ("Pad", [integers(0, 0, 1, 2, 0, 0, 3, 1)], {"mode": "reflect"}),
    "pad, edge": ("Pad", [integers(0, 0, 1, 2, 0, 0, 3, 1)], {"mode": "edge"}),
    "pad less than nothing": ("Pad", [integers(0, 0, -1, 2, 0, 0, 0, -1), np.float32(1.5)], {}),
    "gather": ("Gather", [integers(3, -1, 0)], {"axis": 1}),
    "tile": ("Tile", [integers(1, 2, 1, 3)], {}),
    "expand": ("Expand", [integers(2, 4, 6, 8)], {}),
    "cumsum": ("CumSum", [np.array(1, np.int64)], {}),
    "depth to space": ("DepthToSpace", [], {"blocksize": 2}),
    "depth to space, CRD": ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    "space to depth": ("SpaceToDepth", [], {"blocksize": 2}),
    "transpose": ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    "transpose, all": ("Transpose", [], {"perm": [3, 1, 0, 2]}),
    "flatten": ("Reshape", [integers(1, 4, -1)], {}),
    "parts of channels": ("Reshape", [integers(1, 2, 2, 6, 8)], {}),
    "across axes": ("Reshape", [integers(1, 6, 4, 8)], {}),
    "squeeze": ("Squeeze", [integers(0)], {}),
    "unsqueeze": ("Unsqueeze", [integers(2)], {}),
    "times a matrix": ("MatMul", [noise(8, 3)], {}),
    "times a vector": ("MatMul", [noise(8)], {}),
    "times matrices": ("MatMul", [noise(1, 4, 8, 3)], {}),
    "equal": ("Greater", [np.float32(0)], {}),
    "sign": ("Sign", [], {}),
    "cast": ("Cast", [], {"to": 6}),
    **{one: (one, [], {}) for one in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Floor", "Ceil", "Sin", "Cos")},
}  # fmt: skip


@pytest.fixture(scope="module")
def litert() -> Iterator[LiteRt]:
    require("onnx", "onnxruntime")
    require_worker("ai_edge_litert", "onnx")
    found = LiteRt()
    yield found
    found.close()


class LiteRt:
    """The writer and the runtime, a process each for all cases."""

    def __init__(self) -> None:
        workers = ("exporter/workers/litert_convert_worker.py", "runtimes/workers/litert_worker.py")
        self._writer, self._runtime = (Worker(REPOSITORY / path, needs=("ai_edge_litert", "onnx")) for path in workers)

    def written(self, model: Path, channels_last: tuple[str, ...] = ("x", "y")) -> Path:
        out = model.with_name("model.tflite")
        arguments = {"onnx": str(model), "out": str(out), "precision": "fp32", "channels_last": channels_last}
        self._writer.call("convert", arguments, timeout_s=60)
        return out

    def outputs(self, file: Path, x: np.ndarray, names: tuple[str, ...] = ("y",)) -> list[np.ndarray]:
        self._open(file, names)
        return self._runtime.call("outputs", {}, [x], timeout_s=60)[1]

    def operators(self, file: Path) -> list[str]:
        self._open(file, ("y",))
        return [kind for kind, *_ in self._runtime.call("operators", {}, timeout_s=60)[0]["operators"]]

    def _open(self, file: Path, names: tuple[str, ...]) -> None:
        specs = [{"name": name, "dtype": "float32"} for name in names]
        opening = {"files": {"model": str(file)}, "device": "cpu", "threads": 1, "inputs": ["x"], "outputs": specs}
        self._runtime.call("open", {**opening, "options": {}}, timeout_s=60)

    def close(self) -> None:
        self._writer.close()
        self._runtime.close()


def model_of(
    folder: Path,
    nodes: list,
    constants: Mapping[str, np.ndarray | np.generic],
    outputs: tuple[str, ...] = ("y",),
    opset: int = 16,
) -> Path:
    """An ONNX file; the outputs' types and shapes are inferred."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.save(inferred, folder / "model.onnx")
    return folder / "model.onnx"


def by_onnxruntime(file: Path, x: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"x": x})]


def last(value: np.ndarray) -> np.ndarray:
    """As the file stores it."""
    return np.ascontiguousarray(np.moveaxis(value, 1, -1)) if value.ndim > 2 else value


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_onnx_says(name, tmp_path, litert):
    from onnx import helper

    kind, more, attributes = CASES[name]
    constants = {f"c{index}": np.asarray(value) for index, value in enumerate(more) if value is not None}
    inputs = ["x", *(f"c{index}" if value is not None else "" for index, value in enumerate(more))]
    opset = 18 if kind == "Mish" else 17 if kind == "LayerNormalization" else 16
    file = model_of(tmp_path, [helper.make_node(kind, inputs, ["y"], **attributes)], constants, opset=opset)
    x = noise(*IMAGE)
    (expected,) = by_onnxruntime(file, x)
    (found,) = litert.outputs(litert.written(file), last(x))
    np.testing.assert_allclose(found, last(expected), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("dims", [(2, 2, 6, 8), (2, 96, 1, 1), (4, 1, 1, 48)])
def test_several_images_are_sampled_where_they_say(dims, padding, tmp_path, litert):
    """Each image has a grid of its own, which is computed; an axis may have one pixel."""
    from onnx import helper

    grid = RANDOM.uniform(-1.2, 1.2, (dims[0], 3, 4, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["x", "dims"], ["images"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0, 1, 2, 3], keepdims=1),
        helper.make_node("Add", ["grid", "mean"], ["moved"]),
        helper.make_node("GridSample", ["images", "moved"], ["y"], padding_mode=padding, align_corners=1),
    ]
    file, x = model_of(tmp_path, nodes, {"dims": integers(*dims), "grid": grid}), noise(*IMAGE)
    (expected,) = by_onnxruntime(file, x)
    (found,) = litert.outputs(litert.written(file), last(x))
    np.testing.assert_allclose(found, last(expected), rtol=1e-4, atol=2e-5)


def test_a_large_weight_may_be_a_constant_in_another_order(tmp_path, litert):
    from onnx import helper, numpy_helper

    weight = noise(600_000, 8)
    nodes = [
        helper.make_node("Constant", [], ["held"], value=numpy_helper.from_array(weight)),
        helper.make_node("Transpose", ["held"], ["w"], perm=[1, 0]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=1),
        helper.make_node("MatMul", ["mean", "w"], ["y"]),
    ]
    file, x = model_of(tmp_path, nodes, {}), noise(*IMAGE)
    (expected,), (found,) = by_onnxruntime(file, x), litert.outputs(litert.written(file), last(x))
    np.testing.assert_allclose(found, last(expected), rtol=1e-3, atol=1e-4)


COMPUTED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "1x1": ((5, 4, 1, 1), {}),
    "1x1, stride": ((5, 4, 1, 1), {"strides": [2, 2]}),
    "3x3": ((5, 4, 3, 3), {"pads": [1, 1, 1, 1]}),
    "uneven, stride": ((5, 4, 3, 2), {"pads": [2, 0, 0, 1], "strides": [2, 1]}),
    "dilation": ((5, 4, 3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "depthwise": ((4, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 4}),
    "depthwise, stride": ((4, 1, 3, 3), {"group": 4, "strides": [2, 2]}),
}
"""Convolution -> the shape of its filter, its attributes."""


def of_computed_filter(folder: Path, shape: tuple[int, ...], attributes: dict[str, Any]) -> Path:
    """A convolution whose filter is a product of the image's mean."""
    from onnx import helper

    constants = {"row": integers(1, 4), "w": noise(4, int(np.prod(shape))), "shape": integers(*shape)}
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Reshape", ["mean", "row"], ["means"]),
        helper.make_node("MatMul", ["means", "w"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["filter"]),
        helper.make_node("Conv", ["x", "filter", "bias"], ["y"], **attributes),
    ]
    return model_of(folder, nodes, {**constants, "bias": noise(shape[0])})


@pytest.mark.parametrize("name", COMPUTED)
def test_each_image_is_convolved_with_its_own_filter(name, tmp_path, litert):
    file = of_computed_filter(tmp_path, *COMPUTED[name])
    made = litert.written(file)
    for x in (noise(*IMAGE), noise(*IMAGE) + np.float32(1)):
        (expected,) = by_onnxruntime(file, x)
        (found,) = litert.outputs(made, last(x))
        np.testing.assert_allclose(found, last(expected), rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_a_computed_filter_of_two_groups_is_refused(tmp_path, litert):
    file = of_computed_filter(tmp_path, (4, 2, 3, 3), {"group": 2})
    with pytest.raises(
        WorkerFailed, match=r"Conv \(y\): its weight is computed, and it has groups of several channels"
    ):
        litert.written(file)


def test_a_channel_shuffle_needs_one_transposition(tmp_path, litert):
    from onnx import helper

    constants = {"parts": integers(1, 2, 2, 6, 8), "whole": integers(*IMAGE), "w": noise(4, 4, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "parts"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["c", "whole"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    file, x = model_of(tmp_path, nodes, constants), noise(*IMAGE)
    made = litert.written(file)
    np.testing.assert_allclose(litert.outputs(made, last(x))[0], last(by_onnxruntime(file, x)[0]), atol=2e-5)
    assert litert.operators(made).count("Transpose") == 1


def test_tensors_of_different_orders_meet(tmp_path, litert):
    """A sequence of pixels, as attention has it, beside an image."""
    from onnx import helper

    constants = {"flat": integers(1, 4, 48), "image": integers(*IMAGE), "w": noise(4, 4, 1, 1), "m": noise(4, 4)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "flat"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["c", "m"], ["d"]),
        helper.make_node("MatMul", ["d", "b"], ["e"]),
        helper.make_node("Softmax", ["e"], ["f"], axis=-1),
        helper.make_node("MatMul", ["f", "d"], ["g"]),
        helper.make_node("Transpose", ["g"], ["h"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["h", "image"], ["i"]),
        helper.make_node("Add", ["i", "x"], ["y"]),
    ]
    file, x = model_of(tmp_path, nodes, constants), noise(*IMAGE)
    (found,) = litert.outputs(litert.written(file), last(x))
    np.testing.assert_allclose(found, last(by_onnxruntime(file, x)[0]), atol=2e-5)


VOLUME_POOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "groups of channels": ("AveragePool", {"kernel_shape": [2, 1, 1], "strides": [2, 1, 1]}),
    "planes": ("AveragePool", {"kernel_shape": [1, 2, 3], "strides": [1, 2, 1]}),
    "cubes": ("AveragePool", {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [1, 1, 0, 1, 0, 1]}),
    "cubes, counted pads": ("AveragePool", {"kernel_shape": [3, 3, 3], "pads": [1] * 6, "count_include_pad": 1}),
    "cubes, ceil": ("AveragePool", {"kernel_shape": [3, 2, 3], "strides": [2, 2, 2], "ceil_mode": 1}),
    "cubes, auto_pad": ("AveragePool", {"kernel_shape": [3, 3, 2], "strides": [2, 1, 2], "auto_pad": "SAME_LOWER"}),
    "largest of cubes": ("MaxPool", {"kernel_shape": [3, 2, 2], "strides": [1, 2, 2], "pads": [1, 0, 1, 1, 0, 0]}),
    "nothing": ("MaxPool", {"kernel_shape": [1, 1, 1]}),
}
"""Pool of a volume [1, 2, 4, 3, 8] -> its type, its attributes."""


@pytest.mark.parametrize("name", VOLUME_POOLS)
def test_a_volume_is_pooled(name, tmp_path, litert):
    from onnx import helper

    kind, attributes = VOLUME_POOLS[name]
    nodes = [
        helper.make_node("Reshape", ["x", "volume"], ["a"]),
        helper.make_node(kind, ["a"], ["b"], **attributes),
        helper.make_node("Reshape", ["b", "line"], ["y"]),
    ]
    file = model_of(tmp_path, nodes, {"volume": integers(1, 2, 4, 3, 8), "line": integers(1, -1)})
    x = noise(*IMAGE) - np.float32(1)  # mostly negative: padding that counts as zero would be the largest
    (found,) = litert.outputs(litert.written(file), last(x))
    np.testing.assert_allclose(found, by_onnxruntime(file, x)[0], atol=2e-6)


def test_a_volume_of_integers_is_pooled_in_float(tmp_path, litert):
    from onnx import helper

    rounding = {"scale": np.float32(1 / 16), "zero": np.int8(3)}

    def rounded(name: str) -> list:
        kinds = (("QuantizeLinear", name, f"{name}.q"), ("DequantizeLinear", f"{name}.q", f"{name}.f"))
        return [helper.make_node(kind, [given, *rounding], [made]) for kind, given, made in kinds]

    nodes = [
        helper.make_node("Reshape", ["x", "volume"], ["a"]),
        *rounded("a"),
        helper.make_node("AveragePool", ["a.f"], ["b"], kernel_shape=[2, 3, 2], strides=[1, 1, 2]),
        *rounded("b"),
        helper.make_node("Reshape", ["b.f", "line"], ["y"]),
    ]
    constants = {"volume": integers(1, 2, 4, 3, 8), "line": integers(1, -1), **rounding}
    file, x = model_of(tmp_path, nodes, constants), noise(*IMAGE)
    (found,) = litert.outputs(litert.written(file), last(x))
    np.testing.assert_allclose(found, by_onnxruntime(file, x)[0], atol=1.01 / 16)


def test_pooling_the_channels_of_an_image_moves_nothing(tmp_path, litert):
    """The image is stored with its channels last, where they are pooled."""
    from onnx import helper

    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["a"]),
        helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[2, 1, 1], strides=[2, 1, 1]),
        helper.make_node("Squeeze", ["b", "axis"], ["y"]),
    ]
    file, x = model_of(tmp_path, nodes, {"axis": integers(1)}), noise(*IMAGE)
    made = litert.written(file)
    np.testing.assert_allclose(litert.outputs(made, last(x))[0], last(by_onnxruntime(file, x)[0]), atol=2e-6)
    assert "Transpose" not in litert.operators(made)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_a_row_is_resized(tmp_path, litert, mode):
    from onnx import helper

    constants = {
        "row": integers(1, 4, 48),
        "sizes": integers(1, 4, 70),
        "image": integers(1, 4, 7, 10),
    }
    nodes = [
        helper.make_node("Reshape", ["x", "row"], ["a"]),
        helper.make_node("Resize", ["a", "", "", "sizes"], ["b"], mode=mode),
        helper.make_node("Reshape", ["b", "image"], ["y"]),
    ]
    file, x = model_of(tmp_path, nodes, constants), noise(*IMAGE)
    (found,) = litert.outputs(litert.written(file), last(x))
    np.testing.assert_allclose(found, last(by_onnxruntime(file, x)[0]), atol=2e-5)


def test_gelu_is_one_operator(tmp_path, litert):
    from onnx import helper

    constants = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    nodes = [
        helper.make_node("Div", ["x", "root"], ["a"]),
        helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("Add", ["b", "one"], ["c"]),
        helper.make_node("Mul", ["x", "c"], ["d"]),
        helper.make_node("Mul", ["d", "half"], ["y"]),
    ]
    file, x = model_of(tmp_path, nodes, constants), noise(*IMAGE)
    made = litert.written(file)
    np.testing.assert_allclose(litert.outputs(made, last(x))[0], last(by_onnxruntime(file, x)[0]), atol=2e-5)
    assert litert.operators(made) == ["Gelu"]


def test_arithmetic_on_sizes_is_done_before(tmp_path, litert):
    from onnx import helper

    constants = {"places": integers(2, 3), "first": integers(1, 4), "times": integers(1, 1)}
    nodes = [
        helper.make_node("Shape", ["x"], ["a"]),
        helper.make_node("Gather", ["a", "places"], ["b"]),
        helper.make_node("Mul", ["b", "times"], ["c"]),
        helper.make_node("Concat", ["first", "c"], ["d"], axis=0),
        helper.make_node("Reshape", ["x", "d"], ["e"]),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    file, x = model_of(tmp_path, nodes, constants), noise(*IMAGE)
    np.testing.assert_allclose(litert.outputs(litert.written(file), last(x))[0], last(by_onnxruntime(file, x)[0]))


def test_two_outputs_of_one_split_and_an_output_that_is_read(tmp_path, litert):
    from onnx import helper

    nodes = [
        helper.make_node("Split", ["x"], ["y", "b"], axis=1),
        helper.make_node("Add", ["b", "y"], ["y2"]),
    ]
    file, x = model_of(tmp_path, nodes, {}, outputs=("y", "y2")), noise(*IMAGE)
    made = litert.written(file, channels_last=("x", "y", "y2"))
    for found, expected in zip(litert.outputs(made, last(x), ("y", "y2")), by_onnxruntime(file, x), strict=True):
        np.testing.assert_allclose(found, last(expected))


@pytest.mark.parametrize("largest", [0, 1])
def test_the_largest_of_channels_and_their_places(tmp_path, litert, largest):
    from onnx import helper

    nodes = [
        helper.make_node("TopK", ["x", "k"], ["y", "places"], axis=1, largest=largest),
        helper.make_node("Cast", ["places"], ["y2"], to=1),
    ]
    file, x = model_of(tmp_path, nodes, {"k": integers(2)}, outputs=("y", "y2")), noise(*IMAGE)
    made = litert.written(file, channels_last=("x", "y", "y2"))
    for found, expected in zip(litert.outputs(made, last(x), ("y", "y2")), by_onnxruntime(file, x), strict=True):
        np.testing.assert_allclose(found, last(expected))


@pytest.mark.parametrize(
    ("kind", "attributes", "says"),
    [
        ("Acos", {}, r"Acos \(y\): LiteRT has no such operator"),
        ("Resize", {"mode": "cubic", "exclude_outside": 1}, r"Resize \(y\): a resize of mode cubic that leaves out"),
        ("GridSample", {"padding_mode": "reflection"}, r"GridSample \(y\): samples of mode bilinear with reflection"),
    ],
)
def test_what_has_no_form_in_litert_is_refused_by_name(kind, attributes, says, tmp_path, litert):
    from onnx import helper

    inputs = {"Resize": ["x", "", "", "sizes"], "GridSample": ["x", "grid"]}.get(kind, ["x"])
    nodes = [helper.make_node(kind, inputs, ["y"], **attributes)]
    file = model_of(tmp_path, nodes, {"sizes": integers(1, 4, 12, 16), "grid": noise(1, 2, 2, 2)})
    with pytest.raises(WorkerFailed, match=says):
        litert.written(file)
