"""What a label map may say: which class of the data a class of the model is."""

from __future__ import annotations

from typing import Any


def as_label_map(value: Any) -> dict[str, str]:
    """A map as YAML gives it, in which ids are numbers, as text.

    Raises:
        ValueError: Not a table of names and ids.
    """
    plain = isinstance(value, dict) and all(
        isinstance(one, str | int) and not isinstance(one, bool) for pair in value.items() for one in pair
    )
    if not plain:
        raise ValueError("it has to be `class of the model: class of the data` lines, by name or by id")
    return {str(one): str(other) for one, other in value.items()}
