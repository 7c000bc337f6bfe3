"""Refuses orders of steps that are wrong for every model, when a recipe is read and not after an hour of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_TRAINING = ("finetune", "qat")
_NEVER_AFTER = {
    ("prune", "qat"): "pruning takes away the weights whose ranges quantization-aware training has learned",
    ("finetune", "qat"): "fine-tuning moves the weights away from the ranges that quantization-aware training learned",
}


def fault_in(steps: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The fault of the first pair of steps in a wrong order; empty if there is none. Steps are (kind, parameters)."""
    for place, (later, _) in enumerate(steps):
        for earlier, params in steps[:place]:
            if cause := _NEVER_AFTER.get((later, earlier)):
                return f"{later!r} comes after {earlier!r}: {cause}; put it before"
            if later in _TRAINING and earlier == "set_head" and str(params.get("head", "")).startswith("argmax"):
                return f"{later!r} comes after 'set_head', whose argmax has no gradient to train with; put it before"
    return ""
