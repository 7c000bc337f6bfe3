"""Compensated rounding against every rounding there is, and what layers see against what ONNX Runtime computes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from int8_weights import weights_of  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from quantizer_options import asked  # noqa: E402

pytestmark = pytest.mark.usefixtures("importable_workers")


def correlated(random, groups, inputs, places=400):
    """The Hessian of inputs that depend on each other, as neighbouring pixels do; (groups, inputs, inputs)."""
    rows = random.normal(size=(groups, places, inputs)) @ random.normal(size=(groups, inputs, inputs))
    return np.swapaxes(rows, 1, 2) @ rows


def errors(rounded, weights, steps, hessian):
    from compensated_rounding import output_error

    return output_error(rounded * steps[:, :, None] - weights, hessian)


def exhaustive(weights, step, hessian, top):
    """The least error of one output over all its roundings to the two neighbours of each weight and one step beyond."""
    low = np.floor(weights / step) - 1
    tried = np.array(list(itertools.product(range(4), repeat=len(weights)))) + low
    difference = np.clip(tried, -top, top) * step - weights
    return np.einsum("tk,kj,tj->t", difference, hessian, difference).min()


@pytest.mark.parametrize("top", [7, 127])
def test_it_comes_close_to_the_best_of_all_roundings(top):
    from compensated_rounding import Compensation, whole_range

    random = np.random.default_rng(0)
    weights, hessian = random.normal(size=(12, 4, 6)), correlated(random, 12, 6)
    steps = whole_range(weights, top)
    found = Compensation(hessian).round(weights, steps, top)
    ours = errors(found.whole, weights, steps, hessian)
    nearest = errors(np.rint(weights / steps[:, :, None]), weights, steps, hessian)
    np.testing.assert_allclose(found.error, ours, rtol=1e-9)
    np.testing.assert_allclose(found.nearest, nearest, rtol=1e-9)
    best = np.array([[exhaustive(weights[g, o], steps[g, o], hessian[g], top) for o in range(4)] for g in range(12)])
    assert np.abs(found.whole).max() <= top
    assert (ours <= nearest).all()
    assert (ours >= best * (1 - 1e-9)).all()
    assert ours.sum() < 0.7 * nearest.sum()
    assert ours.sum() - best.sum() < 0.4 * (nearest.sum() - best.sum())


def test_independent_inputs_are_rounded_to_the_nearest():
    from compensated_rounding import Compensation, whole_range

    random = np.random.default_rng(1)
    weights, hessian = random.normal(size=(1, 4, 9)), np.diag(random.uniform(1, 9, 9))[None]
    steps = whole_range(weights, 127)
    found = Compensation(hessian).round(weights, steps, 127).whole
    np.testing.assert_array_equal(found, np.rint(weights / steps[:, :, None]))


def test_the_largest_weight_of_an_output_keeps_its_end():
    """Paddle-Lite's Opt finds the steps of 8-bit weights by the largest one, which the file holds as a float."""
    from compensated_rounding import Compensation, whole_range

    random = np.random.default_rng(9)
    weights, hessian = random.normal(size=(6, 20, 9)), correlated(random, 6, 9)
    steps = whole_range(weights, 127)
    found = Compensation(hessian).round(weights, steps, 127).whole
    np.testing.assert_array_equal(np.abs(found.astype(int)).max(axis=2), 127)
    np.testing.assert_allclose(whole_range(found * steps[:, :, None], 127), steps, rtol=1e-6)


def test_inputs_that_are_always_zero_are_rounded_to_the_nearest():
    from compensated_rounding import Compensation, whole_range

    weights = np.random.default_rng(2).normal(size=(2, 3, 4))
    steps = whole_range(weights, 127)
    found = Compensation(np.zeros((2, 4, 4))).round(weights, steps, 127).whole
    np.testing.assert_array_equal(found, np.rint(weights / steps[:, :, None]))


def test_blocks_of_columns_change_nothing(monkeypatch):
    import compensated_rounding
    from compensated_rounding import Compensation, whole_range

    random = np.random.default_rng(3)
    weights, hessian = random.normal(size=(1, 5, 40)), correlated(random, 1, 40)
    steps = whole_range(weights, 127)
    at_once = Compensation(hessian).round(weights, steps, 127)
    monkeypatch.setattr(compensated_rounding, "_BLOCK", 7)
    in_blocks = Compensation(hessian).round(weights, steps, 127)
    np.testing.assert_array_equal(at_once[0], in_blocks[0])
    assert (at_once.error < at_once.nearest).all()


def test_steps_that_clip_err_least_where_steps_are_few():
    """One weight ten times as large as the others, on an input that is nearly always 0: 4 bits are not for it."""
    from compensated_rounding import Compensation, whole_range

    random = np.random.default_rng(4)
    weights = random.normal(size=(1, 3, 12))
    weights[0, 0, 5] = 10.0
    rows = random.normal(size=(400, 12)) * np.where(np.arange(12) == 5, 0.01, 1.0)
    compensation, widest = Compensation((rows.T @ rows)[None]), whole_range(weights, 7)
    found = compensation.best_steps(weights, 7)
    assert found[0, 0] < 0.6 * widest[0, 0]
    assert (found <= widest).all()
    ours, theirs = (compensation.round(weights, steps, 7).error for steps in (found, widest))
    assert (ours <= theirs * 1.01).all()
    assert ours[0, 0] < 0.5 * theirs[0, 0]


LAYERS = {
    "Conv": ("Conv", (6, 4, 3, 3), {"pads": [1, 2, 0, 1]}),
    "strides, dilations": ("Conv", (6, 4, 3, 2), {"strides": [2, 1], "dilations": [1, 2], "pads": [2, 0, 1, 1]}),
    "same, upper": ("Conv", (6, 4, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 1]}),
    "same, lower": ("Conv", (6, 4, 4, 2), {"auto_pad": "SAME_LOWER"}),
    "same, 1x1": ("Conv", (6, 4, 1, 1), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "groups": ("Conv", (6, 2, 3, 3), {"group": 2}),
    "depthwise with a multiplier": ("Conv", (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "one dimension": ("Conv", (5, 4, 3), {"pads": [1, 1], "strides": [2]}),
    "transposed": ("ConvTranspose", (4, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    "transposed in groups": ("ConvTranspose", (4, 3, 2, 3), {"strides": [2, 1], "group": 2, "dilations": [1, 2]}),
    "MatMul": ("MatMul", (4, 7), {}),
    "Gemm": ("Gemm", (4, 7), {}),
    "Gemm, turned": ("Gemm", (7, 4), {"transB": 1}),
    "Gemm, both turned": ("Gemm", (7, 4), {"transB": 1, "transA": 1}),
}


def layer_model(kind, shape, attributes, seed=5):
    """One product, its input and its output."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=shape).astype(np.float32)
    sizes = {"MatMul": [2, 5, 4], "Gemm": [4, 5] if attributes.get("transA") else [5, 4]}
    given = sizes.get(kind, [2, 4, *(9 - axis for axis in range(len(shape) - 2))])
    node = helper.make_node(kind, ["x", "w"], ["y"], "layer", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    x = random.normal(size=given).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return model, weights, x, session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("widest", [2304, 4])
def test_rows_times_weights_are_the_output(name, widest, monkeypatch):
    import layer_inputs

    monkeypatch.setattr(layer_inputs, "_WIDEST", widest)
    model, weights, x, y = layer_model(*LAYERS[name])
    (layer,) = layer_inputs.find_layers(model, {"layer"})["w"]
    rows, matrices = layer.rows(x, 1 << 20, np.random.default_rng(0)), layer.matrices(weights)
    assert rows.shape[2] <= widest
    found = rows @ np.swapaxes(matrices, 1, 2)  # (groups * parts, places, outputs)
    found = found.reshape(layer.groups, layer.parts, *found.shape[1:]).sum(axis=1)
    expected = y.reshape(-1, y.shape[-1]).T if y.ndim < 4 and "Conv" not in layer.node.op_type else None
    if expected is None:
        expected = np.moveaxis(y, 1, 0).reshape(y.shape[1], -1)  # (channels, places)
    np.testing.assert_allclose(np.swapaxes(found, 1, 2).reshape(expected.shape), expected, atol=1e-5)
    np.testing.assert_array_equal(layer.weights(matrices), weights)


@pytest.mark.parametrize("name", LAYERS)
def test_steps_are_those_of_each_output(name):
    from layer_inputs import Layer

    model, weights, _, _ = layer_model(*LAYERS[name])
    layer = Layer(model.graph.node[0], weights.shape)
    steps = np.arange(1.0, weights.shape[layer.axis] + 1)
    spread = steps.reshape([-1 if axis == layer.axis else 1 for axis in range(weights.ndim)])
    expected = layer.matrices(weights * spread)
    np.testing.assert_allclose(layer.matrices(weights) * layer.spread(steps)[:, :, None], expected, rtol=1e-6)
    np.testing.assert_array_equal(layer.spread(np.array(2.0)), np.full(expected.shape[:2], 2.0))


def test_places_are_drawn():
    from layer_inputs import Layer

    model, weights, x, _ = layer_model(*LAYERS["Conv"])
    layer = Layer(model.graph.node[0], weights.shape)
    everything = layer.rows(x, 1 << 20, np.random.default_rng(0))[0]
    drawn = layer.rows(x, 10, np.random.default_rng(0))[0]
    assert len(drawn) == 10
    assert {row.tobytes() for row in drawn} <= {row.tobytes() for row in everything}


def test_what_cannot_be_told_is_left_out():
    """A weight that two operators use in two ways, and paddings that the runtime finds."""
    from layer_inputs import find_layers

    weights = [numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), name) for name in ("a", "b", "c")]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["t"], "one"),
        helper.make_node("ConvTranspose", ["t", "a"], ["u"], "two"),
        helper.make_node("ConvTranspose", ["u", "b"], ["v"], "three", auto_pad="SAME_UPPER"),
        helper.make_node("Conv", ["v", "c"], ["w"], "four"),
        helper.make_node("Conv", ["w", "c"], ["y"], "five"),
    ]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], weights))
    found = find_layers(model, {"one", "two", "three", "four", "five"})
    assert {name: [layer.node.name for layer in layers] for name, layers in found.items()} == {"c": ["four", "five"]}
    assert find_layers(model, {"four"}) == {}  # the other one that reads it stays float


def quantized(tmp_path, name, **options):
    """Two convolutions with a ReLU between them in int8, and the squared error of their output on other images."""
    import onnx_quantize_worker as worker

    random = np.random.default_rng(6)
    shapes = {"w0": (16, 3, 3, 3), "b0": (16,), "w1": (8, 16, 3, 3), "b1": (8,)}
    weights = [numpy_helper.from_array(random.normal(size=s).astype("f4"), key) for key, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w1", "b1"], ["y"], "second", pads=[1, 1, 1, 1]),
    ]
    info = [helper.make_tensor_value_info(key, TensorProto.FLOAT, [1, c, 24, 24]) for key, c in (("x", 3), ("y", 8))]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "float.onnx"
    )
    smooth = [np.cumsum(random.normal(size=(1, 3, 24, 24)), axis=3).astype("f4") for _ in range(6)]
    given = asked(method="minmax", fallback=False, **options)
    worker.begin({"fp32": str(tmp_path / "float.onnx"), "scratch": str(tmp_path), **given}, [])
    for image in smooth[:4]:
        worker.observe({"keep": ""}, [image])
    answer, _ = worker.quantize({}, [])
    gains = []
    for turn in range(answer["turns"]):
        for index, image in enumerate(smooth[:4] if turn else []):
            worker.gather({"turn": turn, "image": index}, [image])
        gains += worker.round_weights({"turn": turn}, [])[0]["gains"]
    worker.save({"out": str(tmp_path / f"{name}.onnx")}, [])
    return answer["turns"], gains, weight_error(tmp_path, name, smooth[4:])


def weight_error(tmp_path, name, images):
    """The squared error of the float network's output when it gets the weights of the quantized one."""
    plain = onnx.load(tmp_path / "float.onnx")
    rounded = onnx.ModelProto()
    rounded.CopyFrom(plain)
    weights = {node.name: node.input[1] for node in plain.graph.node if len(node.input) > 1}
    constants = {value.name: value for value in rounded.graph.initializer}
    for operator, held in weights_of(onnx.load(tmp_path / f"{name}.onnx")).items():
        whole, scale = numpy_helper.to_array(held.whole), numpy_helper.to_array(held.scale)
        floats = (whole * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
        constants[weights[operator]].CopyFrom(numpy_helper.from_array(floats, weights[operator]))
    one, other = (
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for model in (plain, rounded)
    )
    off = [one.run(None, {"x": image})[0] - other.run(None, {"x": image})[0] for image in images]
    return float(np.square(off).mean())


def test_a_quantized_model_errs_less(tmp_path):
    none, no_gains, nearest = quantized(tmp_path, "nearest", rounding="nearest")
    turns, gains, ours = quantized(tmp_path, "compensated", rounding="compensated")
    assert (none, no_gains, turns, len(gains)) == (0, [], 1, 2)
    assert all(gain < 0.6 for gain in gains)
    assert ours < 0.7 * nearest


def test_turns_give_what_one_turn_gives(tmp_path, monkeypatch):
    import layer_hessians

    assert quantized(tmp_path, "one", rounding="compensated")[0] == 1
    monkeypatch.setattr(layer_hessians, "_BOUND_BYTES", 4 * 27**2)
    assert quantized(tmp_path, "two", rounding="compensated")[0] == 2
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_scales_stay_as_they_were(tmp_path):
    for rounding in ("nearest", "compensated"):
        quantized(tmp_path, rounding, rounding=rounding)
    one, other = (weights_of(onnx.load(tmp_path / f"{name}.onnx")) for name in ("nearest", "compensated"))
    assert len(one) == 2
    for name in one:
        steps = numpy_helper.to_array(one[name].whole).astype(int) - numpy_helper.to_array(other[name].whole)
        assert 0 < np.abs(steps).max() <= 3
        assert one[name].scale.raw_data == other[name].scale.raw_data


# -- 4 bits ----------------------------------------------------------------------------------------------------------


def test_two_values_in_a_byte_the_first_one_in_its_low_half():
    from narrow_weights import packed

    found = packed(np.array([[1, -1, 7], [-7, 0, -8], [3, 2, 5]], np.int8), "w")
    assert found.raw_data == bytes([0xF1, 0x97, 0x80, 0x23, 0x05])
    assert (list(found.dims), found.data_type) == ([3, 3], TensorProto.INT4)
    assert numpy_helper.to_array(found).astype(int).tolist() == [[1, -1, 7], [-7, 0, -8], [3, 2, 5]]


def test_parts_of_a_layer_share_the_steps_of_its_outputs():
    from compensated_rounding import Compensation, whole_range

    random = np.random.default_rng(8)
    weights, hessian = random.normal(size=(4, 3, 6)), correlated(random, 4, 6)
    weights[0] *= 5
    found = Compensation(hessian).best_steps(weights, 7, parts=2)
    np.testing.assert_array_equal(found[0::2], found[1::2])
    assert (found[:2] <= whole_range(weights[:1], 7)).all()
    assert (found[:2] >= 0.4 * whole_range(weights[:1], 7)).all()


def test_biases_keep_their_value_when_the_steps_change():
    from weight_rounding import rescale

    step = numpy_helper.from_array(np.array([0.1, 0.2], np.float32), "s")
    whole = numpy_helper.from_array(np.array([1000, -500], np.int32), "b")
    scale = numpy_helper.from_array(np.array([0.01, 0.02], np.float32), "bs")  # of an input whose step is 0.1
    rescale(step, np.array([0.4, 0.1]), [whole, scale])
    np.testing.assert_allclose(numpy_helper.to_array(step), [0.4, 0.1], rtol=1e-6)
    np.testing.assert_allclose(numpy_helper.to_array(scale), [0.04, 0.01], rtol=1e-6)
    assert numpy_helper.to_array(whole).tolist() == [250, -1000]


@pytest.mark.parametrize(("ends", "narrow"), [(4, ["first", "second"]), (8, [])])
def test_four_bits_are_in_the_file_and_int8_kernels_compute(tmp_path, ends, narrow):
    """Two layers: the first and the last of the network, so with `ends` of 8 none is left for 4 bits."""
    from narrow_weights import narrow_products

    _, gains, error = quantized(tmp_path, "small", rounding="compensated", weight_bits=4, ends=ends)
    model = onnx.load(tmp_path / "small.onnx")
    assert narrow_products(model) == narrow
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 21)]
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(tmp_path / "small.onnx"), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2
    assert not {"Conv", "Cast"} & set(kinds)
    _, blind, nearest = quantized(tmp_path, "nearest", rounding="nearest", weight_bits=4, ends=ends)
    assert blind == [1.0, 1.0]
    assert all(gain < 0.7 for gain in gains)
    assert error < 0.7 * nearest


def test_four_bits_take_half_of_eight(tmp_path):
    from onnx_worker import describe

    for name, bits, precision in (("eight", 8, "int8"), ("four", 4, "w4a8")):
        quantized(tmp_path, name, rounding="compensated", weight_bits=bits, ends=bits)
        assert describe({"onnx": str(tmp_path / f"{name}.onnx")}, [])[0]["precision"] == precision
    held = [weights_of(onnx.load(tmp_path / f"{name}.onnx")) for name in ("eight", "four")]
    assert [[len(one.whole.raw_data) for one in file.values()] for file in held] == [[432, 1152], [216, 576]]


# -- weights alone ---------------------------------------------------------------------------------------------------


def stored(tmp_path, kind, **options):
    """A layer with its weights in integers: its error relative to nearest, that of its output, and the answer."""
    import onnx_weights_worker as worker

    random = np.random.default_rng(3)
    weights = {
        "Conv": (8, 4, 3, 3),
        "Depthwise": (8, 1, 3, 3),
        "ConvTranspose": (8, 6, 2, 2),
        "Grouped": (8, 3, 2, 2),
        "MatMul": (96, 8),
        "Gemm": (6, 96),
    }
    w = random.normal(size=weights[kind]).astype("f4")
    attributes = {
        "Conv": {"pads": [1, 1, 1, 1]},
        "Depthwise": {"group": 8, "pads": [1, 1, 1, 1]},
        "ConvTranspose": {"strides": [2, 2]},
        "Grouped": {"strides": [2, 2], "group": 2},
        "MatMul": {},
        "Gemm": {"transB": 1},
    }[kind]
    operator = {"Depthwise": "Conv", "Grouped": "ConvTranspose"}.get(kind, kind)
    shape = [10, 96] if kind in ("MatMul", "Gemm") else [1, 4 if kind == "Conv" else 8, 12, 12]
    node = helper.make_node(operator, ["x", "w"], ["y"], "layer", **attributes)
    info = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", info, out, [numpy_helper.from_array(w, "w")])
    path = tmp_path / "float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    given = {"weight_bits": 4, "ends": 4, "group_size": 0, "rounding": "compensated", "images": 4}
    given |= {"float_nodes": [], "float_operators": [], "axes": {}, "agreement": 0.0, **options}
    turns = worker.begin({"fp32": str(path), "scratch": str(tmp_path), **given}, [])[0]["turns"]
    images = [np.cumsum(random.normal(size=shape), axis=-1).astype("f4") for _ in range(6)]
    gains = []
    for turn in range(turns):
        for index, image in enumerate(images[:4] if given["rounding"] == "compensated" else ()):
            assert worker.gather({"turn": turn, "image": index, "keep": True}, [image])[0]["finite"]
        gains += worker.round_weights({"turn": turn}, [])[0]["gains"]
    answer = worker.save({"out": str(tmp_path / "stored.onnx")}, [])[0]
    errors = []
    for name in ("float", "stored"):
        session = ort.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        errors.append(session.run(None, {"x": images[5]})[0])
    return gains, float(np.square(errors[0] - errors[1]).mean() / np.square(errors[0]).mean()), answer


@pytest.mark.parametrize("kind", ["Conv", "Depthwise", "ConvTranspose", "Grouped", "MatMul", "Gemm"])
@pytest.mark.parametrize("group_size", [0, 9, 32])
def test_weights_become_floats_again_when_the_model_is_loaded(tmp_path, kind, group_size):
    from narrow_weights import narrow_products

    gains, error, _ = stored(tmp_path, kind, group_size=group_size)
    assert len(gains) == 1
    assert 0 < gains[0] <= 1
    assert 0 < error < 0.05
    assert narrow_products(onnx.load(tmp_path / "stored.onnx")) == ["layer"]
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(tmp_path / "stored.onnx"), options, providers=["CPUExecutionProvider"])
    assert not {"Cast", "Mul", "Reshape"} & {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}


def test_small_groups_err_less_than_whole_outputs(tmp_path):
    whole, parts = (stored(tmp_path, "MatMul", group_size=size, rounding="nearest")[1] for size in (0, 8))
    assert parts < 0.7 * whole


def test_eight_bits_err_less_than_four(tmp_path):
    from onnx_worker import describe

    _, error, answer = stored(tmp_path, "Conv", weight_bits=8, ends=8)
    assert error < 1e-4
    assert answer["notes"] == ["weights: 1 in 8 bits; 8 values stay in float"]
    assert describe({"onnx": str(tmp_path / "stored.onnx")}, [])[0]["precision"] == "w8"
    stored(tmp_path, "Conv")
    assert describe({"onnx": str(tmp_path / "stored.onnx")}, [])[0]["precision"] == "w4"


def test_a_step_per_weight_is_the_same_as_a_step_per_output():
    from compensated_rounding import Compensation, whole_range

    random = np.random.default_rng(2)
    weights, inputs = random.normal(size=(2, 5, 12)), random.normal(size=(2, 40, 12))
    steps = whole_range(weights, 7)
    compensation = Compensation(np.swapaxes(inputs, 1, 2) @ inputs)
    one = compensation.round(weights, steps, 7)
    other = compensation.round(weights, np.repeat(steps[:, :, None], 12, axis=2), 7)
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(found, expected)
