"""The points that no other beats in everything."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence


def front(values: Mapping[Hashable, Sequence[float]]) -> list[Hashable]:
    """The names whose values (smaller is better, equally many for each) no other name's are all at most, one less.

    They come sorted by the first value. Of equal ones all stay.
    """

    def dominated(own: Sequence[float], other: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(other, own, strict=True)) and tuple(other) != tuple(own)

    kept = [name for name, own in values.items() if not any(dominated(own, other) for other in values.values())]
    return sorted(kept, key=lambda name: tuple(values[name]))
