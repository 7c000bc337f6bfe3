"""Plots a search: the change of accuracy against the cost of each candidate, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.search.candidate import Trial
from segexport.search.objective import Goal, Objective, baseline_of, carefully
from segexport.search.pareto import front
from segexport.ui.scatter import Point, Scatter, scatter

_AXES: dict[Objective, str] = {
    "latency": "time of one image / fp32 export's",
    "size": "size of the file, MB",
    "flops": "operations of one image, millions",
}
FAMILIES = (("square", "base", "as exported"), ("circle", "quantized", "quantized"), ("triangle", "trained", "trained"))
"""Shape, CSS class and title of the kinds of candidates."""


def shown(points: Sequence[Trial]) -> list[Trial]:
    """Returns the plotted candidates: those that were measured and timed."""
    return [p for p in carefully(points) if p.error is None and p.miou_delta is not None and p.attempt.timed]


def pareto(goal: Goal, points: Sequence[Trial]) -> list[Trial]:
    """Returns the plotted candidates that are not dominated in cost and loss."""
    by_key = {p.key: p for p in shown(points)}
    return [by_key[str(key)] for key in front({k: (goal.cost(p)[0], -_loss(p)) for k, p in by_key.items()})]


def draw(goal: Goal, points: Sequence[Trial], chosen: Trial | None) -> Scatter | None:
    """Returns the plot for the page; None if nothing was measured."""
    base = baseline_of(points)
    return scatter(
        [_point(trial, goal, chosen) for trial in shown(points)],
        x_title=_AXES[goal.objective],
        y_title="mIoU minus that of the original" + (f" ({base.miou:.4f})" if base and base.miou else ""),
        limit=goal.max_miou_drop,
        front=[_point(trial, goal, None) for trial in pareto(goal, points)],
        lowest=-max(6 * goal.max_miou_drop, 0.02),  # total losses would compress the other points
    )


def _point(trial: Trial, goal: Goal, chosen: Trial | None) -> Point:
    on_all, is_chosen = trial.attempt.rung == "full", chosen is not None and chosen.key == trial.key
    shape, style, _ = FAMILIES[_family(trial)]
    return Point(
        x=goal.cost(trial)[0] / (1.0 if goal.objective == "latency" else 1e6),
        y=_loss(trial),
        name=f"{trial.attempt.idea}: {_loss(trial):+.4f}",
        interval=trial.miou_interval if on_all else None,
        shape=shape,
        style=style + ("" if on_all else " few") + (" chosen" if is_chosen else ""),
        remark="chosen" if is_chosen else "",
    )


def _loss(point: Trial) -> float:
    """Returns the mIoU change of a plotted candidate."""
    return point.miou_delta or 0.0


def _family(point: Trial) -> int:
    if point.candidate.trained:
        return 2
    return 0 if point.candidate.precision.value == "fp32" else 1
