"""Computes operators that depend on no input and replaces them by parameters.

Masks and position tables of transformers use operators that no converter supports (Paddle-Lite and paddle2onnx abort on
set_value with typed scalars), and sizes taken from known shapes need no operator.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.evaluate import MAX_ELEMENTS, CannotEvaluate, evaluate
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY

_MAX_GROWTH_BYTES = 64 << 20  # an expanded constant can be much larger than the operators that compute it


class FoldConstants:
    """Folds every operator that `evaluate` can compute; the others stay in the program."""

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
    """Returns the value of each variable computed only from constants (or of the first operator's outputs)."""
    if len(program.blocks) > 1:  # a loop may write a variable that looks constant
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
    if op.type in ("shape", "size"):  # depends only on the sizes, which are all known
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
