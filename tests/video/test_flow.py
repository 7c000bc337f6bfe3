"""Optical flow against known motion, and block matching against a search written out."""

from __future__ import annotations

import numpy as np
import pytest

from segexport.video.flow import BlockFlow, DisFlow, _halved, _matched, _searched


@pytest.mark.parametrize("motion", [(0, 0), (6, 3), (-5, 8), (12, -9)])
def test_blocks_find_a_pan(motion, texture):
    picture = texture(160, 200)
    dx, dy = motion
    previous, current = picture[20:116, 30:126], picture[20 - dy : 116 - dy, 30 - dx : 126 - dx]
    found = BlockFlow()(previous, current)[16:-16, 16:-16]
    assert (np.abs(found - motion) <= 1).all(axis=2).mean() > 0.95


def test_dis_finds_a_pan(texture):
    picture = texture(240, 260)
    found = DisFlow()(picture[20:212, 30:222], picture[17:209, 24:216])[16:-16, 16:-16]
    np.testing.assert_allclose(np.median(found, axis=(0, 1)), (6, 3), atol=0.5)


def test_flat_frames_do_not_move(texture):
    random = np.random.default_rng(0)
    one, two = (np.clip(128 + random.normal(0, 1, (64, 64)), 0, 255).astype(np.uint8) for _ in range(2))
    assert (BlockFlow()(one, two) == 0).mean() > 0.98


@pytest.mark.parametrize("shape", [(16, 16), (21, 30)])
def test_matching_is_the_search_written_out(shape):
    random = np.random.default_rng(4)
    previous, current = random.integers(0, 256, (2, *shape)).astype(np.uint8)
    rows, columns = -(-shape[0] // 8), -(-shape[1] // 8)
    around = random.integers(-3, 4, (rows, columns, 2))
    found = _matched(previous, current, around, 2)

    def at(frame: np.ndarray, y: int, x: int) -> int:
        return int(frame[min(max(y, 0), shape[0] - 1), min(max(x, 0), shape[1] - 1)])

    for row in range(rows):
        for column in range(columns):
            best = None
            for size in range(5):
                for my in range(-2, 3):
                    for mx in range(-2, 3):
                        if abs(mx) + abs(my) != size:
                            continue
                        dx, dy = around[row, column] + (mx, my)
                        cost = 32 * (abs(dx) + abs(dy))
                        for y in range(row * 8, row * 8 + 8):
                            for x in range(column * 8, column * 8 + 8):
                                y0, x0 = min(y, shape[0] - 1), min(x, shape[1] - 1)
                                cost += abs(at(previous, y0, x0) - at(current, y0 + dy, x0 + dx))
                        if best is None or cost < best[0]:
                            best = cost, (dx, dy)
            assert tuple(found[row, column]) == best[1]


def test_halving_rounds_and_repeats_the_last_pixel():
    assert _halved(np.array([[1, 2, 9], [3, 4, 10]], np.uint8)).tolist() == [[3, 10]]


@pytest.mark.parametrize("shape", [(16, 16), (37, 50)])
def test_the_quick_search_is_the_search(shape, texture):
    previous, current = texture(*shape, seed=1, grain=1), texture(*shape, seed=2, grain=1)
    blocks = -(-shape[0] // 8), -(-shape[1] // 8)
    expected = _matched(previous, current, np.zeros((*blocks, 2), np.int64), 7)
    np.testing.assert_array_equal(_searched(previous, current), expected)
