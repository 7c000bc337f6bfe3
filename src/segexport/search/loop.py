"""Runs the search: proposes, measures and logs attempts until none are left or the time budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from segexport.errors import Interrupted, SegexportError
from segexport.search.candidate import Attempt, Fidelity, Trial
from segexport.search.journal import Journal
from segexport.search.objective import Goal, baseline_of
from segexport.search.propose import propose
from segexport.search.space import Space

Evaluate = Callable[[Attempt], Trial]
_RESERVED_TRIES = 3  # full measurements that must still fit into the budget after every screening


@dataclass
class Outcome:
    """The outcome of a search.

    Attributes:
        made, found: Trials measured in this run, and trials already in the journal.
        left_out: Attempts that the budget did not allow or that the machine interrupted, as text.
    """

    points: list[Trial]
    made: int = 0
    found: int = 0
    left_out: list[str] = field(default_factory=list)


def search(
    space: Space,
    goal: Goal,
    journal: Journal,
    evaluate: Evaluate,
    *,
    budget_s: float,
    say: Callable[[str], None],
    full_ratio: float = 2.0,
) -> Outcome:
    """Fills the journal. The budget includes the time that earlier runs spent on the same journal.

    An interrupted attempt is not a result and is not logged; the next run repeats it.

    Args:
        full_ratio: Estimated time of a full measurement relative to a screening, until one is measured.

    Raises:
        SegexportError: The fp32 export cannot be made or run; the disk is full.
    """
    outcome = Outcome(journal.points, found=len(journal.points))
    closed: set[str] = set()
    unsettled: set[tuple[str, Fidelity]] = set()
    while batch := propose(space, goal, journal.points, closed, unsettled):
        stage = batch[0].stage
        left = budget_s - spent_s(journal.points)
        expected = [expected_s(space, attempt, journal.points, full_ratio) for attempt in batch]
        if journal.points:
            many = "try" if len(batch) == 1 else "tries"
            say(f"{stage}: {len(batch)} {many}, about {_minutes(sum(expected))}; {_minutes(left)} left")
        for number, (attempt, seconds) in enumerate(zip(batch, expected, strict=True)):
            left = budget_s - spent_s(journal.points) - reserved_s(stage, journal.points, full_ratio)
            if journal.points and seconds > left:
                closed.add(stage)
                text = f"{stage}: {len(batch) - number} of {len(batch)} tries left out, about "
                text += f"{_minutes(sum(expected[number:]))} of work"
                outcome.left_out.append(text)
                say(text)
                break
            try:
                point = evaluate(attempt)
            except Interrupted as error:
                unsettled.add(attempt.id)
                outcome.left_out.append(f"{attempt.idea}: {error.what}; the next run tries it again")
                say(f"  {outcome.left_out[-1]}")
                if stage == "baseline":
                    raise
                continue
            journal.append(point)
            outcome.made += 1
            say(f"  {describe(point)}")
        if stage == "baseline" and baseline_of(journal.points) is None:
            raise SegexportError("the fp32 export cannot be measured", cause=journal.points[-1].error or "")
    return outcome


def spent_s(points: Sequence[Trial]) -> float:
    return sum(point.seconds for point in points)


def expected_s(space: Space, attempt: Attempt, points: Sequence[Trial], full_ratio: float = 2.0) -> float:
    """Estimates the time of an attempt from measured attempts of its kind."""
    plain = [p.seconds for p in points if not training_steps(p.attempt)]
    alike = [
        p.seconds
        for p in points
        if (p.attempt.rung, p.attempt.timed) == (attempt.rung, attempt.timed) and not training_steps(p.attempt)
    ]
    seconds = float(np.mean(alike)) if alike else _full_s(points, full_ratio) if attempt.rung == "full" else 0.0
    seconds = seconds or float(np.mean(plain or [0.0]))
    if steps := training_steps(attempt):
        each = [
            (p.seconds - seconds) / training_steps(p.attempt)
            for p in points
            if training_steps(p.attempt) and p.error is None
        ]
        per_step = max(each[-1], 0.0) if each else (space.training.step_seconds if space.training else 0.0)
        seconds += 0.0 if _trained_before(attempt, points) else steps * per_step
    return seconds


def reserved_s(stage: str, points: Sequence[Trial], full_ratio: float = 2.0) -> float:
    """Returns the time reserved for full measurements of the best candidates."""
    if stage in ("baseline", "confirm"):
        return 0.0
    full = [p.seconds for p in points if p.attempt.rung == "full"]
    return _RESERVED_TRIES * (float(np.mean(full)) if full else _full_s(points, full_ratio))


def _full_s(points: Sequence[Trial], full_ratio: float) -> float:
    screened = [p.seconds for p in points if p.attempt.timed and not training_steps(p.attempt)]
    return full_ratio * float(np.median(screened or [0.0]))


def training_steps(attempt: Attempt) -> int:
    return sum(int(step.params.get("steps", 0)) for step in attempt.candidate.steps)


def _trained_before(attempt: Attempt, points: Sequence[Trial]) -> bool:
    """Whether the store already has the trained model, so that only the export differs."""
    return any(p.candidate.steps == attempt.candidate.steps and p.error is None for p in points)


def describe(point: Trial) -> str:
    """Returns one line about a trial."""
    words = [f"{point.attempt.idea}:"]
    if point.error is not None:
        return " ".join([*words, f"failed, {point.error.splitlines()[0]}"])
    if point.miou_delta is not None:
        words.append(f"mIoU {point.miou_delta:+.4f},")
    if point.agreement is not None:
        words.append(f"{point.agreement:.2%} agree")
    if point.latency_ratio is not None:
        words.append(f"at {point.latency_ratio:.2f}x the time")
    words.append(f"({point.images} images, {point.seconds:.0f} s)")
    return " ".join(words)


def _minutes(seconds: float) -> str:
    return f"{max(seconds, 0) / 60:.1f} min" if seconds >= 60 else f"{max(seconds, 0):.0f} s"
