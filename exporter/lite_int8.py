"""Prepares int8 for Paddle-Lite: marks operators for Opt's int8 kernels, and builds a float twin with equal rounding.

Opt recognizes the fake-quantization operators of quantization-aware training on a convolution's input and weights. It
reads the scales from their `OutScale` and removes the operators. Paddle-Lite quantizes activations symmetrically to
signed 8 bits: a ReLU's output gets 127 steps, where ONNX Runtime uses 255.

Opt also has int8 kernels for x86, but they are inaccurate: on a street model they change 8 % of the pixels, where the
same rounding in float changes 0.8 %. So the check's twin computes in float what an exact kernel would: rounded weights,
and activations that are scaled, rounded, clipped and scaled back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.quantization_ranges import Ranges

Rounds = Callable[[Program, Op, str, float], str]
"""Inserts rounding to 127 steps of a limit before an operator; returns the name of the rounded tensor."""
RoundsWeight = Callable[[Program, Op, str, np.ndarray], str]
"""The same for a weight, with one limit per output channel."""
Weights = Mapping[str, np.ndarray]

_QUANTIZED = frozenset(
    {"conv2d", "depthwise_conv2d"}
)  # no other operator has int8 kernels on ARM or x86 that were tested
FLOAT_OPERATORS = ("ConvTranspose", "Gemm", "MatMul")
"""ONNX operators with weights that Paddle-Lite computes in float."""
_TOP = 127.0
_ATTRIBUTES = {"bit_length": 8, "is_test": True, "round_type": 0}


def with_int8_marks(program: Program, ranges: Ranges, weights: Weights | None = None) -> tuple[Program, list[str]]:
    """Returns a copy whose convolutions run in int8 in Paddle-Lite if the range of their input is known.

    Args:
        program: Not modified.
        ranges: Ranges of the convolutions' inputs.
        weights: Filter -> magnitudes that 127 steps represent; convolutions with other filters stay float. Without
            it, all filters are rounded, each channel to its largest magnitude.

    Returns:
        The copy, and a note on the number of convolutions with a range.
    """
    return _rounded(program, ranges, weights, _mark_activation, _mark_weight)


def with_int8_arithmetic(program: Program, ranges: Ranges, weights: Weights | None = None) -> tuple[Program, list[str]]:
    """Returns a copy that computes the results of exact int8 kernels with float operators."""
    return _rounded(program, ranges, weights, _round_activation, _round_weight)


def with_whole_weights(
    program: Program, whole: Mapping[str, np.ndarray], floats: Collection[str] = ()
) -> tuple[Program, Weights]:
    """Returns a copy with rounded filters, and the magnitudes that 127 steps of each filter represent.

    The integers may belong to filters with folded BatchNorm, which scales a channel and its steps alike and may negate
    both.

    Args:
        program: Not modified.
        whole: Convolution output -> integer weights, in steps of each channel's largest magnitude.
        floats: Outputs of the convolutions that stay float.
    """
    changed = program.copy()
    magnitudes = {}
    for op in changed.ops:
        held, output = op.input("Filter") or "", op.output("Output") or ""
        if op.type not in _QUANTIZED or held in magnitudes or held not in changed.params or output in floats:
            continue
        value, steps = changed.params[held], whole.get(output)
        magnitudes[held] = _weight_limits(value, None)
        if steps is not None and steps.shape == value.shape:
            around = tuple(range(1, value.ndim))
            sign = np.where((steps * value).sum(axis=around, keepdims=True) < 0, -1.0, 1.0)
            limits = magnitudes[held].reshape(-1, *(1 for _ in around))
            changed.set_param(held, (sign * steps * (limits / _TOP)).astype(np.float32))
    return changed, magnitudes


def with_added(program: Program, added: Mapping[str, np.ndarray]) -> Program:
    """Returns a copy with corrected biases: those of the BatchNorm or sum that makes a variable, or new ones.

    Args:
        program: Not modified.
        added: Variable (batch, channels, ...) -> what is added to its channels.
    """
    changed = program.copy()
    producers = changed.producers()
    for name, more in added.items():
        op = producers[name]
        held = op.input({"batch_norm": "Bias", "elementwise_add": "Y"}.get(op.type, "")) or ""
        value = changed.params.get(held)
        of_channels = op.type == "batch_norm" or op.attr("axis", -1) == 1
        if value is not None and value.shape == more.shape and of_channels:
            op.rename(held, changed.add_param(f"{held}.corrected", value + more))
            continue
        before = changed.add_var(f"{name}.uncorrected", changed.shape(name))
        op.rename(name, before, inputs=False, outputs=True)  # the sum has the variable's name, and so its range
        bias = changed.add_param(f"{name}.bias", more)
        sum = Op("elementwise_add", {"X": [before], "Y": [bias]}, {"Out": [name]})
        sum.set_attr("axis", 1)
        changed.insert_after(op, sum)
    changed.prune()
    return changed


def with_whole_matrices(program: Program, whole: Mapping[str, np.ndarray]) -> Program:
    """Returns a copy with rounded matrices of weights, in the steps in which Opt stores 8-bit weights.

    Args:
        program: Not modified.
        whole: Product's output -> integers (in, out), in steps of each output's largest magnitude.
    """
    changed = program.copy()
    done: set[str] = set()
    for op in changed.ops:
        held, steps = op.input("Y") or "", whole.get(op.output("Out") or "")
        if steps is None or held in done or held not in changed.params:
            continue
        value = changed.params[held]
        turned = bool(op.attr("trans_y", False) or op.attr("transpose_Y", False))
        matrix = value.T if turned else value
        if steps.shape == matrix.shape:
            rounded = (steps * (np.abs(matrix).max(axis=0) / _TOP)).astype(np.float32)
            changed.set_param(held, np.ascontiguousarray(rounded.T if turned else rounded))
            done.add(held)
    return changed


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
    """Returns variable -> largest magnitude, including variables that only forward a variable with a range."""
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
    """Returns the largest magnitude of each output channel; never 0, because it is a divisor."""
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
