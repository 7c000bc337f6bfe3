"""Renders the report of a search: a page with the plot and a table of all candidates with rejection reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segexport.report import numbers
from segexport.search import plot
from segexport.search.candidate import Trial
from segexport.search.objective import Goal, carefully
from segexport.search.rejection_reasons import reason, slow_layers
from segexport.search.space import Space
from segexport.spec import Frozen
from segexport.ui.page import page_template


class Summary(Frozen):
    """The contents of `search.json`: the outcome of the search.

    Attributes:
        sentence: The outcome in one sentence.
        images: Numbers of images: search, verdict, learning.
        left_out: Attempts that the budget did not allow.
        notes: Remarks: layers without a speedup, how the images were split.
        front: Ideas of the candidates on the Pareto front.
        tries: Every candidate at its highest fidelity, with the reason why it was not chosen.
    """

    sentence: str
    goal: Goal
    chosen: str = ""
    images: dict[str, int]
    spent_seconds: float
    made: int
    found: int
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    front: tuple[str, ...] = ()
    environment: dict[str, Any]
    tries: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class TrialRow:
    """One formatted table row."""

    stage: str
    idea: str
    miou: str
    interval: str
    agreement: str
    time: str
    size: str
    operations: str
    images: str
    reason: str
    kind: str  # chosen, failed or nothing
    is_on_front: bool


def rows(goal: Goal, points: Sequence[Trial], chosen: Trial | None) -> list[TrialRow]:
    """Returns the table rows in order of attempt."""
    best = {point.key for point in plot.pareto(goal, points)}
    return [_row(point, goal, points, chosen, best) for point in carefully(points)]


def tries(goal: Goal, points: Sequence[Trial], chosen: Trial | None) -> tuple[dict[str, Any], ...]:
    """Returns the rows as plain data for `search.json`."""
    kept = {"attempt", "notes"}
    return tuple(
        {
            "stage": point.attempt.stage,
            "idea": point.attempt.idea,
            "key": point.key,
            "rung": point.attempt.rung,
            **point.model_dump(mode="json", exclude=kept),
            "reason": reason(point, goal, points, chosen),
        }
        for point in carefully(points)
    )


def notes(space: Space) -> tuple[str, ...]:
    return tuple(slow_layers(space))


def html(summary: Summary, goal: Goal, points: Sequence[Trial], chosen: Trial | None) -> str:
    """Renders a self-contained page: no network, no script."""
    return page_template("segexport.search", "search.html.j2").render(
        summary=summary,
        goal=goal,
        rows=rows(goal, points, chosen),
        plot=plot.draw(goal, points, chosen),
        families=plot.FAMILIES,
    )


def _row(point: Trial, goal: Goal, points: Sequence[Trial], chosen: Trial | None, best: set[str]) -> TrialRow:
    kind = "chosen" if chosen is not None and chosen.key == point.key else "failed" if point.error else ""
    return TrialRow(
        stage=point.attempt.stage,
        idea=point.attempt.idea,
        miou=numbers.delta(point.miou_delta),
        interval=numbers.interval(point.miou_interval),
        agreement=_text(point.agreement, "{:.2%}"),
        time=_text(point.latency_ratio, "{:.2f}x"),
        size=_text(point.size_bytes and point.size_bytes / 1e6, "{:.2f} MB"),
        operations=_text(point.macs and point.macs / 1e6, "{:.0f} M"),
        images=str(point.images or "–"),
        reason=reason(point, goal, points, chosen),
        kind=kind,
        is_on_front=point.key in best,
    )


def _text(value: float | None, form: str) -> str:
    return numbers.NOTHING if value is None else form.format(value)
