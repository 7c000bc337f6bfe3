"""Lanes of embedding fields that were made from known lanes."""

from __future__ import annotations

import numpy as np
import pytest

from segexport.clusters import lanes
from segexport.clusters.lanes import fitted, lane_pixels
from segexport.spec import Lanes

HEIGHT, WIDTH = 128, 256


def curves(count: int) -> list[np.ndarray]:
    """x of each row of each lane, from left to right at the bottom."""
    t = np.linspace(0, 1, HEIGHT)
    return [WIDTH / 2 + (feet - WIDTH / 2) * (0.25 + 0.75 * t) + 12 * (1 - t) ** 2 for feet in
            np.linspace(20, WIDTH - 20, count)]  # fmt: skip


def field(count: int, noise: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Binary mask, embedding (h, w, 4) and the number of each pixel's lane, 0 for none."""
    random = np.random.default_rng(seed)
    truth = np.zeros((HEIGHT, WIDTH), int)
    columns = np.arange(WIDTH)
    for number, curve in enumerate(curves(count), 1):
        truth[np.abs(columns[None, :] - curve[:, None]) <= 3] = number
    truth[:20] = 0  # lanes begin below the horizon
    corners = [(a, b, c, 0) for a in (-4, 4) for b in (-4, 4) for c in (-4, 4)]  # the last dimension is noise
    centres = random.permutation(np.array(corners))
    embedding = random.normal(0, 5, (HEIGHT, WIDTH, 4))
    for number in range(1, count + 1):
        inside = truth == number
        embedding[inside] = centres[number - 1] + random.normal(0, noise, (inside.sum(), 4))
    return truth > 0, embedding.astype(np.float32), truth


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_every_lane_is_found_in_its_place(count):
    binary, embedding, truth = field(count)
    rule = Lanes(closing=0)
    found = lane_pixels(binary, embedding, rule)
    np.testing.assert_array_equal(found, truth)
    for number, curve in enumerate(curves(count), 1):
        ys, xs = np.nonzero(found == number)
        points = fitted(xs, ys, rule)
        assert np.abs(points[:, 0] - curve[points[:, 1].astype(int)]).max() < 1.5
        assert points[:, 1].tolist() == [20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 127]


def test_closing_fills_holes_and_small_parts_are_dropped():
    binary, embedding, truth = field(2)
    binary[60:62, :] &= np.arange(WIDTH) % 2 == 0
    embedding[:8, :8], truth[:8, :8] = 0.1, 0
    binary[:8, :8] = True  # 64 pixels
    found = lane_pixels(binary, embedding, Lanes(min_area=100))
    assert found[:8, :8].max() == 0
    assert (found[60:62] > 0).sum() > binary[60:62].sum() * 1.3
    assert (found == truth).mean() > 0.98


def test_no_lane_no_lanes():
    found = lane_pixels(np.zeros((40, 40), bool), np.zeros((40, 40, 4), np.float32), Lanes())
    assert found.max() == 0


def test_noise_is_no_lane():
    random = np.random.default_rng(0)
    binary = np.zeros((64, 64), bool)
    binary[10:30, 10:60] = True
    embedding = random.normal(0, 1, (64, 64, 4)).astype(np.float32)
    assert lane_pixels(binary, embedding, Lanes()).max() == 0


def test_a_thousand_clusters():
    ys, xs = np.mgrid[:160, :160]
    numbers = ys // 5 * 32 + xs // 5
    embedding = np.stack([numbers % 32, numbers // 32], axis=2).astype(np.float32)
    rule = Lanes(eps=0.01, min_samples=5, closing=0)
    found = lane_pixels(np.ones((160, 160), bool), embedding, rule)
    assert found.max() == 1024
    for number in (1, 500, 1024):
        assert len(np.unique(numbers[found == number])) == 1


def test_more_pixels_than_are_clustered_exactly(monkeypatch):
    binary, embedding, truth = field(4)
    monkeypatch.setattr(lanes, "MOST_POINTS", 800)
    found = lane_pixels(binary, embedding, Lanes(closing=0))
    assert found.max() == 4
    assert (found == truth)[binary].mean() > 0.98


def test_lanes_of_one_row_and_of_two():
    across = fitted(np.array([3.0, 9, 5]), np.array([7.0, 7, 7]), Lanes())
    assert across.tolist() == [[3, 7], [9, 7]]
    two = fitted(np.array([3.0, 5]), np.array([7.0, 8]), Lanes())
    np.testing.assert_allclose(two, [[3, 7], [5, 8]], atol=1e-5)
