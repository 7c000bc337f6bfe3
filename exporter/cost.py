"""Computes the cost of one run of a program from its shapes: operations, parameters, memory. Runs nothing."""

from __future__ import annotations

from math import prod

import numpy as np

from segexport.exporter.program import Op, Program

_WEIGHTED = {"conv2d": "Filter", "depthwise_conv2d": "Filter"}
_FREE = frozenset(
    {
        "feed", "fetch", "reshape2", "transpose2", "squeeze2", "unsqueeze2", "flatten_contiguous_range", "slice",
        "split", "concat", "stack", "assign", "shape", "cast", "dropout", "fill_constant", "relu", "relu6",
        "share_data", "strided_slice", "expand_v2", "tile", "gather", "index_select", "roll", "pad3d", "pad2d",
        "pixel_shuffle",
    }
)  # fmt: skip


def operator_flops(program: Program, op: Op) -> int | None:
    """Counts the operations of one run as `paddle.flops` does: one multiply-add is one operation.

    Moving and selecting values (and relu) is free, a normalization takes 2 per element, and every other operator except
    convolutions and matrix products takes 1 per output element.

    Returns:
        None if a size is dynamic or the operator names no tensor.
    """
    if op.type in _FREE:
        return 0
    outputs = [name for slot in ("Output", "Out", "Y") for name in op.outputs.get(slot, []) if name in program.vars]
    if not outputs:
        return 0
    dims = program.shape(outputs[0])
    if -1 in dims:
        return None
    elements = prod(dims)
    if op.type in _WEIGHTED:
        return elements * prod(program.shape(op.input("Filter") or "")[1:])
    if op.type in ("conv2d_transpose", "depthwise_conv2d_transpose"):
        source, weight = program.shape(op.input("Input") or ""), program.shape(op.input("Filter") or "")
        return None if -1 in source else prod(source) * prod(weight[1:])
    if op.type in ("matmul_v2", "bmm", "mul", "matmul"):
        source = program.shape(op.input("X") or "")
        inner = source[-2] if op.attr("trans_x") else source[-1]
        return None if inner < 0 else elements * inner
    if op.type in ("batch_norm", "layer_norm", "group_norm", "instance_norm"):
        return 2 * elements
    return elements


def flops(program: Program) -> int | None:
    """Counts the operations of one run of the main block; None if a size is dynamic."""
    counts = [operator_flops(program, op) for op in program.ops]
    return None if None in counts else sum(count for count in counts if count is not None)


def parameter_count(program: Program) -> int:
    """Total number of parameter elements."""
    return sum(prod(var.dims) for block in program.blocks for var in block.vars.values() if _is_param(var))


def parameter_bytes(program: Program) -> int:
    """Total size of the parameters in bytes."""
    return sum(_bytes(program, var.name) or 0 for var in program.vars.values() if _is_param(var))


def _is_param(var) -> bool:
    return var.persistable and var.is_tensor and bool(var.dtype)


def peak_activation_bytes(program: Program) -> int | None:
    """Peak memory of activations if each lives from its operator to its last reader.

    An estimate: runtimes differ in reuse, alignment and fusion, and convolutions need additional workspace.

    Returns:
        None if a size is dynamic.
    """
    last_use: dict[str, int] = {}
    for number, op in enumerate(program.ops):
        for name in (*op.input_names(), *op.output_names()):
            last_use[name] = number
    alive: dict[str, int] = {}
    peak = 0
    for number, op in enumerate(program.ops):
        for slot, names in op.outputs.items():
            for name in names:
                var = program.vars.get(name)
                if var is None or var.persistable or not var.is_tensor or not var.dtype or slot == "XShape":
                    continue
                if name not in alive:
                    size = _bytes(program, name)
                    if size is None:
                        return None
                    alive[name] = size
        peak = max(peak, sum(alive.values()))
        for name in [name for name in alive if last_use[name] <= number]:
            del alive[name]
    return peak


def _bytes(program: Program, name: str) -> int | None:
    var = program.vars[name]
    if -1 in var.dims:
        return None
    return prod(var.dims) * np.dtype("uint16" if var.dtype == "bfloat16" else var.dtype).itemsize
