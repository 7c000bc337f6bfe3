"""Finds a program's class scores before upsampling: losses there cost a fraction and are nearly the same."""

from __future__ import annotations

import numpy as np

from segexport.compress.logits import logits_of
from segexport.exporter.program import Op, Program

_ENLARGES = frozenset({"bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2"})
_PASSES = frozenset({"assign", "scale", "share_data"})


def score_map_of(program: Program, output: int = 0) -> tuple[str, int]:
    """Returns the variable with the smallest logit map that is upsampled to an output, and its class axis.

    If two programs upsample alike, equal maps give equal outputs. For a program without final upsampling, returns the
    result of `logits_of`.

    Raises:
        UnsupportedModelError: The program has no logits.
    """
    found, axis = logits_of(program, output)
    name = found
    for op in reversed(list(program.compute_ops())):
        if name not in op.output_names():
            continue
        if axis != 1 or op.type not in _ENLARGES | _PASSES or _rescales(op):
            break
        source = op.input("X") or ""
        if op.type in _ENLARGES:
            before, after = program.shape(source)[2:], program.shape(name)[2:]
            if any(a > b or a < 0 for a, b in zip(before, after, strict=True)):
                break
            found = source
        name = source
    return found, axis


def _rescales(op: Op) -> bool:
    return op.type == "scale" and (op.attr("scale", 1.0) != 1 or op.attr("bias", 0.0) != 0)


def at_size(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes labels (batch, rows, columns) to (height, width) by nearest neighbour."""
    rows = (2 * np.arange(height) + 1) * labels.shape[1] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[2] // (2 * width)
    return labels[:, rows][:, :, columns]
