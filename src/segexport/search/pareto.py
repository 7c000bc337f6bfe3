"""Computes the Pareto front."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence


def front(values: Mapping[Hashable, Sequence[float]]) -> list[Hashable]:
    """Returns the non-dominated names (smaller values are better, the same number of values for each).

    Sorted by the first value. Keeps all names with equal values.
    """

    def dominated(own: Sequence[float], other: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(other, own, strict=True)) and tuple(other) != tuple(own)

    kept = [name for name, own in values.items() if not any(dominated(own, other) for other in values.values())]
    return sorted(kept, key=lambda name: tuple(values[name]))
