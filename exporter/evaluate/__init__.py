"""Computes operators on constant inputs with NumPy, as Paddle computes them.

Covers operators that do not depend on the image: masks and position tables of transformers, sizes from shapes, resized
position embeddings. An operator without a rule stays in the program. Each family of rules has a module: `constants`,
`shape_ops`, `math_ops`, `norms`.
"""

from __future__ import annotations

import numpy as np

from segexport.exporter.evaluate.constants import RULES as CONSTANTS
from segexport.exporter.evaluate.math_ops import RULES as COMPUTATION
from segexport.exporter.evaluate.norms import RULES as NORMS
from segexport.exporter.evaluate.rule import MAX_ELEMENTS, Inputs
from segexport.exporter.evaluate.shape_ops import RULES as ARRANGEMENT
from segexport.exporter.program import Op

__all__ = ["MAX_ELEMENTS", "CannotEvaluate", "can_evaluate", "evaluate"]

_RULES = {**CONSTANTS, **ARRANGEMENT, **COMPUTATION, **NORMS}


class CannotEvaluate(Exception):
    """The operator, or this form of it, has no rule."""


def evaluate(op: Op, inputs: Inputs) -> dict[str, np.ndarray]:
    """Returns the values of an operator's outputs, by variable name, without XShape.

    Args:
        op: The operator.
        inputs: Slot -> arrays, in the slot's order; empty slots may be left out.

    Raises:
        CannotEvaluate: There is no rule, or the inputs do not match the rule.
    """
    rule = _RULES.get(op.type)
    if rule is None:
        raise CannotEvaluate(op.type)
    try:
        with np.errstate(all="ignore"):
            result = rule(op, inputs)
    except (KeyError, IndexError, ValueError, TypeError, OverflowError, ZeroDivisionError, AttributeError) as error:
        raise CannotEvaluate(f"{op.type}: {error}") from error
    names = next(names for slot, names in op.outputs.items() if slot in ("Out", "Y", "Output", "Result") and names)
    values = result if isinstance(result, list) else [result]
    if len(values) != len(names):
        raise CannotEvaluate(f"{op.type}: {len(values)} results for {len(names)} outputs")
    return dict(zip(names, values, strict=True))


def can_evaluate(op: Op) -> bool:
    """Whether there is a rule for this type of operator."""
    return op.type in _RULES
