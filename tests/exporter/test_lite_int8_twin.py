"""The x86 twin of an int8 export for Paddle-Lite: Opt's file gives what Paddle gives for the same rounding program."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain
from workshop import SIDE, Workshop

from segexport.exporter import calibrate
from segexport.exporter.lite_int8 import with_int8_arithmetic
from segexport.exporter.program import Op, Program
from segexport.exporter.quantization_ranges import Grid, OnnxNode, Ranges, onnx_convolutions, onnx_to_program
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.recipe.calibration import Calibration
from segexport.spec import Precision

DIMS = (1, 4, 12, 12)
ACTIVATIONS = {
    "relu": {},
    "relu6": {},
    "leaky_relu": {"alpha": 0.1},
    "hard_swish": {"threshold": 6.0, "scale": 6.0, "offset": 3.0},
    "hard_sigmoid": {"slope": 1 / 6, "offset": 0.5},
    "swish": {"beta": 1.0},
    "prelu": {"mode": "channel", "data_format": "NCHW"},
}


def network(activation: str) -> tuple[Program, Ranges]:
    """Two convolutions with normalization and activation; the range of what goes into the second one is known."""
    graph = Graph()
    x = graph.feed(*DIMS)
    between = ""
    for number in range(2):
        x = _convolution(graph, x)
        alpha = {"Alpha": graph.param([0.1, 0.2, 0.3, 0.4])} if activation == "prelu" else {}
        x = graph.op(activation, {"X": x, **alpha}, DIMS, **ACTIVATIONS[activation])
        between = between or x if number == 0 else between
    return graph.program(x), Ranges(tensors={between: Grid(scale=9.0 / 127, zero_point=128)})


def _convolution(graph: Graph, x: str) -> str:
    attrs = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "padding_algorithm": "EXPLICIT"}
    inputs = {"Input": x, "Filter": graph.noise(4, 4, 3, 3)}
    wide = graph.op("conv2d", inputs, DIMS, slot="Output", data_format="NCHW", **attrs)
    statistics = {"Mean": graph.param(np.arange(4) / 4), "Variance": graph.param(np.arange(4) + 9.0)}
    line = {"Scale": graph.param([1.5, -2.0, 2.5, 3.0]), "Bias": graph.param([0.5, 1.0, -1.0, 2.0])}
    sizes = {"Y": DIMS, "SavedMean": (4,), "SavedVariance": (4,)}
    attrs = {"epsilon": 1e-5, "is_test": True, "data_layout": "NCHW", "use_global_stats": True, "momentum": 0.9}
    out = graph.op("batch_norm", {"X": wide, **statistics, **line}, sizes, **attrs)
    graph.last().outputs |= {"MeanOut": [statistics["Mean"]], "VarianceOut": [statistics["Variance"]]}
    return out


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_rounds_as_paddle_computes_it(activation: str, tools: Toolchain) -> None:
    program, ranges = network(activation)
    rounding, notes = with_int8_arithmetic(program, ranges)
    assert notes == ["int8: 1 of 2 convolutions have a range for their input"]
    image = [np.random.default_rng(1).normal(size=DIMS).astype(np.float32) * 2]
    plain, expected = tools.paddle(program, image)[0], tools.paddle(rounding, image)[0]
    found = tools.lite(rewrite_for("paddle-lite x86", rounding)[0], image)[0]
    scale = np.abs(expected).max()
    # A value that lies between two steps may be rounded the other way; no rounding at all would be far more.
    off = np.abs(found - expected) / scale
    assert np.mean(off > 1e-4) < 0.05
    assert off.max() < 0.05
    assert np.mean(np.abs(plain - expected) / scale > 1e-4) > 0.1


def test_whole_numbers_become_the_weights_whichever_way_batchnorm_turns_them() -> None:
    from segexport.exporter.lite_int8 import with_whole_weights

    program, ranges = network("relu")
    first, second = (op for op in program.ops if op.type == "conv2d")
    filters = {name: program.params[name] for name in (first.input("Filter"), second.input("Filter"))}
    limits = {name: np.abs(value).reshape(4, -1).max(axis=1).reshape(-1, 1, 1, 1) for name, value in filters.items()}
    turned = np.array([1, -1, 1, 1]).reshape(-1, 1, 1, 1)  # as the network's second channel is
    held = second.input("Filter")
    whole = np.rint(filters[held] / limits[held] * 127) + (np.arange(36).reshape(4, 3, 3)[:, None] % 3 - 1)
    whole = np.clip(whole, -127, 127)
    rounded, magnitudes = with_whole_weights(program, {second.output("Output"): (whole * turned).astype(np.int8)})
    np.testing.assert_allclose(rounded.params[held], whole * limits[held] / 127, rtol=1e-6)
    np.testing.assert_array_equal(rounded.params[first.input("Filter")], filters[first.input("Filter")])
    assert {name: value.tolist() for name, value in magnitudes.items()} == {
        name: value.reshape(-1).tolist() for name, value in limits.items()
    }
    twin, _ = with_int8_arithmetic(rounded, ranges, magnitudes)
    kept = next(value for name, value in twin.params.items() if name == f"{held}.rounded")
    np.testing.assert_allclose(kept, whole * limits[held] / 127, rtol=1e-5)


def test_w8_is_calibrated_only_where_a_recipe_says_how() -> None:
    from segexport.exporter.targets.paddle_lite import PaddleLiteExport, PaddleLiteTarget

    def uses_images(**given) -> bool:
        (step,) = PaddleLiteTarget().steps(PaddleLiteExport(to="paddle-lite", **given))
        return step.uses_data

    assert not uses_images(precision="w8")
    assert uses_images(precision="w8", calibration={})
    assert not uses_images(precision="w8", calibration={"rounding": "nearest"})
    assert not uses_images(precision="w8", calibration={}, weight_bits=16)
    assert uses_images(precision="int8")
    assert not uses_images(precision="fp32", calibration={})


def test_a_convolution_that_stays_float_is_not_rounded_with_its_neighbour() -> None:
    """Two convolutions read the same tensor, whose range is known, and only one of them computes in int8."""
    from segexport.exporter.lite_int8 import with_int8_marks, with_whole_weights

    graph = Graph()
    x = graph.feed(*DIMS)
    shared = graph.op("relu", {"X": x}, DIMS)
    outs = [_convolution(graph, shared) for _ in range(2)]
    program = graph.program(graph.op("elementwise_add", {"X": outs[0], "Y": outs[1]}, DIMS, axis=-1))
    ranges = Ranges(tensors={shared: Grid(scale=9.0 / 127, zero_point=128)})
    whole, plain = (op.output("Output") or "" for op in program.ops if op.type == "conv2d")
    rounded, magnitudes = with_whole_weights(program, {}, {plain})
    for made, told in (with_int8_arithmetic(rounded, ranges, magnitudes), with_int8_marks(rounded, ranges, magnitudes)):
        assert told == ["int8: 1 of 2 convolutions have a range for their input"]
        takes = {op.output("Output"): op.input("Input") for op in made.ops if op.type == "conv2d"}
        assert takes[plain] == shared
        assert takes[whole] != shared
    _, every = with_int8_arithmetic(*with_whole_weights(program, {})[:1], ranges)
    assert every == ["int8: 2 of 2 convolutions have a range for their input"]


@pytest.mark.parametrize("slot", ["Y", "Output", "Out"])
def test_a_corrected_bias_is_added_to_its_channels(slot: str, tools: Toolchain) -> None:
    """To what a BatchNorm, a convolution without bias, and a sum with a bias give."""
    from segexport.exporter.lite_int8 import with_added

    program, _ = network("relu")
    first = next(op for op in program.ops if op.type == "batch_norm")
    bias = program.add_param("bias", np.array([1, 2, 3, 4], np.float32))
    summed = Op("elementwise_add", {"X": [first.output("Y") or ""], "Y": [bias]}, {"Out": [program.add_var("s", DIMS)]})
    summed.set_attr("axis", 1)
    for user in program.consumers()[first.output("Y") or ""]:
        user.rename(first.output("Y") or "", "s")
    program.insert_after(first, summed)
    chain = [next(op for op in program.ops if op.type == "conv2d"), first, summed]
    (maker,) = (op for op in chain if op.output(slot))
    more = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
    changed = with_added(program, {maker.output(slot) or "": more})
    changed.verify("the corrected program")
    assert len(changed.ops) == len(program.ops) + (maker.type == "conv2d")
    image = [np.random.default_rng(1).normal(size=DIMS).astype(np.float32)]
    factor = program.params[first.input("Scale") or ""] / np.sqrt(program.params[first.input("Variance") or ""] + 1e-5)
    expected = program.copy()
    expected.set_param("bias", program.params["bias"] + more * (factor if maker.type == "conv2d" else 1))
    np.testing.assert_allclose(tools.paddle(changed, image)[0], tools.paddle(expected, image)[0], atol=1e-4)
    assert np.abs(tools.paddle(changed, image)[0] - tools.paddle(program, image)[0]).max() > 0.1


def test_a_range_is_found_by_the_convolution_that_reads_it() -> None:
    """A ReLU6 becomes several nodes in ONNX, the last of which has a name of the converter's."""
    program, _ = network("relu6")
    first, second = (op for op in program.ops if op.type == "conv2d")
    names = [(op.output("Output") or "", op.input("Filter") or "") for op in (first, second)]
    nodes = [
        OnnxNode("Conv", names[0][0], [program.feed_names[0], names[0][1], "b0"], ["fused"]),
        OnnxNode("Clip", "Clip.1", ["fused"], ["Clip.2"]),
        OnnxNode("Conv", names[1][0], ["Clip.2", names[1][1], "b1"], ["fused.1"]),
    ]
    assert onnx_to_program(program, nodes)["Clip.2"] == second.input("Input")


def test_a_convolution_that_gives_the_output_is_found_behind_it() -> None:
    """Not by its filter: an exporter stores equal filters once, under the name of one of them."""
    program, _ = network("relu")
    first, second = (op for op in program.ops if op.type == "conv2d")
    (out,) = program.fetch_names
    for filter in (second.input("Filter"), first.input("Filter"), "folded"):
        last = OnnxNode("Conv", "of the output", ["read", filter or "", "bias"], [out])
        assert onnx_convolutions(program, [last]) == {"of the output": second.output("Output")}
        assert onnx_to_program(program, [last])[out] == out
    sum = graph_of_a_sum()
    last = OnnxNode("Conv", "of the output", ["read", "filter"], [*sum.fetch_names])
    assert onnx_convolutions(sum, [last]) == {}  # of two convolutions


def graph_of_a_sum() -> Program:
    graph = Graph()
    x = graph.feed(*DIMS)
    both = {slot: _convolution(graph, x) for slot in ("X", "Y")}
    return graph.program(graph.op("elementwise_add", both, DIMS, axis=-1))


def classes() -> Program:
    """Scores of four classes: a convolution, a ReLU6, a depthwise and a pointwise convolution."""
    graph = Graph()
    x, dims = graph.feed(1, 3, SIDE, SIDE), (1, 8, SIDE, SIDE)
    attrs = {"strides": [1, 1], "dilations": [1, 1], "padding_algorithm": "EXPLICIT", "data_format": "NCHW"}
    three, one = {**attrs, "paddings": [1, 1]}, {**attrs, "paddings": [0, 0], "groups": 1}
    x = graph.op("conv2d", {"Input": x, "Filter": graph.noise(8, 3, 3, 3)}, dims, slot="Output", groups=1, **three)
    x = graph.op("relu6", {"X": x}, dims, threshold=6.0)
    inputs = {"Input": x, "Filter": graph.noise(8, 1, 3, 3)}
    x = graph.op("depthwise_conv2d", inputs, dims, slot="Output", groups=8, **three)
    inputs, dims = {"Input": x, "Filter": graph.noise(4, 8, 1, 1)}, (1, 4, SIDE, SIDE)
    return graph.program(graph.op("conv2d", inputs, dims, slot="Output", **one))


@pytest.mark.parametrize("correction", [False, True])
def test_the_twin_computes_what_the_calibration_judged(correction: bool, workshop: Workshop) -> None:
    """The share of pixels that keep their class: in the lineage by the calibration, in the report by the twin."""
    calibration = Calibration(images=16, agreement=1e-9, bias_correction=correction)
    step = ToPaddleLite(ToPaddleLite.Params(precision=Precision.INT8, calibration=calibration))
    source = workshop.imported(classes())
    lite = workshop.made(step, source)
    notes = lite.manifest.lineage[-1].notes
    assert "int8: 3 of 3 convolutions have a range for their input" in notes
    assert any(note.startswith("biases corrected in 3 levels") for note in notes) == correction
    judged = next(float(note.split("%")[0]) / 100 for note in notes if note.endswith("keep their class"))
    (found,) = workshop.checked(source, lite)
    assert found.agreement is not None
    assert found.agreement == pytest.approx(judged, abs=0.002)
    assert judged < 0.999


def test_a_convolution_that_the_calibration_did_not_judge_stays_float(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = calibrate.onnx_convolutions
    monkeypatch.setattr(calibrate, "onnx_convolutions", lambda *given: dict(list(found(*given).items())[:2]))
    step = ToPaddleLite(ToPaddleLite.Params(precision=Precision.INT8, calibration=Calibration(images=4)))
    notes = workshop.made(step, workshop.imported(classes())).manifest.lineage[-1].notes
    assert "int8: 2 of 3 convolutions have a range for their input" in notes
