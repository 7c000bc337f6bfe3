"""Rewrites batch normalizations behind convolutions whose filter is computed as a product and a sum, for Paddle-Lite.

Its Opt multiplies the normalization into the filter, also into one that an operator computes and that has no values
yet: the results were silently wrong.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE, OpBuilder, count

_FILTERED = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "depthwise_conv2d_transpose")
_STATISTICS = ("Scale", "Bias", "Mean", "Variance")


class BatchNormApart:
    """Rewrites normalizations of images whose statistics are parameters; filters rounded for int8 stay."""

    name = "batch_norm_apart"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return bool(_behind_computed_filters(program))

    def apply(self, program: Program) -> list[str]:
        found = _behind_computed_filters(program)
        for op in found:
            _change(program, op)
        return [f"{count(len(found), 'batch_norm')} behind a computed filter written as a product and a sum"]


def _behind_computed_filters(program: Program) -> list[Op]:
    makers = program.producers()

    def is_behind(op: Op) -> bool:
        filtered = makers.get(op.input("X") or "")
        if filtered is None or filtered.type not in _FILTERED:
            return False
        maker = makers.get(filtered.input("Filter") or "")
        return maker is not None and "quantize" not in maker.type

    return [
        op
        for op in program.ops
        if op.type == "batch_norm"
        and op.attr("data_layout", "NCHW") == "NCHW"
        and len(program.shape(op.input("X") or "")) == 4
        and all((op.input(slot) or "") in program.params for slot in _STATISTICS)
        and is_behind(op)
    ]


def _change(program: Program, op: Op) -> None:
    x, out = op.input("X") or "", op.output("Y") or ""
    scale, shift, mean, variance = (program.params[op.input(slot) or ""].astype(np.float64) for slot in _STATISTICS)
    factor = scale / np.sqrt(variance + op.attr("epsilon", 1e-5))
    build, dims = OpBuilder(program, f"{out}.part"), program.shape(out)
    factors, shifts = (
        build.param(value.astype(np.float32).reshape(1, -1, 1, 1)) for value in (factor, shift - mean * factor)
    )
    product = build.binary("elementwise_mul", x, factors, dims)
    build.add("elementwise_add", {"X": product, "Y": shifts}, dims, out=out, axis=-1)
    program.replace(op, *build.ops)
