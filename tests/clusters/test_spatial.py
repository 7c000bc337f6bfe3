"""Instances of offset fields that were made from known instances, and against the published loop written out."""

from __future__ import annotations

import numpy as np
import pytest

from segexport.clusters import spatial
from segexport.clusters.spatial import instances
from segexport.errors import InputError
from segexport.spec import SpatialEmbedding

RULE = SpatialEmbedding(min_pixels=30, unit_px=(100, 100))


def discs(centres: list[tuple[int, int]], radius: float = 9, shape=(64, 96)) -> list[np.ndarray]:
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    return [(xs - x) ** 2 + (ys - y) ** 2 <= radius**2 for x, y in centres]


def fields(masks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seeds, offsets and bandwidths: each pixel points exactly to its centre, where the seed is highest."""
    shape = masks[0].shape
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    seeds, offsets = np.full(shape, 0.02), np.zeros((2, *shape))
    for mask in masks:
        x, y = xs[mask].mean(), ys[mask].mean()
        distance = np.hypot(xs[mask] - x, ys[mask] - y)
        seeds[mask] = 0.99 - 0.02 * distance / distance.max()
        offsets[0][mask], offsets[1][mask] = (x - xs[mask]) / 100, (y - ys[mask]) / 100
    return seeds, offsets, np.full((2, *shape), 2000.0)


def published(seeds, offsets, bandwidths, rule) -> list[tuple[np.ndarray, float]]:
    """The loop of the published post-processing, without any shortcut."""
    height, width = seeds.shape
    ys, xs = np.mgrid[:height, :width]
    embedding = offsets + np.stack([xs / rule.unit_px[0], ys / rule.unit_px[1]])
    mask = seeds > 0.5
    found = []
    if mask.sum() <= rule.min_pixels:
        return found
    points, score = embedding[:, mask], seeds[mask]
    factor = np.broadcast_to(bandwidths, (2, height, width))[:, mask]
    free = np.ones(len(score))
    while free.sum() > rule.min_pixels:
        seed = (score * free).argmax()
        if score[seed] * free[seed] < rule.threshold:
            break
        free[seed] = 0
        inside = np.exp(-((points - points[:, seed, None]) ** 2 * factor[:, seed, None]).sum(axis=0)) > 0.5
        if inside.sum() > rule.min_pixels and free[inside].sum() / inside.sum() > 0.5:
            whole = np.zeros((height, width), bool)
            whole[mask] = inside
            found.append((whole, score[seed]))
        free[inside] = 0
    return found


def test_instances_that_touch_are_told_apart():
    masks = discs([(20, 20), (38, 20), (70, 40), (70, 22)])
    masks[1] &= ~masks[0]
    masks[3] &= ~masks[2]
    found = instances(*fields(masks), RULE)
    assert len(found) == 4
    for mask in masks:
        assert any((mask == one).all() for one, _ in found)
    assert all(0.98 < score < 1 for _, score in found)


@pytest.mark.parametrize("bandwidths", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_is_the_published_loop(seed, bandwidths):
    random = np.random.default_rng(seed)
    seeds, offsets, _ = fields(discs([(20, 20), (50, 30), (80, 40), (34, 44)], radius=12))
    seeds = np.clip(seeds + random.normal(0, 0.2, seeds.shape), 0, 1)
    offsets = offsets + random.normal(0, 0.01, offsets.shape)
    factors = random.uniform(300, 4000, (bandwidths, *seeds.shape))
    rule = RULE.model_copy(update={"threshold": 0.8, "min_pixels": 12})
    found, expected = instances(seeds, offsets, factors, rule), published(seeds, offsets, factors, rule)
    assert len(found) == len(expected) > 2
    for (mask, score), (other, expected_score) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mask, other)
        assert score == expected_score


def test_nothing_is_found_where_there_is_nothing():
    seeds, offsets, factors = fields(discs([(20, 20)]))
    assert instances(seeds * 0.4, offsets, factors, RULE) == []
    assert instances(seeds, offsets, factors, RULE.model_copy(update={"min_pixels": 400})) == []
    assert instances(seeds, offsets, factors, RULE.model_copy(update={"threshold": 0.999})) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_numbers_that_are_none_are_an_error(value):
    seeds, offsets, factors = fields(discs([(20, 20)]))
    factors[0, 20, 20] = value
    with pytest.raises(InputError, match=r"street\.png: the model's embeddings hold NaN, infinity or a bandwidth"):
        instances(seeds, offsets, factors, RULE, "street.png")
    seeds[:] = np.nan  # no foreground at all
    assert instances(seeds, offsets, factors, RULE) == []


def test_every_pixel_a_centre_of_its_own_ends():
    """Ten thousand seeds whose Gaussians hold one pixel each."""
    seeds = np.full((100, 100), 0.97)
    found = instances(seeds, np.zeros((2, 100, 100)), np.full((2, 100, 100), 1e9), RULE)
    assert found == []


def test_seeds_that_form_no_clusters_are_an_error(monkeypatch):
    monkeypatch.setattr(spatial, "_MOST_COMPARISONS", 10_000)
    offsets = np.zeros((2, 100, 100))
    offsets[0] = -np.arange(100) / 100  # all in one column of the embedding
    factors = np.stack([np.full((100, 100), 1e-6), np.full((100, 100), 1e9)])
    with pytest.raises(InputError, match="the model's seeds form no clusters"):
        instances(np.full((100, 100), 0.97), offsets, factors, SpatialEmbedding(min_pixels=200, unit_px=(100, 100)))
