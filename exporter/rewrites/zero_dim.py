"""Rewrites 0-D constants and reshapes as shape [1]: Paddle-Lite has no 0-D tensors.

Paddle-Lite returns [1] where a slice or a reduction drops the last axis, so constants of that shape match; its
operators abort on a rank of 0.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE


class ZeroDimConstants:
    """Changes parameters, fill_constant and reshape2 of shape [] to [1]."""

    name = "zero_dim_constants"
    version = "2"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return bool(_params(program)) or any(_is_made_without_axes(op) for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        params, fills = _params(program), [op for op in program.ops if _is_made_without_axes(op)]
        for name in params:
            program.vars[name].dims = (1,)
            if name in program.params:
                program.params[name] = np.reshape(program.params[name], (1,))
        for op in fills:
            op.set_attr("shape", [1], "INTS")
            program.vars[op.output("Out") or ""].dims = (1,)
        return [f"{len(params) + len(fills)} tensors of shape [] given the shape [1]"]


def _params(program: Program) -> list[str]:
    return [
        name for name, var in program.vars.items() if var.persistable and var.is_tensor and var.dtype and not var.dims
    ]


def _is_made_without_axes(op: Op) -> bool:
    tensors = any(op.inputs.get(slot) for slot in ("ShapeTensor", "ShapeTensorList", "Shape"))
    return op.type in ("fill_constant", "reshape2") and not op.attr("shape", []) and not tensors
