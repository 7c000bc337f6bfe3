"""The option `target_size`: checks it, and applies it to a model's preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np

from segexport.errors import OptionError
from segexport.spec import Preprocess, Resize

TargetSize = int | tuple[int, int] | None


def checked_size(size: TargetSize) -> TargetSize:
    """Returns the size; raises InputError if it is invalid."""
    if size is not None and not (_is_number(size) and size == -1):
        both_sides("target_size", size)
    return size


def both_sides(name: str, size: Any) -> tuple[int, int]:
    """Converts a number or a pair to (width, height); raises InputError for anything else."""
    pair = (size, size) if _is_number(size) else size
    if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_number(side) and side > 0 for side in pair)):
        also = "-1, " if name == "target_size" else ""
        raise OptionError(f"{name} is {size!r}", cause=f"it is {also}a number of pixels, or (width, height)")
    return int(pair[0]), int(pair[1])


def with_size(contract: Preprocess, size: TargetSize) -> Preprocess:
    """A model's preprocessing with its sizes replaced. None: unchanged; -1: the image's size; else both sides."""
    if size is None:
        return contract
    if size == -1:
        return contract.model_copy(update={"geometry": ()})
    width, height = both_sides("target_size", size)
    return contract.model_copy(update={"geometry": (Resize(width=width, height=height),)})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
