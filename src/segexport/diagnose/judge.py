"""Limits for the local errors of layers, and the findings that follow from the errors of all layers.

The local error is that of a layer alone, with the reference's tensors as inputs, so it contains no other layer's error.
The expected error depends on the arithmetic:

* fp32: another order of summation, measured at most 2e-6 of the tensor's range; the limit is 1e-4.
* fp16: weights, input and output rounded to 11 bits, at most 8e-4 of the range; the limit is 2e-3.
* int8: input, weights and output rounded to 8 bits. In steps of 1/255 of the range, the root-mean-square error of a
  sound layer is 0.3 to 2.4; the limit is 4, or 8 times the model's own median where that is more.
* w8: only the weights, at most 0.4 steps; the limit is 1.5, or 8 times the median. 4-bit weights: 8 steps.

A wrong scale is distinguished from the arithmetic: the reference's tensor is rounded with the export's scale and with
that of the tensor's own range. Sound calibrations on other images lose 0.9 to 3.6 times as much; the limit is 4.5
times, or 3 times the model's median.

Measured on the sound exports of four nets, 54 to 203 layers each.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from segexport.diagnose.schema import Difference, Finding, LayerComparison, QuantizedTensor
from segexport.spec import Precision

_RELATIVE_LIMIT = {Precision.FP32: 1e-4, Precision.FP16: 2e-3, Precision.BF16: 2e-2}
_STEPS_LIMIT = {Precision.INT8: 4.0, Precision.W8: 1.5, Precision.W4: 8.0, Precision.W4A8: 8.0}
_TIMES_MEDIAN = 8.0
_ROUNDING_RATIO_LIMIT = 4.5
_ROUNDING_TIMES_MEDIAN = 3.0
_INTEGERS_LIMIT = {Precision.FP32: 1e-3, Precision.FP16: 1e-2, Precision.INT8: 5e-2, Precision.W8: 5e-2}
_INTEGERS_LIMIT |= dict.fromkeys((Precision.W4, Precision.W4A8, Precision.BF16), _INTEGERS_LIMIT[Precision.INT8])
# Limit for the accumulated error of the model's output if no layer alone is wrong, in the same units.
_WHOLE_TIMES = 20.0
NOT_COMPARABLE = 1e30
"""Score of a tensor with other sizes, or with NaN; JSON has no infinity."""


def unit(precision: Precision) -> str:
    """The unit of a layer's score."""
    if precision in _RELATIVE_LIMIT:
        return "largest error / range of the tensor"
    return "root-mean-square error, in steps of 1/255 of the tensor's range"


def score(found: Difference, precision: Precision) -> float:
    """A tensor's error in the precision's unit; for integers, the fraction of different elements."""
    return found.relative if precision in _RELATIVE_LIMIT else found.steps


def limit(found: Difference, precision: Precision, median: float) -> float:
    """The limit of `score`."""
    if found.differing is not None:
        return _INTEGERS_LIMIT[precision]
    if precision in _RELATIVE_LIMIT:
        return _RELATIVE_LIMIT[precision]
    return max(_STEPS_LIMIT[precision], _TIMES_MEDIAN * median)


def median_score(found: Iterable[Difference], precision: Precision) -> float:
    """The median over layers that round; layers that only move numbers would lower it."""
    scores = [score(one, precision) for one in found if one.differing is None and one.fits]
    rounding = [value for value in scores if value > 0.05]
    return statistics.median(rounding) if rounding else 0.0


def is_faulty(found: Difference, precision: Precision, median: float) -> bool:
    """Whether a layer's local error is larger than its arithmetic explains."""
    return not score(found, precision) <= limit(found, precision, median)


def shifted(held: Mapping[str, QuantizedTensor | None]) -> dict[str, QuantizedTensor | None]:
    """Marks tensors whose scale fits this image much worse than the other tensors' scales do."""
    ratios = [one.rounding_ratio for one in held.values() if one is not None and one.rounding_ratio is not None]
    most = max(_ROUNDING_RATIO_LIMIT, _ROUNDING_TIMES_MEDIAN * statistics.median(ratios)) if ratios else 0.0
    return {
        name: one
        if one is None
        else one.model_copy(update={"is_shifted": one.rounding_ratio is not None and one.rounding_ratio > most})
        for name, one in held.items()
    }


def layer_findings(layers: Sequence[LayerComparison]) -> list[Finding]:
    """A finding per faulty layer, in execution order."""
    return [
        Finding(kind="operator", message=_operator_message(layer), layer=layer.variable, operators=layer.operators)
        for layer in layers
        if layer.is_faulty
    ]


def _operator_message(layer: LayerComparison) -> str:
    found = layer.local or layer.accumulated
    assert found is not None, "a layer that was not compared is not faulty"
    name = f"{' + '.join(layer.operators) or 'the input'} -> {layer.variable} {list(layer.shape)}"
    in_export = f"in the export {' + '.join(layer.export_operators) or 'nothing'}"
    if not found.fits:
        return f"{name}: {in_export} gives {list(found.found_shape)}"
    if not found.finite:
        return f"{name}: {in_export} gives NaN or infinity"
    where = f"at {list(found.worst)} it gives {_value(found.worst_found)} instead of {_value(found.worst_expected)}"
    said = []
    if layer.score is not None and layer.score > layer.expected:
        text = f"is off by {layer.score:.2g} when it is fed with the reference's tensors (at most {layer.expected:.2g} "
        said.append(f"{text}is expected); {where}")
    if layer.quantized is not None and layer.quantized.is_shifted:
        held = layer.quantized
        text = f"has a wrong scale: its 8 bits hold {held.low:.4g} to {held.high:.4g}, the values run from "
        text += f"{found.low:.4g} to {found.high:.4g}, so rounding costs {held.rounding_ratio:.1f} times what it should"
        said.append(text)
    return f"{name}: {in_export} {'; it '.join(said)}"


def _value(value: float | None) -> str:
    return "NaN" if value is None else f"{value:.5g}"


def accumulation_finding(
    layers: Sequence[LayerComparison], whole: dict[str, Difference], precision: Precision, median: float
) -> Finding | None:
    """The layer where small errors first add up to more than the limit, if the model's output is wrong."""
    if not any(is_off_as_a_whole(found, precision, median) for found in whole.values()):
        return None
    for layer in layers:
        if layer.accumulated is not None and is_off_as_a_whole(layer.accumulated, precision, median):
            found = score(layer.accumulated, precision)
            text = f"no layer alone is off, but the errors add up: from {layer.variable} "
            text += (
                f"({' + '.join(layer.operators)}) on they are {found:.2g}, more than {_WHOLE_TIMES:g} times what one "
            )
            text += "layer may have"
            return Finding(kind="accumulation", message=text, layer=layer.variable, operators=layer.operators)
    return None


def is_off_as_a_whole(found: Difference, precision: Precision, median: float) -> bool:
    times = 1.0 if found.differing is not None else _WHOLE_TIMES
    return not score(found, precision) <= times * limit(found, precision, median)
