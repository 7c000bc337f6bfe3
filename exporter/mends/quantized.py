"""Converts all forms of PaddleSlim-quantized programs to one form, which Paddle can run.

The form is PaddleSlim's newest (`onnx_format`): a pair of `quantize_linear` and `dequantize_linear` rounds the input of
a convolution or product, and a `dequantize_linear` follows its int8 weight. The older forms:

- rounding in one operator (`fake_quantize_dequantize_...`), as in training, with float weights;
- integers stored as floats: `fake_quantize_...` before, `fake_..._dequantize_...` after the product.

Operators that only observe ranges (`only_observer`, `moving_average_abs_max_scale`) change nothing and are removed.
Scales are magnitudes, as everywhere in PaddleSlim: the step is scale / 127.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segexport.errors import UnsupportedModelError
from segexport.exporter.layers import layer_of
from segexport.exporter.program import Attr, Op, Program

_STEPS = 127.0
_LEAST = 1e-8  # avoids a division by zero for a channel of zeros
_OBSERVER = "moving_average_abs_max_scale"
_ROUNDS = frozenset({"fake_quantize_dequantize_moving_average_abs_max", "fake_quantize_dequantize_abs_max"})
_ROUNDS_WEIGHT = frozenset({"fake_channel_wise_quantize_dequantize_abs_max"})
_TO_INTEGERS = frozenset(
    {
        "fake_quantize_range_abs_max", "fake_quantize_moving_average_abs_max", "fake_quantize_abs_max",
        "fake_channel_wise_quantize_abs_max",
    }
)  # fmt: skip
_FROM_INTEGERS = frozenset({"fake_dequantize_max_abs", "fake_channel_wise_dequantize_max_abs"})
_LINEAR = frozenset({"quantize_linear", "dequantize_linear"})
_ALL = _ROUNDS | _ROUNDS_WEIGHT | _TO_INTEGERS | _FROM_INTEGERS | _LINEAR | {_OBSERVER}


def unify_quantization(program: Program) -> list[str]:
    """Converts the program to the common form, in place; returns notes.

    Raises:
        UnsupportedModelError: The program does not use 8 bits, has a nonzero zero point or a range found at run time.
    """
    if not any(op.type in _ALL for op in program.ops):
        return []
    _Unified(program).run()
    rounded = sum(op.type == "quantize_linear" for op in program.ops)
    held = sum(op.type == "dequantize_linear" and op.input("X") in program.params for op in program.ops)
    return [f"quantized already: {rounded} tensors are rounded to 8 bits, {held} weights are stored in int8"]


@dataclass(frozen=True)
class _Grid:
    """A tensor's rounding: one magnitude, or one per index of `axis`."""

    limits: np.ndarray
    axis: int = -1


class _Unified:
    """Converts one program to the common form."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._renamed: dict[str, str] = {}
        self._held: dict[str, str] = {}  # weight and its scale -> output of its dequantize_linear
        self._weights: dict[str, str] = {}  # output of a weight's quantize_linear -> the same
        self._done: list[Op] = []

    def run(self) -> None:
        producers = self._program.producers()
        self._behind = {
            op.input("X"): op for op in self._program.ops if op.type in _FROM_INTEGERS and op.input("X") in producers
        }
        for op in self._program.ops:
            for old in set(op.input_names()) & set(self._renamed):
                op.rename(old, self._renamed[old])
            self._one(op)
        self._program.ops = self._done
        self._program.prune()

    def _one(self, op: Op) -> None:
        if op.type == _OBSERVER or op.attr("only_observer"):
            self._pass(op)
        elif op.type in _LINEAR:
            self._linear(op)
        elif op.type in _ROUNDS | _ROUNDS_WEIGHT | _TO_INTEGERS:
            self._fake(op)
        elif op.type in _FROM_INTEGERS and op.input("X") in self._program.params:
            weight = op.input("X") or ""
            self._renamed[op.output("Out") or ""] = self._hold(
                op, weight, self._program.params[weight], self._grid_alone(op)
            )
        elif op.type in _FROM_INTEGERS:
            self._pass(op)  # the preceding operators now compute in float
        else:
            result = next((name for name in op.output_names() if name in self._behind), None)
            if result is not None:
                self._weight_of_integers(op, self._behind[result])
            self._done.append(op)

    def _pass(self, op: Op) -> None:
        """Bypasses an operator: its readers read its input."""
        out, source = op.output("Out") or op.output("Y") or "", op.input("X") or ""
        if not out:
            return
        if out in self._program.fetch_names:
            self._done.append(Op("assign", {"X": [source]}, {"Out": [out]}))
        else:
            self._renamed[out] = source

    # -- the newest form -----------------------------------------------------------------------------------------

    def _linear(self, op: Op) -> None:
        source, params = op.input("X") or "", self._program.params
        self._require(op, not np.any(params.get(op.input("ZeroPoint") or "", 0)), "its zero point is not 0")
        grid = self._grid(op, "Scale")
        if source in self._weights:  # the second half of a pair around a weight
            self._renamed[op.output("Y") or ""] = self._weights[source]
        elif source in params and op.type == "quantize_linear":
            self._weights[op.output("Y") or ""] = self._hold(op, source, _integers(params[source], grid), grid)
        elif source in params:
            self._renamed[op.output("Y") or ""] = self._hold(op, source, params[source], grid)
        elif op.type == "quantize_linear":
            self._done += self._pair(op, source, op.output("Y") or "", grid)
        else:
            self._pass(op)  # `_pair` writes floats

    # -- the older forms -----------------------------------------------------------------------------------------

    def _fake(self, op: Op) -> None:
        source, out = op.input("X") or "", op.output("Out") or ""
        weight = self._program.params.get(source)
        if weight is None:
            self._require(op, op.type not in _ROUNDS_WEIGHT, "it finds the range of each channel while it runs")
            self._done += self._pair(op, source, out, self._grid(op, "InScale"))
            return
        per_channel = op.type in _ROUNDS_WEIGHT or op.type == "fake_channel_wise_quantize_abs_max"
        axis = op.attr("quant_axis", 0) if per_channel else -1
        known = self._program.params.get(op.input("InScale") or "")
        grid = _Grid(_magnitudes(weight, axis) if known is None else known.reshape(-1), axis)
        self._renamed[out] = self._hold(op, source, _integers(weight, grid), grid)

    def _weight_of_integers(self, op: Op, behind: Op) -> None:
        """Converts the weight of an integer product, using the operator after the product."""
        weights = [name for name in op.input_names() if name in self._program.params]
        held = set(self._held.values())
        if any(name in held for name in op.input_names()):
            return
        self._require(behind, len(weights) == 1, f"{op.type} in front of it has {len(weights)} weights")
        (weight,) = weights
        op.rename(weight, self._hold(behind, weight, self._program.params[weight], self._grid_behind(behind)))

    def _grid_behind(self, behind: Op) -> _Grid:
        """The weight's rounding: the operator's factor is the weight's scale times the input's, which is known."""
        if behind.type == "fake_dequantize_max_abs":  # scale of the input / (127 * 127 / scale of the weight)
            return _Grid(np.array([_STEPS * _STEPS / behind.attr("max_range")], np.float32))
        self._require(behind, all(bits == 8 for bits in behind.attr("quant_bits", [8])), "not of 8 bits")
        return _Grid(self._program.params[behind.inputs["Scales"][0]].reshape(-1), behind.attr("quant_axis", 0))

    def _grid_alone(self, op: Op) -> _Grid:
        """The rounding of a weight that is converted to floats before the product."""
        params = self._program.params
        if op.type == "fake_channel_wise_dequantize_max_abs":
            return _Grid(params[op.inputs["Scales"][0]].reshape(-1), op.attr("quant_axis", 0))
        return _Grid(params[op.input("Scale") or ""].reshape(-1) * _STEPS / op.attr("max_range"))

    # -- parts ---------------------------------------------------------------------------------------------------

    def _grid(self, op: Op, slot: str) -> _Grid:
        self._require(op, op.attr("bit_length", 8) == 8, f"it rounds to {op.attr('bit_length')} bits")
        limits = self._program.params.get(op.input(slot) or "")
        self._require(op, limits is not None, "its range is found while it runs")
        return _Grid(np.asarray(limits, np.float32).reshape(-1), op.attr("quant_axis", -1))

    def _require(self, op: Op, holds: bool, why: str) -> None:
        if not holds:
            raise UnsupportedModelError(
                f"{op.type} (layer {layer_of(self._program, op)}): this quantization cannot be exported",
                cause=why,
                hint="quantize the float model here instead: segexport export MODEL --to onnx --precision int8",
            )

    def _hold(self, op: Op, weight: str, integers: np.ndarray, grid: _Grid) -> str:
        """Stores a weight in int8 with the operator that converts it to floats; returns the floats' name."""
        key = f"{weight} by {op.input('Scale')}"
        grid = _Grid(np.maximum(grid.limits, _LEAST), grid.axis)
        if key in self._held:
            return self._held[key]
        program = self._program
        axis = grid.axis if grid.limits.size > 1 else -1
        held = program.add_param(f"{weight}.int8", np.clip(np.rint(integers), -_STEPS, _STEPS).astype(np.int8))
        floats = program.add_var(f"{weight}.floats", integers.shape)
        self._done.append(self._operator("dequantize_linear", held, floats, grid.limits, axis))
        self._held[key] = floats
        return floats

    def _pair(self, op: Op, source: str, out: str, grid: _Grid) -> list[Op]:
        self._require(op, grid.limits.size == 1, "it rounds each channel of an activation differently")
        if not grid.limits.all():  # only zeros were observed, so there is nothing to round
            return [Op("assign", {"X": [source]}, {"Out": [out]})]
        steps = self._program.add_var(f"{source}.int8", self._program.shape(source))
        first = self._operator("quantize_linear", source, steps, grid.limits, -1)
        # 0 rounds first and has 256 steps, down to -128; 1, as in the older operators, clips first and has 255.
        first.set_attr("round_type", op.attr("round_type", 0 if op.type in _LINEAR else 1))
        return [first, self._operator("dequantize_linear", steps, out, grid.limits, -1)]

    def _operator(self, type: str, source: str, out: str, limits: np.ndarray, axis: int) -> Op:
        program = self._program
        scale = program.add_param(f"{out}.scale", limits.astype(np.float32))
        zero = program.add_param(f"{out}.zero", np.zeros(limits.shape, np.int32))
        op = Op(type, {"X": [source], "Scale": [scale], "ZeroPoint": [zero]}, {"Y": [out]})
        op.attrs = {"quant_axis": Attr("INT", axis), "bit_length": Attr("INT", 8), "round_type": Attr("INT", 0)}
        op.attrs |= {"is_test": Attr("BOOLEAN", True), "only_observer": Attr("BOOLEAN", False)}
        return op


def _magnitudes(weight: np.ndarray, axis: int) -> np.ndarray:
    """Returns the largest magnitude, overall or per index along an axis."""
    if axis < 0:
        return np.array([np.abs(weight).max()], np.float32)
    others = tuple(index for index in range(weight.ndim) if index != axis)
    return np.abs(weight).max(axis=others).astype(np.float32)


def _integers(weight: np.ndarray, grid: _Grid) -> np.ndarray:
    """Rounds a weight to the nearest steps."""
    return np.rint(weight / np.maximum(_spread(grid, weight.ndim), _LEAST) * _STEPS)


def _spread(grid: _Grid, rank: int) -> np.ndarray:
    if grid.limits.size == 1:
        return grid.limits.reshape([1] * rank)
    return grid.limits.reshape([-1 if index == grid.axis else 1 for index in range(rank)])
