"""Sequential halving of a stage's candidates: which of them are worth a measurement of mIoU and time. Pure.

All candidates are glanced at with equally many images; the better half goes on with twice as many (Jamieson and
Talwalkar 2016, section 3). Better is nearer to the original's scores. A candidate that should be cheaper than all
nearer ones goes on too: the goal is the least cost within a loss, not the least loss.
"""

from __future__ import annotations

from collections.abc import Sequence

from segexport.search.candidate import Attempt, Trial
from segexport.search.objective import WORTH_RATIO, Goal
from segexport.search.space import Space

RUNGS = (4, 8)
"""Numbers of images; after the last rung follows a screening."""
FINALISTS = 2  # so few are screened without a glance


def halved(space: Space, goal: Goal, attempts: Sequence[Attempt], points: Sequence[Trial]) -> list[Attempt]:
    """Returns glances at the candidates that are left, as long as some are missing; then the finalists' attempts."""
    left = list(attempts)
    for images in RUNGS:
        if len(left) <= FINALISTS:
            break
        found = glances(points, images)
        if not all(attempt.candidate.key in found for attempt in left):
            return [attempt.glance(images) for attempt in left]
        kept = {trial.key for trial in _better(space, goal, [found[attempt.candidate.key] for attempt in left])}
        left = [attempt for attempt in left if attempt.candidate.key in kept]
    return left


def glances(points: Sequence[Trial], images: int) -> dict[str, Trial]:
    """The glances with this number of images, by the candidates' keys."""
    return {p.key: p for p in points if p.attempt.rung == "glance" and p.attempt.images == images}


def went_on(point: Trial, points: Sequence[Trial]) -> list[Trial]:
    """The candidates of a glance's stage that were nearer in it and were measured further."""
    number = point.attempt.images
    further = {p.key for p in points if p.attempt.rung != "glance" or p.attempt.images > number}
    rivals = glances([p for p in points if p.attempt.stage == point.attempt.stage], number).values()
    return [p for p in rivals if p.key in further and distance_of(p) <= distance_of(point)]


def _better(space: Space, goal: Goal, trials: Sequence[Trial]) -> list[Trial]:
    """The nearer half, and whichever should be cheaper than all nearer ones that are left."""
    order = sorted((trial for trial in trials if trial.distance is not None), key=distance_of)
    kept: list[Trial] = []
    for number, trial in enumerate(order):
        cost = expected_cost(space, goal, trial)
        if 2 * number < len(order) or all(cost < WORTH_RATIO * expected_cost(space, goal, one) for one in kept):
            kept.append(trial)
    return kept


def distance_of(trial: Trial) -> float:
    """Its distance from the original; infinite if it failed."""
    return float("inf") if trial.distance is None else trial.distance


def expected_cost(space: Space, goal: Goal, trial: Trial) -> float:
    """The cost of a candidate before it is timed; of its time, what the profiles of the layers tell."""
    if goal.objective != "latency":
        return goal.cost(trial)[0]
    floats = trial.candidate.float_nodes
    return sum((layer.float_ms or 0.0) - (0.0 if layer.name in floats else layer.gain_ms) for layer in space.layers)
