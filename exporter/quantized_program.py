"""Splits a quantized program, as left by `mends.quantized`, into the float program and its rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Program
from segexport.exporter.quantization_ranges import Grid, Ranges, signed_grid
from segexport.spec import Precision

_STEPS = 127.0


@dataclass(frozen=True)
class Unquantized:
    """The float program and its rounding.

    Attributes:
        program: Weights are dequantized; activations are not rounded.
        ranges: Ranges of the activations that were rounded.
        weights: Weight -> largest magnitude, one or one per output channel; the weight is exact in 127 steps of it.
    """

    program: Program
    ranges: Ranges
    weights: dict[str, np.ndarray]


def is_quantized(program: Program) -> bool:
    """Whether the program rounds weights or activations."""
    return any(op.type in ("quantize_linear", "dequantize_linear") for op in program.ops)


def unquantized(program: Program) -> Unquantized:
    """Removes the rounding operators from a copy of a quantized program."""
    changed, renamed = program.copy(), {}
    grids: dict[str, Grid] = {}
    weights: dict[str, np.ndarray] = {}
    kept = []
    for op in changed.ops:
        for old in set(op.input_names()) & set(renamed):
            op.rename(old, renamed[old])
        source, out = op.input("X") or "", op.output("Y") or ""
        if op.type == "dequantize_linear" and source in changed.params:
            held, limits = changed.params[source], changed.params[op.input("Scale") or ""]
            axis = op.attr("quant_axis") if limits.size > 1 else 0
            spread = [-1 if index == axis else 1 for index in range(held.ndim)]
            changed.set_param(out, (held * (limits.reshape(spread) / _STEPS)).astype(np.float32))
            weights[out] = limits
        elif op.type == "quantize_linear":
            limit = float(changed.params[op.input("Scale") or ""].item())
            grids[source] = signed_grid(limit)
            renamed[out] = source
        elif op.type == "dequantize_linear":
            renamed[out] = source
        else:
            kept.append(op)
    changed.ops = kept
    changed.prune()
    changed.verify("the program without its roundings")
    return Unquantized(changed, Ranges(tensors=grids), weights)


def require_float(source: ModelArtifact, what: str) -> None:
    """Raises UnsupportedModelError if the program is already quantized; `what` needs a float program."""
    precision = source.manifest.target.precision
    if precision in (Precision.INT8, Precision.W8, Precision.W4, Precision.W4A8):
        raise UnsupportedModelError(
            f"{source.manifest.name} is quantized to {precision.value} already: {what} takes float models",
            cause="its weights are integers, which no training moves and no rounding improves",
            hint="give the float model that it was quantized from, or export it unchanged: --precision int8",
        )
