"""Operators that depend on no input are computed once, here, and become parameters.

Masks and position tables of transformers use operators that no exporter takes (set_value with its typed scalars is
one on which Paddle-Lite and paddle2onnx abort), and sizes taken from shapes that are known need no operator at all.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.evaluate import MAX_ELEMENTS, CannotEvaluate, evaluate
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY

_MAX_GROWTH_BYTES = 64 << 20  # folding may not blow a model up: an expanded constant can be larger than its recipe


class FoldConstants:
    """Folds as far as `evaluate` reaches; what it cannot compute stays in the program."""

    name = "fold_constants"
    version = "1"
    targets = EVERY

    def applies(self, program: Program) -> bool:
        return bool(_folded(program, only_first=True))

    def apply(self, program: Program) -> list[str]:
        values = _folded(program)
        gone = [op for op in program.ops if op.output_names() and set(_results(op)) <= set(values)]
        dead = {id(op) for op in gone}
        program.ops = [op for op in program.ops if id(op) not in dead]
        read = {name for op in program.ops for name in op.input_names()}
        for name in sorted(read & set(values)):
            dtype, value = program.dtype(name), values[name]
            program.set_param(name, value.astype(dtype) if dtype and str(value.dtype) != dtype else value)
        types = sorted({op.type for op in gone})
        return [f"{len(gone)} constant operators computed ({', '.join(types)})"]


def _results(op: Op) -> list[str]:
    return [name for slot, names in op.outputs.items() if slot != "XShape" for name in names]


def _folded(program: Program, *, only_first: bool = False) -> dict[str, np.ndarray]:
    """The value of every variable that is computed from parameters and constants alone (or of the first operator's)."""
    if len(program.blocks) > 1:  # a loop may write what looks constant
        return {}
    fetched = set(program.fetch_names)
    written: dict[str, int] = {}
    for op in program.ops:
        for name in op.output_names():
            written[name] = written.get(name, 0) + 1
    known: dict[str, np.ndarray] = {}
    grown = 0
    for op in program.ops:
        if op.type in ("feed", "fetch") or fetched.intersection(op.output_names()):
            continue
        if any(attr.type in ("VAR", "VARS") for attr in op.attrs.values()):
            continue
        if any(written[name] > 1 or name in program.params for name in op.output_names()):
            continue
        values = _constant_inputs(program, op, known)
        if values is None:
            continue
        try:
            results = evaluate(op, values)
        except CannotEvaluate:
            continue
        grown += sum(value.nbytes for value in results.values()) - sum(v.nbytes for vs in values.values() for v in vs)
        if grown > _MAX_GROWTH_BYTES:
            break
        if set(results) == set(_results(op)):
            known.update(results)
            if only_first:
                break
    return known


def _constant_inputs(program: Program, op: Op, known: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]] | None:
    if op.type in ("shape", "size"):  # of a variable whose sizes are all known, whatever its values are
        dims = program.shape(op.input("Input") or "")
        return None if not dims or -1 in dims else {"Input": [np.broadcast_to(np.float32(0), dims)]}
    if op.type == "fill_any_like":
        dims = program.shape(op.input("X") or "")
        if dims and -1 not in dims and np.prod(dims, dtype=float) <= MAX_ELEMENTS:
            return {"X": [np.broadcast_to(np.zeros((), program.dtype(op.input("X") or "")), dims)]}
    found: dict[str, list[np.ndarray]] = {}
    for slot, names in op.inputs.items():
        if names:
            read = [known.get(name, program.params.get(name)) for name in names]
            values = [value for value in read if value is not None]
            if len(values) < len(read):
                return None
            if any(program.dtype(name) == "bfloat16" for name in names):
                return None
            found[slot] = values
    return found
