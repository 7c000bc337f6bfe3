"""Rewrites matmul_v2 with quantized weights as mul: Paddle-Lite dequantizes the weights of mul only."""

from __future__ import annotations

import numpy as np

from segexport.errors import UnsupportedModelError
from segexport.exporter.layers import layer_of
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, transpose


class WeightProductToMul:
    """Rewrites products of a tensor with a weight matrix as mul. Only exports with 8- or 16-bit weights need it.

    Weights on the left, W Y, are rewritten as (Y^T W^T)^T.
    """

    name = "weight_product_to_mul"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(_weights_slot(program, op) for op in program.all_ops())

    def apply(self, program: Program) -> list[str]:
        turned: dict[str, str] = {}
        changed = [op for op in program.all_ops() if _weights_slot(program, op)]
        for op in changed:
            _require_matrix(program, op)
            if _weights_slot(program, op) == "X":
                _swap(program, op)
            if _turns(op, "X"):
                _turn_before(program, op)
            if _turns(op, "Y"):
                name = op.input("Y") or ""
                if name not in turned:
                    value = np.ascontiguousarray(program.params[name].T)
                    turned[name] = program.add_param(f"{name}.transposed", value)
                op.inputs["Y"] = [turned[name]]
            op.type, op.attrs = "mul", {}
            op.set_attr("x_num_col_dims", len(program.shape(op.input("X") or "")) - 1)
            op.set_attr("y_num_col_dims", 1)
        return [f"{len(changed)} products with a matrix of weights written as mul"]


def _weights_slot(program: Program, op: Op) -> str | None:
    if op.type not in ("matmul_v2", "matmul"):
        return None
    return next((slot for slot in ("Y", "X") if op.input(slot) in program.params), None)


def _turns(op: Op, slot: str) -> bool:
    return bool(op.attr(f"trans_{slot.lower()}", False) or op.attr(f"transpose_{slot}", False))


def _require_matrix(program: Program, op: Op) -> None:
    slot = _weights_slot(program, op) or "Y"
    weights, other = program.params[op.input(slot) or ""], program.shape(op.input("X" if slot == "Y" else "Y") or "")
    if weights.ndim == 2 and len(other) > 1 and op.attr("alpha", 1.0) == 1.0:
        return
    raise UnsupportedModelError(
        f"{op.type} (layer {layer_of(program, op)}) cannot be exported to Paddle-Lite with small weights",
        cause=f"its weights are of shape {list(weights.shape)}, and Paddle-Lite reads back matrices of mul only",
        hint="export with --precision fp32 or fp16",
    )


def _swap(program: Program, op: Op) -> None:
    """Rewrites out = X Y as out^T = Y^T X^T followed by a transpose."""
    turns_x, turns_y = _turns(op, "X"), _turns(op, "Y")
    op.inputs["X"], op.inputs["Y"] = op.inputs["Y"], op.inputs["X"]
    op.set_attr("trans_x", not turns_y)
    op.set_attr("trans_y", not turns_x)
    for name in ("transpose_X", "transpose_Y"):
        op.attrs.pop(name, None)
    out = op.output("Out") or ""
    dims = program.shape(out)
    between = program.add_var(f"{out}.turned", (*dims[:-2], dims[-1], dims[-2]), program.dtype(out))
    op.outputs["Out"] = [between]
    program.insert_after(op, transpose(program, between, _last_two_swapped(len(dims)), out)[1])


def _turn_before(program: Program, op: Op) -> None:
    source = op.input("X") or ""
    turned, before = transpose(program, source, _last_two_swapped(len(program.shape(source))))
    program.insert_before(op, before)
    op.inputs["X"] = [turned]


def _last_two_swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]
