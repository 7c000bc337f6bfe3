"""Sequential halving: who goes on, in which order it is asked, and the distance that decides."""

from __future__ import annotations

import re

import numpy as np
import pytest
from worlds import INT8, World

from segexport.errors import WorkerFailed
from segexport.search.candidate import Attempt, Candidate, Trial
from segexport.search.halving import RUNGS, halved
from segexport.search.journal import Journal
from segexport.search.loop import search
from segexport.search.objective import Goal
from segexport.search.rejection_reasons import reason
from segexport.search.score_distance import distance
from segexport.search.space import Space

NAMES = [f"conv{index}" for index in range(8)]
GOAL = Goal(max_miou_drop=0.005)
FIRST, LAST = RUNGS


def attempt(*floats: str, **changes) -> Attempt:
    candidate = Candidate(export=INT8).calibrated(float_nodes=floats, **changes)
    return Attempt(candidate=candidate, stage="mix", idea=f"{floats} {changes}")


def glanced(attempts, images: int, distances) -> list[Trial]:
    return [
        Trial(attempt=one.glance(images), images=images, distance=far)
        for one, far in zip(attempts, distances, strict=True)
    ]


def space() -> Space:
    return World(dict.fromkeys(NAMES, 0.001), dict.fromkeys(NAMES, 5.0)).space()


def test_the_nearer_half_goes_on_with_double_the_images_until_two_are_left():
    calibrations = [attempt(percentile=90.0 + index) for index in range(8)]
    asked = halved(space(), GOAL, calibrations, [])
    assert [(one.rung, one.images, one.timed) for one in asked] == [("glance", FIRST, False)] * 8
    points = glanced(calibrations, FIRST, [0.8, 0.1, 0.7, 0.2, 0.6, 0.3, 0.5, 0.4])
    assert halved(space(), GOAL, calibrations, points[:7]) == asked  # all of a rung, or none
    second = halved(space(), GOAL, calibrations, points)
    nearest = [calibrations[index] for index in (1, 3, 5, 7)]
    assert second == [one.glance(LAST) for one in nearest]
    points += glanced(nearest, LAST, [0.4, 0.1, 0.2, None])  # one failed
    assert halved(space(), GOAL, calibrations, points) == [calibrations[3], calibrations[5]]
    assert halved(space(), GOAL, calibrations[:2], []) == calibrations[:2]  # so few are measured at once


def test_a_farther_candidate_that_should_be_cheaper_goes_on():
    """The more layers are float, the nearer and the slower; nearness alone would keep the slowest."""
    mixes = [attempt(*NAMES[:count]) for count in (1, 2, 4, 6)]
    same_cost = attempt(*NAMES[1:3])
    points = glanced([*mixes, same_cost], FIRST, [0.4, 0.3, 0.2, 0.1, 0.35])
    left = halved(space(), GOAL, [*mixes, same_cost], points)
    assert {one.candidate.key for one in left} == {one.candidate.key for one in mixes}
    size = Goal(max_miou_drop=0.005, objective="size")  # of sizes that are known; here all are equal
    points = [point.model_copy(update={"size_bytes": 1000}) for point in points]
    assert [one.idea for one in halved(space(), size, [*mixes, same_cost], points)] == [one.idea for one in mixes[1:]]


def test_the_search_times_few_and_says_who_was_dropped_where(tmp_path):
    calibrations = {"mse": 1.0, "minmax": 0.5, "percentile": 2.0, "entropy": 1.1}
    world = World(dict.fromkeys(NAMES, 0.0002), dict.fromkeys(NAMES, 5.0), calibrations=calibrations)
    outcome = search(
        world.space(), GOAL, Journal(tmp_path / "j"), world, budget=world.budget(1e6), say=lambda _line: None
    )
    tried = [(one.idea.split()[-1], one.images) for one in world.tried if one.stage == "calibration"]
    first, second = ("minmax", "percentile", "entropy"), ("int8", "minmax", "entropy")
    assert tried == [*((name, FIRST) for name in first), *((name, LAST) for name in second)]
    (whole,) = [one for one in world.tried if one.idea == "all int8, ranges by minmax"]
    assert (whole.rung, whole.timed) == ("screen", True)
    by_idea = {point.attempt.idea: reason(point, GOAL, outcome.points, None) for point in outcome.points}
    words = "dropped: 0.0566 off the original's scores on 4 images; those that went on are 0.0420 off or less"
    assert by_idea["ranges by percentile"] == words
    assert not any(point.attempt.timed for point in outcome.points if point.attempt.rung == "glance")


def test_the_distance_by_hand():
    own = np.array([3.0, 0.0, 0.0, 4.0], np.float32).reshape(2, 2, 1)
    assert distance([own], [own + 7]) == pytest.approx(0, abs=1e-6)  # what all classes share changes no class
    # Centred: (1.5, -2), (-1.5, 2), norm 3.5355; one score changes by 1: 0.5 in both classes of its pixel.
    other = own.copy()
    other[0, 0, 0] += 1
    assert distance([own, own], [other, own]) == pytest.approx(0.5**0.5 / 12.5**0.5 / 2)
    one_class = np.array([[[3.0, 4.0]]], np.float32)
    assert distance([one_class], [one_class + 1]) == pytest.approx(2**0.5 / 5)
    mask = np.array([[0, 1], [2, 3]], np.uint8)
    assert distance([mask], [np.array([[0, 1], [2, 0]], np.uint8)]) == 0.25
    with pytest.raises(WorkerFailed, match=r"the output is \[1, 2\], that of the original \[2, 2\]"):
        distance([mask], [mask[:1]])


@pytest.mark.parametrize(("budget_s", "glances"), [(150.0, False), (400.0, True)])
def test_no_glance_without_time_for_the_screenings_after_it(tmp_path, budget_s, glances):
    """Making takes 20 s: without time to glance at all, as many as fit are screened at once."""
    world = World(dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 5.0), making_s=20.0, timing_s=5.0)
    space = world.space().model_copy(update={"operators": ("Add", "Concat")})
    budget, said = world.budget(budget_s), []
    outcome = search(space, GOAL, Journal(tmp_path / "j"), world, budget=budget, say=said.append)
    parts = [point.attempt for point in outcome.points if point.attempt.stage == "parts"]
    assert len({one.candidate.key for one in parts if one.rung == "glance"}) == (6 if glances else 0)
    screened = [one for one in parts if one.rung == "screen"]
    assert screened
    assert all(one.timed for one in screened)
    assert len(screened) < 6
    assert any(re.match(r"parts: \d of 6 tries left out", line) for line in said) == (not glances)
