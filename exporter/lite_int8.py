"""Prepares int8 for Paddle-Lite: attributes that make Opt choose int8 kernels, and a float twin that rounds alike.

Opt takes the operators that quantization-aware training leaves behind: one that rounds what goes into a convolution,
one that rounds its weights. It reads the scales from their `OutScale` and takes the operators out again. Paddle-Lite
rounds activations symmetrically to signed 8 bits: a ReLU's output gets 127 steps where ONNX Runtime gives it 255.

Opt has int8 kernels for x86 too, but they are far from what the arithmetic should give: on a street model they change
8 % of the pixels, where the same rounding in float changes 0.8 %. So the check's twin computes in float what an exact
kernel would: rounded weights, and activations that are scaled, rounded, clipped and scaled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.quantization_ranges import Ranges

Rounds = Callable[[Program, Op, str, float], str]
"""Puts what rounds a tensor to 127 steps of a limit in front of an operator; the name of what comes out."""
RoundsWeight = Callable[[Program, Op, str, np.ndarray], str]
"""The same for a weight, with a limit for each output channel."""
Weights = Mapping[str, np.ndarray]

_QUANTIZED = frozenset(
    {"conv2d", "depthwise_conv2d"}
)  # others have int8 kernels on neither ARM nor x86 that were tried
_TOP = 127.0
_ATTRIBUTES = {"bit_length": 8, "is_test": True, "round_type": 0}


def with_int8_marks(program: Program, ranges: Ranges, weights: Weights | None = None) -> tuple[Program, list[str]]:
    """A copy whose convolutions run in int8 in Paddle-Lite, where the range of their input is known.

    Args:
        program: Left as it is.
        ranges: Of the convolutions' inputs.
        weights: Filter -> the magnitudes whose 127 steps it is rounded to; convolutions of other filters stay float.
            Without it, all are rounded, each channel to steps of its own largest magnitude.

    Returns:
        The copy, and a note on how many convolutions have a range.
    """
    return _rounded(program, ranges, weights, _mark_activation, _mark_weight)


def with_int8_arithmetic(program: Program, ranges: Ranges, weights: Weights | None = None) -> tuple[Program, list[str]]:
    """The same in float operators: what comes out is what exact int8 kernels give."""
    return _rounded(program, ranges, weights, _round_activation, _round_weight)


def with_whole_weights(program: Program, whole: Mapping[str, np.ndarray]) -> tuple[Program, Weights]:
    """A copy whose filters are rounded already, and the magnitudes whose 127 steps all filters are to be rounded to.

    The whole numbers may be those of filters that BatchNorm was folded into: it scales a channel and its steps alike,
    and may turn both round.

    Args:
        program: Left as it is.
        whole: A convolution's output -> the whole numbers, of as many steps of each channel's largest magnitude.
    """
    changed = program.copy()
    magnitudes = {}
    for op in changed.ops:
        held = op.input("Filter") or ""
        if op.type not in _QUANTIZED or held in magnitudes or held not in changed.params:
            continue
        value, steps = changed.params[held], whole.get(op.output("Output") or "")
        magnitudes[held] = _weight_limits(value, None)
        if steps is not None and steps.shape == value.shape:
            around = tuple(range(1, value.ndim))
            sign = np.where((steps * value).sum(axis=around, keepdims=True) < 0, -1.0, 1.0)
            limits = magnitudes[held].reshape(-1, *(1 for _ in around))
            changed.set_param(held, (sign * steps * (limits / _TOP)).astype(np.float32))
    return changed, magnitudes


def _rounded(
    program: Program, ranges: Ranges, weights: Weights | None, activation: Rounds, weight: RoundsWeight
) -> tuple[Program, list[str]]:
    changed = program.copy()
    limits = _limits(changed, ranges)
    done: dict[str, str] = {}
    convolutions = [op for op in changed.ops if op.type in _QUANTIZED]
    rounded = changed.params.keys() if weights is None else weights.keys()
    marked = [op for op in convolutions if (op.input("Input") or "") in limits and op.input("Filter") in rounded]
    for op in marked:
        source, held = op.input("Input") or "", op.input("Filter") or ""
        if source not in done:
            done[source] = activation(changed, op, source, limits[source])
        if held not in done:
            magnitudes = _weight_limits(changed.params[held], None if weights is None else weights[held])
            done[held] = weight(changed, op, held, magnitudes)
        op.rename(source, done[source])
        op.rename(held, done[held])
    changed.prune()
    changed.verify("the program with int8 convolutions")
    return changed, [f"int8: {len(marked)} of {len(convolutions)} convolutions have a range for their input"]


def _limits(program: Program, ranges: Ranges) -> dict[str, float]:
    """Variable -> largest magnitude, also for what only passes a variable with a range on."""
    found = {name: max(-low, high) for name, (low, high) in ranges.limits().items()}
    for op in program.compute_ops():
        same = op.type == "assign" or (op.type == "dropout" and op.attr("dropout_implementation") == "upscale_in_train")
        if same and (op.input("X") or "") in found:
            found.setdefault(op.output("Out") or "", found[op.input("X") or ""])
    return found


def _mark_activation(program: Program, before: Op, name: str, limit: float) -> str:
    scale = program.add_param(f"{name}.scale", np.array([limit], np.float32))
    out = program.add_var(f"{name}.rounded", program.shape(name))
    inputs, outputs = {"X": [name], "InScale": [scale]}, {"Out": [out], "OutScale": [scale]}
    mark = Op("fake_quantize_dequantize_moving_average_abs_max", inputs, outputs)
    for key, value in {**_ATTRIBUTES, "moving_rate": 0.9}.items():
        mark.set_attr(key, value)
    program.insert_before(before, mark)
    return out


def _weight_limits(value: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """The largest magnitude of each output channel, never 0: it is divided by."""
    if known is not None:
        return np.broadcast_to(known.reshape(-1), value.shape[:1]).astype(np.float32)
    limits = np.abs(value).reshape(value.shape[0], -1).max(axis=1)
    return np.where(limits > 0, limits, 1e-8).astype(np.float32)


def _mark_weight(program: Program, before: Op, name: str, limits: np.ndarray) -> str:
    value = program.params[name]
    scale = program.add_param(f"{name}.scale", limits)
    out = program.add_var(f"{name}.rounded", value.shape)
    mark = Op("fake_channel_wise_quantize_dequantize_abs_max", {"X": [name]}, {"Out": [out], "OutScale": [scale]})
    for key, attribute in {**_ATTRIBUTES, "quant_axis": 0}.items():
        mark.set_attr(key, attribute)
    program.insert_before(before, mark)
    return out


def _round_activation(program: Program, before: Op, name: str, limit: float) -> str:
    step = limit / _TOP
    chain = (
        ("scale", _scaling(1 / step)),
        ("round", {}),
        ("clip", {"min": -_TOP, "max": _TOP}),
        ("scale", _scaling(step)),
    )
    for kind, attributes in chain:
        out = program.add_var(f"{before.input('Input')}.{kind}", program.shape(name))
        op = Op(kind, {"X": [name]}, {"Out": [out]})
        for key, value in attributes.items():
            op.set_attr(key, value)
        program.insert_before(before, op)
        name = out
    return name


def _scaling(factor: float) -> dict[str, float | bool]:
    return {"scale": factor, "bias": 0.0, "bias_after_scale": True}


def _round_weight(program: Program, _before: Op, name: str, limits: np.ndarray) -> str:
    value = program.params[name]
    step = (limits / _TOP).reshape(-1, *([1] * (value.ndim - 1)))
    return program.add_param(f"{name}.rounded", (np.rint(value / step) * step).astype(np.float32))
