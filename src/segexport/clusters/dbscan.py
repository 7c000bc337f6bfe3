"""Exact DBSCAN, for the number of points in an image's lanes."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 256  # points whose distances to all others are computed together


def dbscan(points: np.ndarray, eps: float, min_samples: int) -> np.ndarray:
    """Clusters points by density (Ester et al., KDD 1996).

    Args:
        points: (n, d) float.
        eps: Radius of a neighbourhood; distances are Euclidean.
        min_samples: Smallest number of points in the neighbourhood of a core point, including itself.

    Returns:
        (n,) int64: the cluster of each point, in the order of their first core points; -1 for noise. A point on the
        border of several belongs to the first.
    """
    count, limit = len(points), eps * eps
    labels = np.full(count, -1, np.int64)
    if count == 0:
        return labels
    points = np.asarray(points, np.float64)
    is_core = np.zeros(count, bool)
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        is_core[part] = (_squared(points[part], points) <= limit).sum(axis=1) >= min_samples
    cluster = 0
    for seed in np.flatnonzero(is_core):
        if labels[seed] >= 0:
            continue
        labels[seed] = cluster
        frontier = np.array([seed])
        while len(frontier):
            free = np.flatnonzero(labels < 0)
            reached = np.zeros(len(free), bool)
            for start in range(0, len(frontier), _AT_ONCE):
                near = _squared(points[frontier[start : start + _AT_ONCE]], points[free]) <= limit
                reached |= near.any(axis=0)
            found = free[reached]
            labels[found] = cluster
            frontier = found[is_core[found]]
        cluster += 1
    return labels


def _squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) squared distances, computed per dimension, so that equal points have distance 0 exactly."""
    total = np.zeros((len(one), len(other)))
    for axis in range(one.shape[1]):
        difference = one[:, axis, None] - other[None, :, axis]
        total += difference * difference
    return total
