"""The smoother against the published rule, pixel by pixel, and on videos with a truth."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from segexport.errors import InputError
from segexport.video import smoother
from segexport.video.flow import BlockFlow, DisFlow
from segexport.video.smoother import VideoSmoother


class Given:
    """A flow that is given: forward at the first call, backward at the second."""

    def __init__(self, *flows: np.ndarray) -> None:
        self.flows, self.calls = flows, 0

    def __call__(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        self.calls += 1
        return self.flows[(self.calls - 1) % 2]


def rounded(value: float) -> int:
    return math.floor(value + 0.5) if value >= 0 else -math.floor(-value + 0.5)


def by_pixel(before: np.ndarray, scores: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """The published rule, one pixel after the other, without the Gaussian."""
    height, width = scores.shape
    tracked, weights, fused = {}, {}, scores.copy()
    for y in range(height):
        for x in range(width):
            dx, dy = rounded(forward[y, x, 0]), rounded(forward[y, x, 1])
            to_x, to_y = x + dx, y + dy
            if not (0 <= to_x < width and 0 <= to_y < height):
                continue
            back_x, back_y = rounded(backward[to_y, to_x, 0]), rounded(backward[to_y, to_x, 1])
            if (dx + back_x) ** 2 + (dy + back_y) ** 2 >= 8:
                continue
            if (dx, dy, back_x, back_y) == (0, 0, 0, 0):
                weights[to_y, to_x] = 0.05
            tracked[to_y, to_x] = before[y, x]
    for (y, x), old in tracked.items():
        new, weight = scores[y, x], weights.get((y, x), 0.3)
        if new > 0.9 or new < 0.1:
            weight = 0.3 if weight < 0.1 else 0.4
        fused[y, x] = weight * new + (1 - weight) * old
    return fused


def flows(seed: int, shape: tuple[int, int], reach: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    flow = random.normal(0, reach, (*shape, 2)).astype(np.float32)
    flow[random.random(shape) < 0.4] = 0
    return flow


@pytest.mark.parametrize("reach", [0.4, 2, 30])
def test_is_the_published_rule_in_every_pixel(reach):
    random, shape = np.random.default_rng(5), (24, 31)
    grey = np.zeros(shape, np.uint8)
    before, scores = random.random((2, *shape)).astype(np.float32)
    scores[random.random(shape) < 0.3] = 0.97
    forward, backward = flows(1, shape, reach), flows(2, shape, reach)
    made = VideoSmoother(Given(forward, backward))
    first = made.next(before, grey)
    np.testing.assert_array_equal(first, cv2.GaussianBlur(before, (3, 3), 0))
    expected = cv2.GaussianBlur(by_pixel(first, scores, forward, backward), (3, 3), 0)
    found = made.next(scores, grey)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - cv2.GaussianBlur(scores, (3, 3), 0)).max() > 0.1, "nothing was tracked"


def test_two_classes_are_one_score():
    """A pixel's classes share one weight: two of them are smoothed as the foreground's score alone, and sum to 1."""
    random, shape = np.random.default_rng(3), (20, 22)
    frames = random.random((3, *shape)).astype(np.float32)
    frames[0][random.random(shape) < 0.5] = 0.02
    given = flows(1, shape, 1), flows(2, shape, 1)
    one, two = VideoSmoother(Given(*given)), VideoSmoother(Given(*given))
    for score in frames:
        grey = np.zeros(shape, np.uint8)
        both = two.next(np.stack([1 - score, score], axis=2), grey)
        np.testing.assert_allclose(both[..., 1], one.next(score, grey), atol=1e-6)
        np.testing.assert_allclose(both.sum(axis=2), 1, atol=1e-6)


def test_a_size_that_changes_and_a_reset_start_anew(texture):
    made = VideoSmoother(BlockFlow())
    score = np.full((32, 32), 0.2, np.float32)
    made.next(score, texture(32, 32))
    other = np.full((40, 32), 0.6, np.float32)
    np.testing.assert_allclose(made.next(other, texture(40, 32)), 0.6)
    np.testing.assert_allclose(made.next(np.full((40, 32), 0.5, np.float32), texture(40, 32)), 0.595, atol=1e-3)
    made.reset()
    np.testing.assert_allclose(made.next(np.full((40, 32), 0.5, np.float32), texture(40, 32)), 0.5)


def test_the_caller_may_reuse_its_arrays(texture):
    made, score, grey = VideoSmoother(BlockFlow()), np.full((32, 32), 0.2, np.float32), texture(32, 32)
    made.next(score, grey)[:] = 9
    grey_again = grey.copy()
    grey[:], score[:] = 0, 0.5
    np.testing.assert_allclose(made.next(score, grey_again), 0.05 * 0.5 + 0.95 * 0.2, atol=1e-5)


@pytest.mark.parametrize("flow", [DisFlow, BlockFlow])
def test_flicker_falls_and_the_truth_is_kept(flow, texture):
    """A disc moves over a picture, and its scores flicker: smoothed, fewer pixels are wrong in every later frame."""
    random, picture = np.random.default_rng(0), texture(96, 160, grain=2)
    made, wrong = VideoSmoother(flow()), []
    ys, xs = np.mgrid[:96, :96]
    for step in range(8):
        truth = (ys - 48) ** 2 + (xs - 40 - 2 * step) ** 2 < 25**2
        grey = np.where(truth, np.roll(picture, 2 * step, axis=1)[:, :96] // 2 + 120, picture[:, :96] // 2)
        score = np.clip(truth + random.normal(0, 0.35, truth.shape), 0, 1).astype(np.float32)
        smooth = made.next(score, grey.astype(np.uint8))
        wrong.append((((score > 0.5) != truth).mean(), ((smooth > 0.5) != truth).mean()))
    assert all(after < before / 3 for before, after in wrong[3:]), wrong


def test_alpha_is_stretched_between_the_published_limits():
    score = np.full((16, 16), 0.2, np.float32)
    assert smoother.alpha(score).max() == 0
    np.testing.assert_allclose(smoother.alpha(score + np.float32(0.3)), 0.5, atol=1e-6)
    np.testing.assert_allclose(smoother.alpha(score + np.float32(0.7)), 1)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.full((16, 16), np.nan, np.float32), "scores with NaN or infinity cannot be smoothed"),
        (np.zeros((16, 15), np.float32), r"scores of \[16, 15\] and a frame of uint8 \[16, 16\] cannot be smoothed"),
        (np.zeros(16, np.float32), r"scores of \[16\] and a frame"),
    ],
)
def test_refuses_what_cannot_be_smoothed(scores, message):
    with pytest.raises(InputError, match=message):
        VideoSmoother().next(scores, np.zeros((16, 16), np.uint8))


def test_refuses_scores_that_are_too_small_for_flow():
    with pytest.raises(InputError, match="scores of 20x15 cannot be smoothed") as caught:
        VideoSmoother().next(np.zeros((15, 20), np.float32), np.zeros((15, 20), np.uint8))
    assert "at least 16 pixels" in caught.value.cause
    assert "--no-smooth" in caught.value.hint


@pytest.mark.parametrize("height", [16, 17, 65, 200])
def test_flow_of_any_size_that_is_allowed_is_finite(height, texture):
    one, two = texture(height, 23, 1), texture(height, 23, 2)
    for flow in (DisFlow(), BlockFlow()):
        found = flow(one, two)
        assert found.shape == (height, 23, 2)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
