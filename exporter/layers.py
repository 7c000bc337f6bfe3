"""Finds the network layer that an operator belongs to, if the export records it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from segexport.exporter.graph import Op
from segexport.exporter.program import Program

_TENSOR = ".tmp_"  # in Paddle's names of operator outputs
LAYER_PATH = "op_namescope"  # attribute with the path of the operator's layer


def layer_path(op: Op) -> str:
    """Returns the path of an operator's layer, `/` if unknown; files of Paddle 3 record it."""
    return op.attr(LAYER_PATH, "/")


def layer_of(
    program: Program, op: Op, parameters: Collection[str] | None = None, producers: Mapping[str, Op] | None = None
) -> str:
    """Returns a name for an operator that the network's author recognizes.

    Args:
        program: The operator's program.
        op: The operator.
        parameters: Parameter names that the author knows; by default the program's.
        producers: `program.producers()`, for callers that ask for many operators.

    Returns:
        The path of its layer; for older exports the nearest parameter (its own, else a preceding one); without one, the
        tensor that it writes.
    """
    path = layer_path(op)
    if path.strip("/"):
        return path
    # Constants from rewrites keep the names of the tensors that they replace, which name no layer.
    known = {name for name in (program.params if parameters is None else parameters) if _TENSOR not in name}
    own = next((name for name in op.input_names() if name in known), "")
    before = own or _parameter_before(program.producers() if producers is None else producers, op, known)
    return own or (f"behind {before}" if before else next(iter(op.output_names()), ""))


def _parameter_before(producers: Mapping[str, Op], op: Op, known: Collection[str]) -> str:
    seen, waiting = set(), list(op.input_names())
    while waiting:
        name = waiting.pop(0)
        maker = producers.get(name)
        if name in seen or maker is None or maker.type == "feed":
            continue
        seen.add(name)
        found = next((source for source in maker.input_names() if source in known), "")
        if found:
            return found
        waiting += maker.input_names()
    return ""
