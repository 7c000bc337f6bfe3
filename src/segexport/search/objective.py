"""Defines the goal (accuracy budget and objective) and ranks measured trials by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

from pydantic import Field

from segexport.search.candidate import Fidelity, Trial
from segexport.spec import Frozen, Precision

Objective = Literal["latency", "size", "flops"]
OBJECTIVES: tuple[Objective, ...] = ("latency", "size", "flops")
WORTH_RATIO = 0.98
"""Improvements below 2 % are ignored: two builds of one program differ as much."""
_MOST_NOISE = 0.10
"""Limit of `_noise`: times that differ by more than 10 % count as different, even if their intervals are wider. Of a
wider interval the ends are not used."""


class Goal(Frozen):
    """The accuracy budget and the objective.

    Attributes:
        max_miou_drop: Allowed loss of mIoU, as a fraction of 1.
    """

    max_miou_drop: float = Field(ge=0, lt=1)
    objective: Objective = "latency"

    def cost(self, point: Trial) -> tuple[float, ...]:
        """Returns the costs to minimize: the objective, then the other two as tie-breakers. Infinite if unknown."""
        found = {"latency": point.latency_ratio, "size": point.size_bytes, "flops": point.macs}
        return tuple(float("inf") if found[name] is None else float(found[name]) for name in self._order)

    @property
    def _order(self) -> tuple[Objective, ...]:
        return (self.objective, *(name for name in OBJECTIVES if name != self.objective))

    def holds(self, point: Trial) -> bool:
        """Whether its measured loss is within the budget."""
        return point.error is None and point.miou_delta is not None and point.miou_delta >= -self.max_miou_drop

    def surely_holds(self, point: Trial) -> bool:
        """Whether the whole interval of its loss is within the budget."""
        low = point.miou_interval[0] if point.miou_interval is not None else None
        return self.holds(point) and low is not None and low >= -self.max_miou_drop

    def pays(self, point: Trial, baseline: Trial) -> bool:
        """Whether it beats the fp32 export on the objective; int8 must not be slower either.

        Uses the measured ratio after a screening, and its whole interval after a full measurement, unless that is so
        wide that the machine was too busy for it.
        """
        own, base = self.cost(point)[0], self.cost(baseline)[0]
        if not own < WORTH_RATIO * base:
            return False
        interval = point.latency_interval if point.attempt.rung == "full" else None
        if self.objective == "latency":
            return interval is None or interval[1] < 1 or interval[1] > (1 + _MOST_NOISE) * own
        slower = interval is not None and interval[0] > 1
        return not (slower and point.candidate.precision.arithmetic == Precision.INT8.value)

    def cheaper(self, point: Trial, other: Trial) -> bool:
        """Whether `point` costs less than `other`, in the objective, by more than the noise of both."""
        own, others = self.cost(point)[0], self.cost(other)[0]
        noise = max(_noise(point), _noise(other)) if self.objective == "latency" else 0.0
        return own < others * min(WORTH_RATIO, 1 - noise)


def _noise(point: Trial) -> float:
    """Half the width of the interval of its latency ratio, relative to the ratio."""
    if point.latency_interval is None or not point.latency_ratio:
        return 0.0
    low, high = point.latency_interval
    return min(_MOST_NOISE, (high - low) / 2 / point.latency_ratio)


def carefully(points: Iterable[Trial]) -> list[Trial]:
    """Returns each candidate's highest-fidelity trial, under the idea of its first attempt."""
    found: dict[str, Trial] = {}
    for point in points:
        known = found.get(point.key)
        if known is None:
            found[point.key] = point
        elif _care(point) >= _care(known):
            measured = {name: getattr(point.attempt, name) for name in ("rung", "images", "timed")}
            first = known.attempt.model_copy(update=measured)
            found[point.key] = point.model_copy(update={"attempt": first})
    return list(found.values())


def _care(point: Trial) -> tuple[int, int, bool]:
    return get_args(Fidelity).index(point.attempt.rung), point.attempt.images, point.attempt.timed


def baseline_of(points: Sequence[Trial]) -> Trial | None:
    """Returns the fp32 export without steps, the baseline for all candidates."""
    return next(
        (p for p in carefully(points) if p.attempt.stage == "baseline" and p.error is None),
        None,
    )


def ranked(goal: Goal, points: Sequence[Trial]) -> list[Trial]:
    """Returns candidates that are within the budget and beat the baseline, cheapest first.

    Among candidates of equal cost within the noise, the most accurate one comes first; of equally accurate ones, the
    cheapest by the other costs.
    """
    base = baseline_of(points)
    if base is None:
        return []
    left = [p for p in carefully(points) if p.key != base.key and goal.holds(p) and goal.pays(p, base)]
    screened = screened_agreement(points)
    found = []
    while left:
        least = min(left, key=goal.cost)
        equals = [p for p in left if not goal.cheaper(least, p)]
        agreement = _full_agreement if all(p.attempt.rung == "full" for p in equals) else screened
        order = {p.key: (not goal.surely_holds(p), -agreement(p), goal.cost(p)[1:]) for p in equals}
        best = min(equals, key=lambda p: order[p.key])
        left.remove(best)
        found.append(best)
    return found


def _full_agreement(point: Trial) -> float:
    return point.agreement or 0.0


def screened_agreement(points: Sequence[Trial]) -> Callable[[Trial], float]:
    """Returns agreement on the screening images, which all candidates share."""
    screened = {p.key: p.agreement for p in points if p.attempt.rung == "screen" and p.agreement is not None}
    return lambda point: screened.get(point.key, -1.0)


def finalists(goal: Goal, points: Sequence[Trial]) -> list[Trial]:
    """Returns the bold and the safe candidate: the cheapest whose loss on all search images is within the budget, then
    the cheapest whose whole interval is. Where the time sufficed for no measurement on all images, screenings count:
    the verdict uses other images in any case.

    Two candidates, because each verdict errs in at most 2.5 % of cases (the lower end of a two-sided 95 % interval), so
    both together stay within 5 %.
    """
    every = ranked(goal, points)
    full = [point for point in every if point.attempt.rung == "full"]
    if not any(p.attempt.rung == "full" for p in points):
        full = every
    bold = full[:1]
    safe = [point for point in full if goal.surely_holds(point) and point not in bold][:1]
    return bold + (safe or full[1:2])
