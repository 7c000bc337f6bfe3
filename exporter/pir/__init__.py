"""Translates Paddle 3's `.json` programs to legacy programs, so that Paddle 3 is not needed.

The graph is translated operator by operator (`translate`, by the table in `rules` and the functions in `custom_rules`).
The `.pdiparams` file equals the legacy format byte for byte: the parameters in the order of their names.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from segexport.errors import UnsupportedModelError
from segexport.exporter.pir.file import KNOWN_VERSION, PirGraph, PirOp, read_json
from segexport.exporter.pir.translate import rule_name, translate
from segexport.exporter.pir.translation import HINT
from segexport.exporter.program import Program
from segexport.exporter.program_reader import read_params
from segexport.files.foreign import guarded

__all__ = ["read_graph", "read_program"]

# Their names end in `_`, but they do not overwrite an operand that another operator may read.
_NOT_IN_PLACE = frozenset({"batch_norm_", "sync_batch_norm_", "assign_value_", "assign_out_", "share_data_"})


@guarded("a program of Paddle 3")
def read_program(model: Path, params: Path) -> Program:
    """Reads a program of Paddle 3 and its parameters as a legacy program, and verifies it.

    Args:
        model: The `.json` file.
        params: The `.pdiparams` file.

    Raises:
        InputError: A file is missing, damaged or swapped, or the two are of different programs.
        UnsupportedModelError: Operators have no legacy form; the message names them and their layers.
    """
    program = _translate(model)
    program.params = read_params(Path(params), program)
    return _finished(program, model)


@guarded("a program of Paddle 3")
def read_graph(model: Path) -> Program:
    """Reads the program like `read_program`, without the parameters' values (`params` is empty)."""
    return _finished(_translate(model), model)


def _translate(model: Path) -> Program:
    graph = read_json(Path(model))
    _refuse_unknown(graph, model)
    _refuse_overwritten(graph, model)
    return translate(graph, str(model))


def _finished(program: Program, model: Path) -> Program:
    program.prune()  # removes constants that became attributes
    program.verify(str(model))
    return program


def _refuse_unknown(graph: PirGraph, model: Path) -> None:
    unknown = [op for op in graph.ops if op.has_regions or rule_name(op) is None]
    if not unknown:
        return
    counts, first = Counter(op.full_name for op in unknown), {}
    for op in unknown:
        first.setdefault(op.full_name, op)
    named = [f"{name} ({count}x, layer {first[name].path})" for name, count in counts.items()]
    cause, hint = "the exporters read legacy programs, and segexport lists no legacy operator for it", HINT
    if any(op.has_regions for op in unknown):
        cause = "it contains loops or branches that depend on values; the exporters take programs without them only"
        hint = "write the network without them, then export it again; a fixed input size often removes them"
    if graph.version > KNOWN_VERSION:
        cause += f"; the file is of format {graph.version}, newer than {KNOWN_VERSION}, the last one supported"
    raise UnsupportedModelError(f"{model}: cannot be translated: {', '.join(named[:12])}", cause=cause, hint=hint)


def _refuse_overwritten(graph: PirGraph, model: Path) -> None:
    """Refuses a program that reads what an in-place operator (`relu_`) overwrote; its translation keeps both."""
    overwritten: dict[int, PirOp] = {}
    for op in graph.ops:
        for operand in op.operands:
            if operand in overwritten:
                raise UnsupportedModelError(
                    f"{model}: {op} cannot be translated",
                    cause=f"it reads a value that {overwritten[operand]} has overwritten",
                    hint=HINT,
                )
        if op.name.endswith("_") and op.name not in _NOT_IN_PLACE and any(op.operands[:1]):
            overwritten[op.operands[0]] = op
