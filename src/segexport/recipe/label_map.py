"""Reads label maps: class of the model -> class of the data."""

from __future__ import annotations

from typing import Any


def as_label_map(value: Any) -> dict[str, str]:
    """Converts a map from YAML, in which ids are numbers, to text.

    Raises:
        ValueError: The value is not a table of names and ids.
    """
    plain = isinstance(value, dict) and all(
        isinstance(one, str | int) and not isinstance(one, bool) for pair in value.items() for one in pair
    )
    if not plain:
        raise ValueError("it has to be `class of the model: class of the data` lines, by name or by id")
    return {str(one): str(other) for one, other in value.items()}
