"""Rewrites einsum of two operands as one matrix product, of one as a sum; no converter supports einsum.

Letters fall into four groups: in both operands and the result (batch), in both operands only (contracted), and in one
operand and the result (rows of the one, columns of the other). Each operand is brought into [batch, rows, contracted]
or [batch, contracted, columns]; axes of size 1 move for free, and a batch of 1 is dropped, because Paddle-Lite's x86
kernel does not broadcast it.
"""

from __future__ import annotations

from math import prod

from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY, EachOperator, OpBuilder, count, matmul, reshape, transpose


class EinsumToMatmul:
    """Rewrites every einsum of two operands with known sizes and no repeated letters within an operand."""

    name = "einsum_to_matmul"
    version = "1"
    targets = EVERY

    def applies(self, program: Program) -> bool:
        return any(_plan(program, op) is not None for op in program.ops)

    def apply(self, program: Program) -> list[str]:
        changed: dict[str, int] = {}
        for op in list(program.ops):
            plan = _plan(program, op)
            if plan is not None:
                program.replace(op, *_as_matmul(program, op, plan))
                equation = op.attr("equation")
                changed[equation] = changed.get(equation, 0) + 1
        return [f"{count(number, f'einsum {equation}')} written as matmul_v2" for equation, number in changed.items()]


class EinsumOfOneOperand(EachOperator):
    """Sums over the letters that the result lacks, and transposes the others."""

    name = "einsum_to_sum"
    version = "1"
    targets = EVERY
    what = "einsum"
    became = "of one operand written as a sum"

    def takes(self, program: Program, op: Op) -> bool:
        if op.type != "einsum" or len(op.inputs.get("Operands", [])) != 1:
            return False
        given, arrow, out = op.attr("equation", "").replace(" ", "").partition("->")
        is_plain = (given + out).isalpha() and len(set(given)) == len(given) and len(set(out)) == len(out)
        return bool(arrow and out) and is_plain and set(out) < set(given)

    def change(self, program: Program, op: Op) -> None:
        x, out = op.inputs["Operands"][0], op.output("Out") or ""
        given, _, wanted = op.attr("equation", "").replace(" ", "").partition("->")
        dims, dtype, build = program.shape(x), program.dtype(x), OpBuilder(program, f"{out}.sum")
        left = [letter for letter in given if letter in wanted]
        sizes = tuple(dims[given.index(letter)] for letter in left)
        attrs = {"dim": [given.index(letter) for letter in given if letter not in wanted], "keep_dim": False}
        attrs |= {"reduce_all": False, "in_dtype": -1, "out_dtype": -1}
        in_order = left == list(wanted)
        total = build.add("reduce_sum", {"X": x}, sizes, dtype, out=out if in_order else None, **attrs)
        if not in_order:
            build.ops.append(transpose(program, total, [left.index(letter) for letter in wanted], out)[1])
        program.replace(op, *build.ops)


def _plan(program: Program, op: Op) -> tuple[str, str, str, dict[str, int]] | None:
    """Returns the letters of both operands and the result, and each letter's size; None for other einsums."""
    if op.type != "einsum" or len(op.inputs.get("Operands", [])) != 2:
        return None
    equation = op.attr("equation", "").replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != 2 or "." in equation:
        return None
    a, b = terms
    if any(len(set(term)) != len(term) for term in (a, b, out)) or not set(out) <= set(a + b):
        return None
    if (set(a) ^ set(b)) - set(out):  # a letter is summed within one operand
        return None
    sizes: dict[str, int] = {}
    for term, name in zip((a, b), op.inputs["Operands"], strict=True):
        dims = program.shape(name)
        if (
            len(dims) != len(term)
            or -1 in dims
            or any(sizes.setdefault(*pair) != pair[1] for pair in zip(term, dims, strict=True))
        ):
            return None
    return a, b, out, sizes


def _as_matmul(program: Program, op: Op, plan: tuple[str, str, str, dict[str, int]]) -> list[Op]:
    a, b, out, sizes = plan
    shared = [letter for letter in a if letter in b]
    batch = [letter for letter in shared if letter in out]
    summed = [letter for letter in shared if letter not in out]
    rows = [letter for letter in a if letter not in b]
    columns = [letter for letter in b if letter not in a]

    def size(letters: list[str]) -> int:
        return prod(sizes[letter] for letter in letters)

    lead = (size(batch),) if size(batch) != 1 else ()
    ops: list[Op] = []
    x = _arranged(
        program, op.inputs["Operands"][0], a, batch + rows + summed, sizes, (*lead, size(rows), size(summed)), ops
    )
    y = _arranged(
        program, op.inputs["Operands"][1], b, batch + summed + columns, sizes, (*lead, size(summed), size(columns)), ops
    )
    product, multiply = matmul(program, x, y, (*lead, size(rows), size(columns)))
    ops.append(multiply)
    result = op.output("Out") or ""
    made = batch + rows + columns
    if _same_order(made, list(out), sizes):
        ops.append(reshape(program, product, program.shape(result), out=result)[1])
    else:
        full, unfold = reshape(program, product, [sizes[letter] for letter in made])
        ops += [unfold, transpose(program, full, [made.index(letter) for letter in out], out=result)[1]]
    return ops


def _arranged(
    program: Program,
    name: str,
    letters: str,
    order: list[str],
    sizes: dict[str, int],
    dims: tuple[int, ...],
    ops: list[Op],
) -> str:
    if not _same_order(list(letters), order, sizes):
        name, op = transpose(program, name, [letters.index(letter) for letter in order])
        ops.append(op)
    if program.shape(name) != dims:
        name, op = reshape(program, name, dims)
        ops.append(op)
    return name


def _same_order(before: list[str], after: list[str], sizes: dict[str, int]) -> bool:
    """Whether the axes larger than 1 have the same order."""
    return [letter for letter in before if sizes[letter] != 1] == [letter for letter in after if sizes[letter] != 1]
