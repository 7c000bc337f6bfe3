"""Runs the search: proposes, measures and logs attempts until none are left or the time budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from segexport.errors import Interrupted, SegexportError
from segexport.search.candidate import Attempt, AttemptId, Trial
from segexport.search.halving import FINALISTS
from segexport.search.journal import Journal
from segexport.search.objective import Goal, baseline_of
from segexport.search.propose import UNTIMED_STAGES, propose
from segexport.search.space import Space
from segexport.search.time_budget import TimeBudget, duration

Evaluate = Callable[[Attempt], Trial]
Record = Callable[[Attempt, Trial | Interrupted], None]
EvaluateTogether = Callable[[Sequence[Attempt], Record], None]
Say = Callable[[str], None]


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
    budget: TimeBudget,
    say: Say,
    together: EvaluateTogether | None = None,
) -> Outcome:
    """Fills the journal.

    An interrupted attempt is not a result and is not logged; the next run repeats it.

    Args:
        together: Measures the attempts of a stage in parallel and records them in their order; instead of `evaluate`.

    Raises:
        SegexportError: The fp32 export cannot be made or run; the disk is full.
    """
    outcome = Outcome(journal.points, found=len(journal.points))
    put_off: set[AttemptId] = set()  # left to the next run
    reserve_said = False

    def record(attempt: Attempt, found: Trial | Interrupted) -> None:
        if isinstance(found, Interrupted):
            put_off.add(attempt.id)
            outcome.left_out.append(f"{attempt.idea}: {found.what}; the next run tries it again")
            say(f"  {outcome.left_out[-1]}")
            if attempt.stage == "baseline":
                raise found
            return
        journal.append(found)
        outcome.made += 1
        say(f"  {describe(found)}")

    while batch := propose(space, goal, journal.points, put_off):
        stage = batch[0].stage
        fitting = _fitting(budget, space, batch, journal.points)
        if stage != "baseline" and not reserve_said:
            say(_reserve_words(budget, stage, journal.points))
            reserve_said = True
        if fitting and stage != "baseline":
            say(_announced(budget, space, fitting, len(batch), journal.points))
        going = {attempt.candidate.key for attempt in fitting}
        late = [attempt for attempt in batch if attempt.candidate.key not in going]
        put_off |= {attempt.id for attempt in batch if attempt not in fitting}
        if together is not None and fitting:
            together(fitting, record)
        for attempt in fitting if together is None else ():
            if not budget.fits(space, attempt, journal.points):  # others took longer than expected
                late.append(attempt)
                continue
            try:
                point = evaluate(attempt)
            except Interrupted as error:
                record(attempt, error)
            else:
                record(attempt, point)
        if late:
            put_off |= {attempt.id for attempt in late}
            work_s = sum(budget.expected_s(space, attempt, journal.points) for attempt in late)
            text = f"{stage}: {len(late)} of {len(batch)} tries left out, about {duration(work_s)} of work"
            outcome.left_out.append(text)
            say(text)
        if stage == "baseline" and baseline_of(journal.points) is None:
            raise SegexportError("the fp32 export cannot be measured", cause=journal.points[-1].error or "")
    return outcome


def _fitting(budget: TimeBudget, space: Space, batch: Sequence[Attempt], points: Sequence[Trial]) -> list[Attempt]:
    """Returns the attempts that end in time.

    Of glances, all or none: they are compared with each other, and are worth nothing without the screenings after them.
    If there is no time for both, as many candidates as possible are screened at once.
    """
    found, end_s = _in_time(budget, space, batch, points)
    glances = [attempt for attempt in batch if attempt.rung == "glance"]
    if not glances:
        return found
    after_s = min(FINALISTS, len(glances)) * budget.screening_s(points)
    if all(attempt in found for attempt in glances) and budget.has_s(batch[0].stage, points, end_s + after_s):
        return found
    if glances[0].stage in UNTIMED_STAGES:
        return [attempt for attempt in found if attempt not in glances]
    return _in_time(budget, space, [one.screening() if one in glances else one for one in batch], points)[0]


def _in_time(
    budget: TimeBudget, space: Space, batch: Sequence[Attempt], points: Sequence[Trial]
) -> tuple[list[Attempt], float]:
    """Returns the attempts that end in time one after another, and how long they take."""
    found: list[Attempt] = []
    before_s = 0.0
    for attempt in batch:
        if budget.fits(space, attempt, points, before_s):
            found.append(attempt)
            before_s += budget.added_s(space, attempt, points)
    return found, before_s


def _announced(budget: TimeBudget, space: Space, fitting: Sequence[Attempt], of: int, points: Sequence[Trial]) -> str:
    many = "try" if len(fitting) == 1 else "tries"
    count = f"{len(fitting)} {many}" if len(fitting) == of else f"{len(fitting)} of {of} tries"
    seconds = sum(budget.added_s(space, attempt, points) for attempt in fitting)
    return f"{fitting[0].stage}: {count}, about {duration(seconds)}; {duration(budget.left_s)} left"


def _reserve_words(budget: TimeBudget, stage: str, points: Sequence[Trial]) -> str:
    reserve = budget.reserve(stage, points)
    words = f"{duration(budget.left_s)} of {duration(budget.seconds)} left; reserved: {duration(reserve.confirm_s)} to "
    words += f"measure the best on all {budget.images.full} images"
    return words + (f", {duration(reserve.verdict_s)} for the verdict" if reserve.verdict_s else "")


def describe(point: Trial) -> str:
    """Returns one line about a trial."""
    words = [f"{point.attempt.idea}:"]
    if point.error is not None:
        return " ".join([*words, f"failed, {point.error.splitlines()[0]}"])
    if point.distance is not None:
        words.append(f"scores {point.distance:.4f} off the original's")
    if point.miou_delta is not None:
        words.append(f"mIoU {point.miou_delta:+.4f},")
    if point.agreement is not None:
        words.append(f"{point.agreement:.2%} agree")
    if point.latency_ratio is not None:
        words.append(f"at {point.latency_ratio:.2f}x the time")
    words.append(f"({point.images} images, {point.seconds:.0f} s)")
    return " ".join(words)
