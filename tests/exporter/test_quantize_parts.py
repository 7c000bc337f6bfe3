"""Calibrators, equalization and bias correction on graphs small enough to be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from quantizer_options import asked  # noqa: E402

pytestmark = pytest.mark.usefixtures("importable_workers")


def histogram(values) -> object:
    from histogram import Histogram

    made = Histogram()
    made.add(np.asarray(values, np.float32))
    return made


# -- calibrators -----------------------------------------------------------------------------------------------------


def test_entropy_of_a_worked_example():
    """Four bins, a range that holds the first three. P: the clipped bin's 2 join the last one, (4, 2, 4) of 10.

    Levels 0, 128 and 255 hold one bin each, so Q is (4, 2, 2) of 8: KL = .4 ln .8 + .2 ln .8 + .4 ln 1.6 = 0.0541.
    """
    from histogram import Histogram

    values, counts = np.array([0.0, 1.0, 2.0, 3.0]), np.array([4.0, 2.0, 2.0, 2.0])
    expected = 0.6 * np.log(0.8) + 0.4 * np.log(1.6)
    assert Histogram._divergence(values, counts, 0.0, 2.0) == pytest.approx(expected, rel=1e-12)
    assert Histogram._divergence(values, counts, 0.0, 3.0) == 0.0


def test_entropy_of_bins_that_share_a_level():
    """Bins at 0 and 0.1 of a range of 255 become level 0: Q gives each half of their 4, where P has 3 and 1."""
    from histogram import Histogram

    values, counts = np.array([0.0, 0.1, 255.0]), np.array([3.0, 1.0, 4.0])
    expected = 3 / 8 * np.log(3 / 2) + 1 / 8 * np.log(1 / 2)
    assert Histogram._divergence(values, counts, 0.0, 255.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_a_symmetric_range_has_no_zero_point(method):
    values = np.random.default_rng(0).normal(1.0, 1.0, 60_000)
    low, high = histogram(values).range(method, 99.9, symmetric=True)
    assert low == -high
    assert 0.6 * values.max() < high <= np.float32(values.max()) + 1e-6
    plain_low, plain_high = histogram(values).range(method, 99.9)
    assert -plain_low < 0.9 * plain_high


def test_entropy_clips_a_lone_outlier_and_minmax_does_not():
    random = np.random.default_rng(0)
    values = np.append(np.abs(random.normal(size=60_000)), 12.0)
    found = histogram(values)
    low, high = found.range("entropy", 99.9)
    assert low == 0.0
    assert 3.5 < high < 8.0  # a real search: neither all of it nor the smallest candidate
    assert found.range("minmax", 99.9) == (0.0, 12.0)


def test_entropy_keeps_a_flat_distribution_whole():
    assert histogram(np.linspace(0, 1, 50_000)).range("entropy", 99.9) == (0.0, 1.0)


def test_zeros_do_not_pull_the_threshold_down():
    """ReLU makes most values 0, which every grid holds exactly: the range must be that of the other values."""
    values = np.abs(np.random.default_rng(1).normal(size=15_000))
    with_zeros = np.concatenate([values, np.zeros(45_000)])
    assert histogram(with_zeros).range("entropy", 99.9) == histogram(values).range("entropy", 99.9)


def test_least_squares_of_a_worked_example():
    """One value at 0.5 in 10,000 lies outside of (0, 0.4): 0.1 squared against 1/12 of a step squared for each."""
    from histogram import Histogram

    values, counts = np.array([0.1, 0.5]), np.array([9_999.0, 1.0])
    inside = 9_999 * (0.4 / 255) ** 2 / 12
    (found,) = Histogram._squared_errors(values, counts, np.array([0.0]), np.array([0.4]))
    assert found == pytest.approx(0.01 + inside, rel=1e-9)


def test_least_squares_of_all_ranges_at_once_are_those_of_each():
    from histogram import Histogram

    random = np.random.default_rng(0)
    values, counts = np.sort(random.normal(size=500)), random.integers(1, 1000, 500).astype(float)
    bottoms, tops = np.repeat([-3.0, -1.0, -0.1], 3), np.tile([0.2, 1.5, 4.0], 3)
    expected = []
    for bottom, top in zip(bottoms, tops, strict=True):
        clipped = (counts * (values - values.clip(bottom, top)) ** 2).sum()
        inside = counts[(values >= bottom) & (values <= top)].sum()
        expected.append(clipped + inside * ((top - bottom) / 255) ** 2 / 12)
    assert Histogram._squared_errors(values, counts, bottoms, tops) == pytest.approx(expected, rel=1e-9)


# -- cross-layer equalization ------------------------------------------------------------------------------------------


def network(first, second, *, between=("Relu",), group=1, bias=None, extra_output=False) -> onnx.ModelProto:
    """Conv, what is between, Conv."""
    constants = {"w1": np.asarray(first, np.float32), "w2": np.asarray(second, np.float32)}
    if bias is not None:
        constants["b1"] = np.asarray(bias, np.float32)
    nodes, name = [helper.make_node("Conv", ["x", "w1", *(["b1"] if bias is not None else [])], ["t0"], "first")], "t0"
    for index, kind in enumerate(between, 1):
        inputs = [name]
        if kind == "PRelu":
            constants["slope"] = np.full((len(first), 1, 1), 0.25, np.float32)
            inputs.append("slope")
        if kind == "Clip":
            constants |= {"low": np.float32(0), "high": np.float32(6)}
            inputs += ["low", "high"]
        nodes.append(helper.make_node(kind, inputs, [f"t{index}"], kind))
        name = f"t{index}"
    nodes.append(helper.make_node("Conv", [name, "w2"], ["y"], "second", group=group))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    if extra_output:
        outputs.append(helper.make_tensor_value_info("t0", TensorProto.FLOAT, None))
    shape = [1, np.shape(first)[1], 6, 6]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def weight(model, name):
    return numpy_helper.to_array(next(value for value in model.graph.initializer if value.name == name))


def run(model, seed=0):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    return session.run(None, {"x": np.random.default_rng(seed).normal(size=shape).astype(np.float32)})


def column(*values):
    """(channels, 1, 1, 1) weights of a 1x1 convolution with one input channel."""
    return np.array(values, np.float32).reshape(-1, 1, 1, 1)


def test_ranges_are_equal_afterwards():
    """r1 = (16, 1/4), r2 = (1, 4): factors sqrt(r1/r2) = (4, 1/4), both ranges become sqrt(r1 r2) = (4, 1)."""
    from equalize import equalize

    model = network(column(16, 0.25), np.array([[1, 4]], np.float32).reshape(1, 2, 1, 1), bias=[8, 1])
    before = run(model)
    assert equalize(model) == [("first", "second")]
    assert weight(model, "w1").reshape(-1).tolist() == [4.0, 1.0]
    assert weight(model, "b1").tolist() == [2.0, 4.0]
    assert weight(model, "w2").reshape(-1).tolist() == [4.0, 1.0]
    np.testing.assert_array_equal(run(model)[0], before[0])


def test_factors_are_the_nearest_powers_of_two():
    from equalize import power_of_two_factors

    found = power_of_two_factors(np.array([9.0, 7.0, 1.0, 0.0, 5.0]), np.array([1.0, 1.0, 16.0, 3.0, 0.0]))
    assert found.tolist() == [4.0, 2.0, 0.25, 1.0, 1.0]  # sqrt: 3, 2.65, 0.25; a dead channel is left alone


@pytest.mark.parametrize("between", [(), ("Relu",), ("PRelu",), ("LeakyRelu",), ("Relu", "GlobalAveragePool")])
def test_float_output_is_the_same_to_the_last_bit(between):
    from equalize import equalize

    random = np.random.default_rng(3)
    first = random.normal(size=(8, 3, 3, 3)) * np.exp2(random.integers(-4, 5, (8, 1, 1, 1)))
    model = network(first, random.normal(size=(4, 8, 1, 1)), between=between, bias=random.normal(size=8))
    before, weights = run(model), weight(model, "w1")
    assert equalize(model)
    assert not np.array_equal(weight(model, "w1"), weights)
    np.testing.assert_array_equal(run(model)[0], before[0])


def test_depthwise_with_a_multiplier():
    """Input channel i of a depthwise convolution with multiplier 2 feeds outputs 2i and 2i + 1."""
    from equalize import equalize

    second = column(1, 0.5, 2, 4)
    model = network(column(16, 1), second, group=2)
    before = run(model)
    assert equalize(model) == [("first", "second")]  # r1 = (16, 1), r2 = (1, 4): factors 4 and 1/2
    assert weight(model, "w1").reshape(-1).tolist() == [4.0, 2.0]
    assert weight(model, "w2").reshape(-1).tolist() == [4.0, 2.0, 1.0, 2.0]
    np.testing.assert_array_equal(run(model)[0], before[0])


@pytest.mark.parametrize(
    "options",
    [{"between": ("Clip",)}, {"between": ("Sigmoid",)}, {"extra_output": True}, {"between": ("Relu", "Clip")}],
)
def test_what_would_change_an_output_is_left_alone(options):
    from equalize import equalize

    model = network(column(16, 0.25), np.array([[1, 4]], np.float32).reshape(1, 2, 1, 1), **options)
    assert equalize(model) == []
    assert weight(model, "w1").reshape(-1).tolist() == [16.0, 0.25]


def test_a_tensor_that_two_read_is_left_alone():
    from equalize import equalize

    model = network(column(16, 0.25), np.array([[1, 4]], np.float32).reshape(1, 2, 1, 1))
    model.graph.node.append(helper.make_node("Relu", ["t1"], ["z"], "other"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    assert equalize(model) == []


# -- bias correction ---------------------------------------------------------------------------------------------------


def quantized_pair(means: dict[str, list[float]]):
    """Conv -> Q -> DQ -> Conv with int32 biases of scale 0.5 and 0.25, and its corrector."""
    from bias_correction import BiasCorrector

    constants = {
        "w": np.ones((2, 2, 1, 1), np.float32),
        "q1": np.array([10, -4], np.int32), "s1": np.array([0.5, 0.5], np.float32),
        "q2": np.array([0, 8], np.int32), "s2": np.array([0.25, 0.25], np.float32),
        "s": np.float32(0.1), "z": np.uint8(0), "zero": np.zeros(2, np.int32),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["q1", "s1", "zero"], ["b1"], axis=0),
        helper.make_node("Conv", ["x", "w", "b1"], ["t"], "first"),
        helper.make_node("QuantizeLinear", ["t", "s", "z"], ["tq"]),
        helper.make_node("DequantizeLinear", ["tq", "s", "z"], ["td"]),
        helper.make_node("DequantizeLinear", ["q2", "s2", "zero"], ["b2"], axis=0),
        helper.make_node("Conv", ["td", "w", "b2"], ["y"], "second"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model, BiasCorrector(model, {name: np.array(value) for name, value in means.items()})


def test_shift_of_the_mean_is_taken_off_in_steps_of_the_bias():
    model, corrector = quantized_pair({"first": [3.0, 1.0], "second": [0.0, 0.0]})
    assert [[node.name for node in level] for level in corrector.levels] == [["first"], ["second"]]
    shift = corrector.correct(0, [np.array([4.1, 0.0])])  # shifts 1.1 and -1: 2.2 and -2 steps of 0.5
    assert shift == pytest.approx(1.1)
    assert weight(model, "q1").tolist() == [10 - 2, -4 + 2]
    corrector.correct(1, [np.array([1.0, -0.5])])
    assert weight(model, "q2").tolist() == [0 - 4, 8 + 2]


def test_a_level_is_measured_with_corrected_layers_before_it():
    _, corrector = quantized_pair({"first": [5.0, -2.0], "second": [0.0, 0.0]})
    feed = {"x": np.zeros((1, 2, 1, 1), np.float32)}

    def outputs(level):
        session = ort.InferenceSession(corrector.until(level).SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, feed if session.get_inputs() else {})

    np.testing.assert_allclose(outputs(0)[0].reshape(-1), [5.0, -2.0])  # the biases 10 * 0.5 and -4 * 0.5
    before = outputs(1)[0].reshape(-1)
    np.testing.assert_allclose(before, [5.0, 7.0], atol=1e-5)  # 5 + 0 (clipped), and the bias 8 * 0.25
    corrector.correct(0, [np.array([6.0, -2.0])])
    np.testing.assert_allclose(outputs(1)[0].reshape(-1), [4.0, 6.0], atol=1e-5)


def test_zero_biases_are_added_where_none_are():
    from bias_correction import add_missing_biases

    model = network(column(1, 2), np.ones((4, 1, 1, 1), np.float32), group=2, bias=[1, 2])
    add_missing_biases(model, {"first", "second"})
    assert [list(node.input[2:]) for node in model.graph.node if node.op_type == "Conv"] == [["b1"], ["y_zero_bias"]]
    assert weight(model, "y_zero_bias").tolist() == [0, 0, 0, 0]


# -- what is chosen --------------------------------------------------------------------------------------------------


def test_grouped_transposed_convolutions_stay_float():
    """Their scales per channel are of another axis than their biases, which ONNX Runtime's quantizer trips over."""
    from int8_operators import choose_nodes

    grouped = helper.make_node("ConvTranspose", ["x", "w0"], ["a"], "grouped", group=4)
    plain = helper.make_node("ConvTranspose", ["a", "w1"], ["b"], "plain")
    last = helper.make_node("Conv", ["b", "w2"], ["y"], "conv", group=4)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph([grouped, plain, last], "g", info[:1], info[1:]))
    assert choose_nodes(model, set(), set()) == {"plain", "conv"}


def test_a_model_with_a_grouped_transposed_convolution_is_quantized_around_it(tmp_path):
    import onnx_quantize_worker as worker

    random = np.random.default_rng(0)
    shapes = {"w0": (4, 3, 3, 3), "b0": (4,), "w1": (4, 1, 2, 2), "b1": (4,), "w2": (2, 4, 1, 1), "b2": (2,)}
    weights = [numpy_helper.from_array(random.normal(size=s).astype("f4"), name) for name, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "w1", "b1"], ["b"], "grouped", group=4, strides=[2, 2]),
        helper.make_node("Conv", ["b", "w2", "b2"], ["y"], "last"),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, c, s, s])
        for name, c, s in (("x", 3, 8), ("y", 2, 16))
    )
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    onnx.save(model, tmp_path / "float.onnx")
    image = random.normal(size=(1, 3, 8, 8)).astype("f4")
    given = asked(method="minmax", images=1, bias_correction=True, fallback=False)
    worker.begin({"fp32": str(tmp_path / "float.onnx"), "scratch": str(tmp_path), **given}, [])
    worker.observe({"keep": "kept"}, [image])
    worker.quantize({}, [])
    answer, _ = worker.save({"out": str(tmp_path / "int8.onnx")}, [])
    assert answer["notes"][:2] == [
        "int8: Conv 2 of 2",
        "float: grouped; ONNX Runtime takes no scales per channel of a grouped transposed convolution",
    ]
    expected, found = (
        ort.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"]).run(None, {"x": image})[0]
        for name in ("float.onnx", "int8.onnx")
    )
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


# -- outputs compared with the float model's --------------------------------------------------------------------------


def test_output_error_of_a_worked_example():
    """Floats: 1 of a variance of 1 times 4 values; 1 % of it counts. Integers: 1 of 8 differs; 5 % count."""
    from output_error import output_error

    floats, whole = np.array([[1.0, -1.0], [1.0, -1.0]], np.float32), np.zeros(4, np.int64)
    one_off, other = floats + np.array([[1.0, 0], [0, 0]], np.float32), np.array([0, 0, 3, 0])
    assert output_error([([floats], [one_off])]) == pytest.approx(25)
    assert output_error([([whole], [other]), ([whole], [whole])]) == pytest.approx(2.5)
    assert output_error([([floats, whole], [floats, other])]) == pytest.approx(5)
    assert output_error([([floats], [floats * np.nan])]) == np.inf
    assert output_error([([whole], [np.zeros(5, np.int64)])]) == pytest.approx(20)


def calibrated(tmp_path, method, *images, draws=1):
    """What `quantize` answers for a convolution whose input is small but for one value in a thousand."""
    import onnx_quantize_worker as worker

    weights = [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "only")]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 64, 64]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "f.onnx")
    given = asked(method=method, percentile=99.0, images=1, draws=draws)
    worker.begin({"fp32": str(tmp_path / "f.onnx"), "scratch": str(tmp_path), **given}, [])
    for image in images:
        worker.observe({"keep": "kept"}, [image])
    return worker.quantize({}, [])[0]


def test_ranges_that_ruin_the_outputs_give_way_to_others(tmp_path):
    image = np.random.default_rng(0).normal(size=(1, 1, 64, 64)).astype(np.float32)
    image[0, 0, 0, :4] = 100.0  # a thousandth of the values, nine tenths of the variance: `percentile` clips them
    found = calibrated(tmp_path, "percentile", image)
    assert found["errors"]["percentile"] > 50
    assert set(found["errors"]) == {"percentile", "mse", "minmax", "entropy"}
    assert found["method"] == min(found["errors"], key=found["errors"].get)
    assert found["errors"][found["method"]] < 0.5
    assert found["ranges"]["x"]["scale"] > 100 / 255  # the large values are inside again


def test_good_ranges_are_kept_without_trying_others(tmp_path):
    image = np.random.default_rng(0).normal(size=(1, 1, 64, 64)).astype(np.float32)
    found = calibrated(tmp_path, "mse", image)
    assert (found["method"], list(found["errors"])) == ("mse", ["mse"])
    assert found["errors"]["mse"] < 0.1


def test_each_draw_gives_ranges_of_its_own(tmp_path):
    """The first of three draws sees images ten times as large as the others': its steps are ten times as coarse."""
    random = np.random.default_rng(0)
    images = [random.normal(size=(1, 1, 64, 64)).astype(np.float32) for _ in range(6)]
    images[0], images[3] = images[0] * 10, images[3] * 10
    found = calibrated(tmp_path, "minmax", *images, draws=3)
    assert len(found["spread"]) == 3
    first, *others = found["spread"]
    assert first == pytest.approx(found["errors"]["minmax"], rel=0.05)  # all images together have its range
    assert all(other > 10 * first for other in others)  # the large images are clipped
    assert calibrated(tmp_path, "minmax", *images[:2], draws=3)["spread"] == []  # fewer images than draws
    assert calibrated(tmp_path, "minmax", *images)["spread"] == []


def test_the_spread_of_draws_in_a_sentence():
    from segexport.exporter.onnx_quantize import _spread

    assert _spread([], 32) == []
    assert _spread([0.1, 0.2, 0.3], 32) == [
        "3 draws of about 10 calibration images each: outputs have 0.2 ± 0.1 of the error that is far off "
        "(mean ± standard deviation)"
    ]


# -- operators that stay in float --------------------------------------------------------------------------------------


def kept(alone, shares, **options):
    from float_layers import kept_in_float

    calls = []

    def measured(names):
        calls.append(list(names))
        return sum(value for name, value in alone.items() if name not in names)

    return *kept_in_float(
        alone, shares, sum(alone.values()), measured, **{"target": 1.0, "most": 0.5, **options}
    ), calls


def test_the_fewest_operators_with_the_largest_errors_stay_in_float():
    alone = {"a": 0.2, "b": 6.0, "c": 3.0, "d": 0.3}
    assert kept(alone, dict.fromkeys(alone, 0.1)) == (["b", "c"], pytest.approx(0.5), [["b", "c"]])


def test_an_error_that_saves_much_time_in_int8_is_kept_in_int8():
    """`b` errs most, but is nine tenths of the model: it is over the budget, and the rest is tried."""
    alone = {"a": 0.2, "b": 6.0, "c": 3.0}
    names, error, _ = kept(alone, {"a": 0.05, "b": 0.9, "c": 0.05})
    assert (names, error) == (["c", "a"], pytest.approx(6.0))


def test_a_prediction_that_fails_is_measured_again():
    """Together the operators err twice what they do alone, but for `c`, without which nothing is won."""
    from float_layers import kept_in_float

    alone = {"a": 4.0, "b": 3.0, "c": 1.0}
    names, error = kept_in_float(
        alone, dict.fromkeys(alone, 0.1), 16.0, lambda names: 0.1 if "c" in names else 9.0, target=1.0, most=0.5
    )
    assert (names, error) == (["a", "b", "c"], 0.1)


def fragile(path: Path, *, sums: bool = False) -> list[np.ndarray]:
    """Three convolutions; channels between the first two differ by 2^12 in scale. Writes it, and returns images.

    With `sums`, the wide channels are also added to another tensor, so that no equalization is possible.
    """
    random = np.random.default_rng(0)
    scale = np.exp2(np.arange(16) - 4.0).astype(np.float32).clip(max=256)
    first = random.normal(size=(16, 3, 3, 3)).astype("f4") * scale.reshape(-1, 1, 1, 1)
    second = random.normal(size=(16, 16, 3, 3)).astype("f4") / scale.reshape(1, -1, 1, 1)
    third = random.normal(size=(16, 16, 3, 3)).astype("f4") / 12
    weights = [numpy_helper.from_array(value, name) for name, value in (("w0", first), ("w1", second), ("w2", third))]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w1"], ["b"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["b", "w2"], ["y"], "third", pads=[1, 1, 1, 1]),
    ]
    if sums:
        weights.append(numpy_helper.from_array(1 / scale.reshape(1, -1, 1, 1) / 16, "w3"))
        nodes.append(helper.make_node("Conv", ["r", "w3"], ["s"], "reader"))
        nodes[3].output[0] = "t"
        nodes.append(helper.make_node("Add", ["t", "s"], ["y"], "sum"))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, c, 24, 24]) for name, c in (("x", 3), ("y", 16))]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return [random.normal(size=(1, 3, 24, 24)).astype("f4") for _ in range(4)]


def began(worker, tmp_path, images, **options):
    given = asked(**{"equalize": None} | options)
    begun, _ = worker.begin({"fp32": str(tmp_path / "f.onnx"), "scratch": str(tmp_path), **given}, [])
    for image in images:
        worker.observe({"keep": "kept"}, [image])
    return begun, worker.quantize({}, [])[0]


def test_operators_that_ruin_the_outputs_stay_in_float(tmp_path):
    import onnx_quantize_worker as worker

    images = fragile(tmp_path / "f.onnx", sums=True)
    _, found = began(worker, tmp_path, images)
    assert found["errors"][found["method"]] > 1
    for _ in range(found["surveyed"]):
        worker.survey({}, [])
    mended, _ = worker.keep_float({"agreeing": False}, [])
    assert "third" not in mended["float"]
    assert set(mended["float"]) & {"first", "second"}
    assert mended["error"] < min(found["errors"].values())
    assert set(mended["chosen"]) == set(found["chosen"]) - set(mended["float"]) - {"relu"}
    worker.save({"out": str(tmp_path / "int8.onnx")}, [])
    saved = onnx.load(tmp_path / "int8.onnx")
    producers = {name: node for node in saved.graph.node for name in node.output}
    in_int8 = {
        node.name
        for node in saved.graph.node
        if node.op_type == "Conv" and getattr(producers.get(node.input[1]), "op_type", "") == "DequantizeLinear"
    }
    assert in_int8 == {"first", "second", "third", "reader"} - set(mended["float"])


def test_equalization_that_mends_is_possible(tmp_path):
    import onnx_quantize_worker as worker

    images = fragile(tmp_path / "f.onnx")
    begun, found = began(worker, tmp_path, images)
    assert begun["pairs"] >= 1
    assert found["errors"][found["method"]] > 1
    _, equalized = began(worker, tmp_path, images, equalize=True)
    assert equalized["errors"][equalized["method"]] < 1
    assert equalized["surveyed"] == 0  # nothing is left to mend


def test_the_scores_of_a_class_map_are_compared(tmp_path):
    """Two class maps that are equal, of scores that are not."""
    from output_comparison import with_scores

    nodes = [
        helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=1),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.INT32),
    ]
    nodes.insert(0, helper.make_node("Relu", ["x0"], ["x"]))
    x = helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 4, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [1, 1, 8, 8])
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]))
    scored, axes = with_scores(model)
    assert [value.name for value in scored.graph.output] == ["x"]
    assert axes == {0: 1}
