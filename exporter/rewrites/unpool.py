"""Rewrites max unpooling as arithmetic: no converter supports unpool.

The indices come from max pooling over non-overlapping windows, so each value returns to its own window. The rewrite
slices the window's positions out of the pooled tensor; the first position that equals the maximum (Paddle's rule for
ties) gets the value, the others get 0, and pixel_shuffle interleaves the positions again. For dynamic height or width,
which one reshape cannot express twice, it merges rows first and columns second.

An export with dynamic size has an `output_size` that Paddle computed from -1, and Paddle cannot run it; the rewrite
uses the size of the pooled image.
"""

from __future__ import annotations

from segexport.exporter.program import Attr, Op, Program
from segexport.exporter.rewrites.base import EVERY, binary, count, reshape, transpose
from segexport.exporter.rewrites.pool_indices import drop_indices
from segexport.exporter.rewrites.size_origin import size_origin

_END = 2**31 - 1


class UnpoolToArithmetic:
    """Rewrites every unpool whose indices come from a max_pool2d_with_index with square, adjacent windows."""

    name = "unpool_to_arithmetic"
    version = "3"
    targets = EVERY

    def applies(self, program: Program) -> bool:
        producers = program.producers()
        return any(_pool_of(program, op, producers) is not None for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        producers = program.producers()
        changed = [(op, pool) for op in program.ops if (pool := _pool_of(program, op, producers)) is not None]
        for op, pool in changed:
            program.replace(op, *_scattered(program, op, pool))
        readers = program.consumers()
        for _, pool in changed:
            if pool.type == "max_pool2d_with_index" and not readers.get(pool.output("Mask") or ""):
                drop_indices(pool)
        return [f"{count(len(changed), 'unpool')} written as comparisons and pixel_shuffle"]


def _pool_of(program: Program, op: Op, producers: dict[str, Op]) -> Op | None:
    """Returns the pooling that an unpool inverts; None if it is not of the kind described above."""
    pool = producers.get(op.input("Indices") or "") if op.type == "unpool" else None
    if pool is None or pool.type != "max_pool2d_with_index":
        return None
    window, source = list(pool.attr("ksize", [])), program.shape(pool.input("X") or "")
    adjoining = window == list(pool.attr("strides", [])) and not any(pool.attr("paddings", [0, 0]))
    square = len(window) == 2 and window[0] == window[1]
    same = list(op.attr("ksize", [])) == window and program.shape(op.output("Out") or "")[1:] == source[1:]
    known = len(source) == 4 and source[1] > 0 and all(size == -1 or size % window[0] == 0 for size in source[2:])
    if -1 in source[2:]:
        same = list(op.attr("ksize", [])) == window
        same = same and (has_free_size(op) or _has_size_of(program, op, pool.input("X") or "", producers))
    plain = not pool.attr("adaptive") and not pool.attr("global_pooling")
    return pool if adjoining and square and same and known and plain else None


def has_free_size(op: Op) -> bool:
    """Whether an unpool comes from an export with dynamic size, which Paddle cannot run."""
    if op.type != "unpool":
        return False
    sizes = op.attr("output_size", [])
    return all(isinstance(size, int) and size <= 0 for size in sizes)  # else names of tensors


def _has_size_of(program: Program, op: Op, source: str, producers: dict[str, Op]) -> bool:
    """Whether an unpool takes its size, as tensors, from `source` or from an image that surely has the same size."""
    found, origin = [], size_origin(program, source, producers)
    for name in op.attr("output_size", []):
        part = producers.get(name) if isinstance(name, str) else None
        shape = producers.get(part.input("Input") or "") if part is not None and part.type == "slice" else None
        if part is None or shape is None or shape.type != "shape":
            return False
        if size_origin(program, shape.input("Input") or "", producers) != origin:
            return False
        found.append((list(part.attr("axes", [])), list(part.attr("starts", [])), list(part.attr("ends", []))))
    return found == [([0], [2], [3]), ([0], [3], [4])]


def _scattered(program: Program, op: Op, pool: Op) -> list[Op]:
    values, result = op.input("X") or "", op.output("Out") or ""
    source, maximum = pool.input("X") or "", pool.output("Out") or ""
    side = pool.attr("ksize")[0]
    dims, dtype = program.shape(values), program.dtype(values)
    ops: list[Op] = []

    def add(made: tuple[str, Op]) -> str:
        ops.append(made[1])
        return made[0]

    placed, free = [], ""  # free: 1 where no earlier position of the window has the maximum
    for index in range(side * side):
        if index < side * side - 1:
            part = add(_every(program, source, divmod(index, side), side, dims))
            hit = add(_as_float(program, add(binary(program, "equal", part, maximum, dims, "bool")), dims, dtype))
            chosen = add(binary(program, "elementwise_mul", hit, free, dims)) if free else hit
            placed.append(add(binary(program, "elementwise_mul", values, chosen, dims)))
            free = add(
                binary(program, "elementwise_sub", free, chosen, dims) if free else _one_minus(program, hit, dims)
            )
        else:
            placed.append(add(binary(program, "elementwise_mul", values, free, dims)))
    batch, channels, height, width = dims
    stacked = program.add_var(f"{result}.stacked", (batch, channels, side * side, height, width), dtype)
    ops.append(Op("stack", {"X": placed}, {"Y": [stacked]}, {"axis": Attr("INT", 2)}))
    merged = (batch, channels * side * side, height, width)
    if -1 in (height, width):
        ops += _merged_rows_first(program, stacked, merged, side, result)
        return ops
    shuffled, merge = reshape(program, stacked, merged)
    merge.set_attr("shape", [0, *merged[1:]])
    return [*ops, merge, _shuffle(shuffled, result, side)]


def _merged_rows_first(program: Program, stacked: str, merged: tuple[int, ...], side: int, result: str) -> list[Op]:
    """Merges the positions for dynamic height or width: 0 keeps the height, -1 infers the width."""
    batch, channels, height, width = merged
    turned, turn = transpose(program, stacked, [0, 3, 1, 2, 4])
    rows, merge = reshape(program, turned, (batch, height, channels, width))
    merge.set_attr("shape", [0, 0, channels, -1])
    back, turn_back = transpose(program, rows, [0, 2, 1, 3])
    return [turn, merge, turn_back, _shuffle(back, result, side)]


def _shuffle(source: str, result: str, side: int) -> Op:
    shuffle = Op("pixel_shuffle", {"X": [source]}, {"Out": [result]})
    shuffle.set_attr("upscale_factor", side)
    shuffle.set_attr("data_format", "NCHW")
    return shuffle


def _every(program: Program, source: str, start: tuple[int, int], step: int, dims: tuple[int, ...]) -> tuple[str, Op]:
    part = program.add_var(f"{source}.part", dims, program.dtype(source))
    op = Op("strided_slice", {"Input": [source]}, {"Out": [part]})
    for name, value in (("axes", [2, 3]), ("starts", list(start)), ("ends", [_END, _END]), ("strides", [step, step])):
        op.set_attr(name, value)
    op.set_attr("infer_flags", [1, 1])
    op.set_attr("decrease_axis", [], "INTS")
    return part, op


def _as_float(program: Program, source: str, dims: tuple[int, ...], dtype: str) -> tuple[str, Op]:
    result = program.add_var(f"{source}.number", dims, dtype)
    return result, Op(
        "cast", {"X": [source]}, {"Out": [result]}, {"in_dtype": Attr("INT", 0), "out_dtype": Attr("INT", 5)}
    )


def _one_minus(program: Program, source: str, dims: tuple[int, ...]) -> tuple[str, Op]:
    result = program.add_var(f"{source}.rest", dims, program.dtype(source))
    op = Op("scale", {"X": [source]}, {"Out": [result]})
    for name, value in (("scale", -1.0), ("bias", 1.0), ("bias_after_scale", True)):
        op.set_attr(name, value)
    return result, op
