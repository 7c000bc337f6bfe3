"""Finds a program's logits behind any exported head: training needs them because a mask has no gradient."""

from __future__ import annotations

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Program

_DECIDES = frozenset({"softmax", "log_softmax", "sigmoid", "arg_max", "top_k_v2"})
_PASSES = frozenset({"cast", "assign", "scale", "squeeze2", "unsqueeze2", "transpose2", "reshape2", "share_data"})


def logits_of(program: Program, output: int = 0) -> tuple[str, int]:
    """Returns the variable with the logits of an output, and its class axis.

    Args:
        program: The output is logits (batch, classes, height, width), or a softmax, sigmoid or argmax of them.
        output: Index of the output; the first is the segmentation, the others are auxiliary heads.

    Raises:
        UnsupportedModelError: The graph ends in something else, so there are no logits to train.
    """
    name = found = program.fetch_names[output]
    axis = 1
    for op in reversed(list(program.compute_ops())):  # one may write its input, as in a model that was saved twice
        if name not in op.output_names():
            continue
        if op.type not in _DECIDES | _PASSES:
            break
        source = op.input("X") or ""
        if op.type in _DECIDES:
            found = source
            axis = 1 if op.type == "sigmoid" else op.attr("axis", -1) % max(1, len(program.shape(source)))
        name = source
    if len(program.shape(found)) != 4:
        raise UnsupportedModelError(
            f"no logits to train on: {found} has the shape {list(program.shape(found))}",
            cause="training needs a map of class scores, (batch, classes, height, width)",
        )
    return found, axis
