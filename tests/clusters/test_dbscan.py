"""DBSCAN against scikit-learn's, point by point."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from segexport.clusters.dbscan import dbscan


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("eps", "min_samples"), [(0.2, 3), (0.4, 12), (1.0, 40), (5.0, 2)])
def test_is_scikit_learns(seed, eps, min_samples):
    random = np.random.default_rng(seed)
    centres = random.normal(0, 3, (6, 2 + seed % 3))
    points = np.concatenate([centre + random.normal(0, 0.4, (110, centres.shape[1])) for centre in centres])
    points = random.permutation(np.concatenate([points, random.uniform(-6, 6, (60, centres.shape[1]))]))
    expected = DBSCAN(eps=eps, min_samples=min_samples).fit(points).labels_
    np.testing.assert_array_equal(dbscan(points, eps, min_samples), expected)


def test_a_long_chain_is_one_cluster():
    """Clusters are followed from neighbour to neighbour, and not by their distance to the first point."""
    points = np.stack([np.arange(900) * 0.09, np.zeros(900)], axis=1)
    assert (dbscan(points, 0.1, 2) == 0).all()


@pytest.mark.parametrize("points", [np.zeros((0, 4)), np.zeros((3, 4)), np.arange(8.0).reshape(4, 2) * 9])
def test_too_few_points_are_noise(points):
    assert (dbscan(points, 0.4, 5) == -1).all()


def test_equal_points_are_one_cluster():
    assert (dbscan(np.full((2000, 3), 0.1), 1e-9, 2000) == 0).all()
