"""Flicker and warped mIoU against loops."""

from __future__ import annotations

import math

import numpy as np

from segexport.measure.temporal import Steadiness, warped


def test_counts_are_those_of_a_loop():
    random = np.random.default_rng(0)
    made, changed, total = Steadiness(3), 0, 0
    pairs = {(a, b): 0 for a in range(3) for b in range(3)}
    for _ in range(3):
        previous, current = random.integers(0, 3, (2, 9, 11)).astype(np.uint8)
        motion = random.normal(0, 3, (9, 11, 2)).astype(np.float32)
        seen = random.random((9, 11)) < 0.8
        made.add(previous, current, motion, seen)
        for y in range(9):
            for x in range(11):
                from_x, from_y = math.floor(x + motion[y, x, 0] + 0.5), math.floor(y + motion[y, x, 1] + 0.5)
                if seen[y, x] and 0 <= from_x < 11 and 0 <= from_y < 9:
                    pairs[int(previous[from_y, from_x]), int(current[y, x])] += 1
                    total += 1
                    changed += previous[from_y, from_x] != current[y, x]
    assert math.isclose(made.flicker, changed / total)
    ious = []
    for c in range(3):
        union = sum(n for pair, n in pairs.items() if c in pair)
        ious.append(pairs[c, c] / union)
    assert math.isclose(made.warped_miou, sum(ious) / 3)


def test_a_mask_that_moves_with_the_motion_is_steady():
    mask = np.zeros((20, 20), np.uint8)
    mask[5:12, 4:10] = 1
    made = Steadiness(2)
    made.add(mask, np.roll(mask, (2, 3), (0, 1)), np.broadcast_to(np.float32([-3, -2]), (20, 20, 2)))
    assert made.flicker == 0
    assert made.warped_miou == 1


def test_what_leaves_the_frame_is_not_counted():
    mask = np.ones((4, 4), np.uint8)
    _, inside = warped(mask, np.full((4, 4, 2), 2.0))
    assert inside.tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2
    made = Steadiness(2)
    made.add(mask, mask, np.full((4, 4, 2), 9.0))
    assert math.isnan(made.flicker)
