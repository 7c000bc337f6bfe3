"""The parts of a diagnosis without any runtime: differences, matching, cutting, judging, bisection."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "exporter"))

from graphs import Graph  # noqa: E402

from segexport.diagnose import judge  # noqa: E402
from segexport.diagnose.diagnose import bisect, preprocess_findings  # noqa: E402
from segexport.diagnose.match import Match, OnnxGraph, folded, match  # noqa: E402
from segexport.diagnose.schema import Difference, LayerComparison, QuantizedTensor  # noqa: E402
from segexport.errors import InputError  # noqa: E402
from segexport.exporter import truncate  # noqa: E402
from segexport.spec import Precision, Preprocess, Resize  # noqa: E402


@pytest.fixture
def difference(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "exporter/workers"))
    from difference import difference

    return lambda a, b: Difference(**difference(a, b))


# -- differences -----------------------------------------------------------------------------------------------


def test_a_difference_by_hand(difference):
    expected = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    found = difference(expected, np.array([[0.0, 1.0], [2.5, 4.0]], np.float32))
    assert (found.max_abs, found.worst, found.worst_expected, found.worst_found) == (0.5, (1, 0), 2.0, 2.5)
    assert found.rms == 0.25
    assert found.relative == 0.125
    assert found.steps == pytest.approx(0.25 / 4 * 255)


def test_axes_of_size_1_do_not_count_and_other_sizes_do(difference):
    assert difference(np.zeros((1, 3, 1)), np.zeros(3)).max_abs == 0.0
    found = difference(np.zeros((2, 3)), np.zeros((3, 2)))
    assert not found.fits
    assert found.relative == float("inf")


def test_nan_counts_only_where_the_reference_has_none(difference):
    expected = np.array([np.nan, 1.0, 2.0])
    assert difference(expected, np.array([np.nan, 1.0, 2.0])).finite
    found = difference(expected, np.array([np.nan, np.inf, 2.0]))
    assert not found.finite
    assert found.steps == float("inf")


def test_integers_are_counted(difference):
    found = difference(np.array([1, 2, 3, 4]), np.array([1, 2, 9, 4], np.int32))
    assert found.differing == found.relative == 0.25


def test_a_constant_tensor_has_a_span(difference):
    found = difference(np.full(4, 5.0), np.full(4, 5.001))
    assert 0.1 < found.relative < 1.0  # against a thousandth of its magnitude, not against nothing


# -- judging ---------------------------------------------------------------------------------------------------


def _difference(rms: float, max_abs: float = 0.0) -> Difference:
    return Difference(shape=(4,), found_shape=(4,), max_abs=max_abs or rms, rms=rms, low=0.0, high=255.0)


def test_fp32_is_judged_by_its_largest_error():
    assert not judge.is_faulty(_difference(0.0, 0.02), Precision.FP32, 0.0)
    assert judge.is_faulty(_difference(0.0, 0.03), Precision.FP32, 0.0)
    assert not judge.is_faulty(_difference(0.0, 0.5), Precision.FP16, 0.0)


def test_int8_is_judged_by_the_models_own_median():
    median = judge.median_score([_difference(r) for r in (0.01, 0.4, 0.5, 0.6, 30.0)], Precision.INT8)
    assert median == pytest.approx(0.55)  # what does not round at all is left out
    assert not judge.is_faulty(_difference(4.3), Precision.INT8, median)
    assert judge.is_faulty(_difference(4.5), Precision.INT8, median)
    assert not judge.is_faulty(_difference(3.9), Precision.INT8, 0.1)
    assert judge.is_faulty(_difference(4.1), Precision.INT8, 0.1)
    assert judge.is_faulty(_difference(1.6), Precision.W8, 0.1)


def test_scales_are_compared_with_each_other():
    def held(ratio: float | None) -> QuantizedTensor:
        return QuantizedTensor(scale=1.0, zero_point=0, low=0.0, high=255.0, rounding_ratio=ratio)

    ratios = {"a": 1.0, "b": 4.4, "c": 4.6, "e": None, "f": 1.1, "g": 1.2}
    marked = judge.shifted({"d": None, **{name: held(ratio) for name, ratio in ratios.items()}})
    assert [name for name, one in marked.items() if one and one.is_shifted] == ["c"]
    dull = judge.shifted({name: held(ratio) for name, ratio in (("a", 4.0), ("b", 5.0), ("c", 11.0), ("d", 13.0))})
    assert not any(one.is_shifted for one in dull.values())  # an image darker than all others raises every ratio


def _layer(name: str, accumulated: float, **changes) -> LayerComparison:
    given = {"variable": name, "operators": ("relu",), "tensor": name, "shape": (4,), "expected": 1e-4}
    return LayerComparison(**given, accumulated=_difference(accumulated), local=_difference(0.0), **changes)


def test_errors_that_add_up_are_told_from_a_faulty_layer():
    layers = [_layer("a", 1e-3), _layer("b", 0.7), _layer("c", 3.0)]
    whole = {"c": _difference(3.0)}
    found = judge.accumulation_finding(layers, whole, Precision.FP32, 0.0)
    assert (found.kind, found.layer) == ("accumulation", "b")
    assert judge.accumulation_finding(layers, {"c": _difference(0.1)}, Precision.FP32, 0.0) is None


@pytest.mark.parametrize("first", [0, 1, 6, 7])
def test_bisection(first):
    layers = [_layer(str(index), 0.0) for index in range(8)]
    asked = []

    def is_off(layer: LayerComparison) -> bool:
        asked.append(layer.variable)
        return int(layer.variable) >= first

    assert bisect(layers, is_off).variable == str(first)
    assert len(asked) <= 4
    assert bisect(layers, lambda layer: False) is None


# -- preprocessing ---------------------------------------------------------------------------------------------


def test_every_field_of_the_preprocessing_is_compared():
    own = Preprocess()
    assert preprocess_findings(own, own) == []
    other = Preprocess(color="bgr", mean=(0.4, 0.5, 0.5), geometry=(Resize(width=2, height=2),), scale=1.0)
    found = preprocess_findings(own, other)
    assert [finding.layer for finding in found] == ["color", "geometry", "scale", "mean"]
    assert "order of the colour channels (color) is bgr in the export, rgb in the reference" in found[0].message


# -- cutting and matching --------------------------------------------------------------------------------------


def _net():
    """x -> relu a -> two branches (conv + bias, relu6) -> concat."""
    graph = Graph()
    x = graph.feed(1, 2, 4, 4)
    a = graph.op("relu", {"X": x}, (1, 2, 4, 4))
    conv = graph.op(
        "conv2d",
        {"Input": a, "Filter": graph.noise(2, 2, 1, 1)},
        (1, 2, 4, 4),
        slot="Output",
        strides=[1, 1],
        paddings=[0, 0],
        dilations=[1, 1],
        groups=1,
        data_format="NCHW",
        padding_algorithm="EXPLICIT",
    )
    biased = graph.op("elementwise_add", {"X": conv, "Y": graph.noise(2, 1, 1)}, (1, 2, 4, 4), axis=-1)
    clipped = graph.op("relu6", {"X": a}, (1, 2, 4, 4))
    joined = graph.op("concat", {"X": [biased, clipped]}, (1, 4, 4, 4), axis=1)
    program = graph.program(joined)
    names = {"x": x, "a": a, "conv": conv, "biased": biased, "clipped": clipped, "joined": joined}
    shapes = {name: program.shape(name) for name in (*names.values(), program.feed_names[0])}
    return program, names, shapes


def test_a_segment_ends_at_the_stops():
    program, names, _ = _net()
    part = truncate.segment(program, names["joined"], {names["a"], names["clipped"]})
    assert [program.ops[index].type for index in part.ops] == ["conv2d", "elementwise_add", "concat"]
    assert set(part.sources) == {names["a"], names["clipped"]}
    whole = truncate.segment(program, names["clipped"], ())
    assert [program.ops[index].type for index in whole.ops] == ["elementwise_add", "relu", "relu6"]
    assert whole.sources == tuple(program.feed_names)
    with pytest.raises(InputError, match="writes no variable 'nothing'"):
        truncate.segment(program, "nothing", ())


def test_a_cut_program_holds_what_is_needed():
    program, names, _ = _net()
    cut = truncate.cut(program, [names["clipped"]])
    assert [op.type for op in cut.compute_ops()] == ["elementwise_add", "relu", "relu6"]
    assert cut.fetch_names == [names["clipped"]]
    assert len(program.fetch_names) == 1  # the original is left as it was
    assert program.fetch_names == [names["joined"]]


def test_isolated_layers_do_not_touch():
    program, names, shapes = _net()
    stops = {names["a"], names["biased"], names["clipped"]}
    parts = [truncate.segment(program, names[name], stops) for name in ("biased", "clipped", "joined")]
    graph, feeds, targets = truncate.isolate(program, parts, shapes)
    assert feeds == graph.feed_names == [names["a"], names["biased"], names["clipped"]]
    assert targets == [names["biased"], names["clipped"], names["joined"]]
    assert [op.type for op in graph.compute_ops()] == ["conv2d", "elementwise_add", "relu6", "concat"]
    assert not set(graph.fetch_names) & set(graph.feed_names)
    assert not {name for op in graph.compute_ops() for name in op.output_names()} & set(graph.feed_names)


def _onnx(nodes, names) -> OnnxGraph:
    return OnnxGraph(nodes, ["w", "b", "zero", "six"], [names])


def test_names_that_were_kept_and_names_that_were_not():
    """As onnxslim leaves it: the bias in the convolution under the convolution's name, Clip and Concat renamed."""
    program, names, shapes = _net()
    graph = _onnx(
        [
            ("Relu", ["input"], [names["a"]]),
            ("Conv", [names["a"], "w", "b"], [names["conv"]]),
            ("Clip", [names["a"], "zero", "six"], ["Clip.1"]),
            ("Concat", [names["conv"], "Clip.1"], ["Concat.1"]),
        ],
        "input",
    )
    found = match(program, shapes, graph)
    assert found[names["a"]] == Match(names["a"], "name")
    assert found[names["biased"]] == Match(names["conv"], "structure")
    assert found[names["clipped"]] == Match("Clip.1", "structure")
    assert found[names["joined"]] == Match("Concat.1", "structure")
    assert names["conv"] not in found


def test_matching_looks_through_quantization():
    program, names, shapes = _net()
    graph = _onnx(
        [
            ("Relu", ["input"], [names["a"]]),
            ("QuantizeLinear", [names["a"], "w", "b"], ["q"]),
            ("DequantizeLinear", ["q", "w", "b"], ["dq"]),
            ("Clip", ["dq", "zero", "six"], ["Clip.1"]),
            ("Conv", ["dq", "w", "b"], [names["conv"]]),
            ("Concat", [names["conv"], "Clip.1"], [names["joined"]]),
        ],
        "input",
    )
    found = match(program, shapes, graph)
    assert found[names["clipped"]].tensor == "Clip.1"
    assert [node.kind for node in graph.between("Clip.1", {names["a"]})] == [
        "QuantizeLinear",
        "DequantizeLinear",
        "Clip",
    ]


def test_what_may_have_been_folded_in():
    program, names, _ = _net()
    known = {names["joined"]: Match("j", "name"), names["conv"]: Match("c", "name")}
    assert folded(program, known, names["conv"]) == [names["biased"]]
    assert folded(program, known, names["a"]) == []  # two operators read it
