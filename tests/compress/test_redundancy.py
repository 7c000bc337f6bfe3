"""What a channel adds to the others: worked out by hand, and on a network whose redundant channel is known."""

from __future__ import annotations

import numpy as np
import programs
import pytest
from paddle import nn

from segexport.compress.batches import Batch
from segexport.compress.channel_analysis import analyze
from segexport.compress.redundancy import _pooled, redundancy, unexplained
from segexport.errors import InputError


def images(count: int, channels: int = 3, size: int = 8) -> list[Batch]:
    random = np.random.default_rng(5)
    return [Batch(random.standard_normal((1, channels, size, size)).astype(np.float32), None) for _ in range(count)]


def test_a_copy_goes_first_and_its_twin_is_then_unique():
    covariance = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    scores = unexplained(covariance)
    assert scores[0] < 0.01  # the ridge of 0.001 keeps it from 0
    assert scores[1:] == pytest.approx(1, abs=0.01)


def test_a_sum_of_two_others_is_redundant_though_no_pair_is_alike():
    """c = a + b: correlations are 0.7 with either, but both explain it; afterwards nothing explains a or b."""
    maps = np.random.default_rng(0).standard_normal((2, 1000))
    covariance = np.cov(np.vstack([maps, maps.sum(0)]))
    scores = unexplained(covariance)
    assert scores.min() < 0.01
    assert np.sort(scores)[1:].min() > 0.4


def test_a_constant_channel_is_explained_by_a_bias():
    assert unexplained(np.diag([1.0, 0.0, 2.0])).argmin() == 1


def test_scores_increase_in_the_order_of_removal():
    maps = np.random.default_rng(1).standard_normal((6, 40))
    scores = unexplained(np.cov(np.vstack([maps, maps])))
    assert len(set(scores.tolist())) == 12


def test_a_filter_written_twice_is_found(tmp_path):
    first, last = nn.Conv2D(3, 6, 3, padding=1), nn.Conv2D(6, 2, 1)
    weights, biases = first.weight.numpy(), first.bias.numpy()
    weights[4], biases[4] = -2 * weights[1], 3.0  # the same map, scaled, with another sign and bias
    first.weight.set_value(weights)
    first.bias.set_value(biases)
    graph = analyze(programs.export(nn.Sequential(first, last), tmp_path, [1, 3, 8, 8]))
    (scores,) = redundancy(graph, images(4))
    assert scores.argmin() in (1, 4)
    assert np.sort(scores)[1] > 10 * scores.min()


def test_every_reader_counts_and_every_group_has_scores(segmenter):
    graph = analyze(segmenter)
    found = redundancy(graph, images(2, size=32))
    assert [len(scores) for scores in found] == [len(group.units) for group in graph.groups]
    assert all(np.isfinite(scores).all() and (scores >= 0).all() for scores in found)


def test_maps_are_pooled_to_a_grid():
    values = np.arange(2 * 40 * 20, dtype=np.float32).reshape(1, 2, 40, 20)
    pooled = _pooled(values, 1)
    assert pooled.shape == (2, 256)
    np.testing.assert_allclose(pooled[0, 0], values[0, 0, :2, :1].mean())
    assert _pooled(values.reshape(1, 800, 2), 2).shape == (2, 256)
    assert _pooled(values[:, :, :3, :4], 1).shape == (2, 12)


def test_no_images_are_an_error(segmenter):
    with pytest.raises(InputError, match="no images"):
        redundancy(analyze(segmenter), [])
