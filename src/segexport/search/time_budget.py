"""The time budget of a search: the expected time of an attempt, the reserve for the end, and the remaining time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from segexport.search.candidate import Attempt, Candidate, Fidelity, Trial
from segexport.search.halving import RUNGS
from segexport.search.propose import MOST_CONFIRMED
from segexport.search.space import Space
from segexport.spec import Precision

_CONFIRM_SHARE, _VERDICT_SHARE = 0.25, 0.5
"""Largest fractions of the budget reserved for measuring the best candidates on all images, and for the verdict."""
_FULL_TIMING_RATIO = 2.5
"""Time of the longer timing of a full measurement relative to that of a screening, until one is measured."""
_TIMED_PROGRAMS = 2
"""Programs that are timed in a screening; the fp32 export's own has one."""
_ORIGINAL_RUNS = 1.5
"""Time of the original in the verdict, where its optimized program runs beside it, relative to that in the search."""
_VERDICT_TIMINGS = 2.0
"""Duration of the verdict's timing, including opening its sessions, as a multiple of `--latency-seconds`."""


@dataclass(frozen=True)
class ImageCounts:
    """Numbers of images for a screening, a full measurement, and the verdict."""

    screen: int
    full: int
    verdict: int = 0

    def of(self, attempt: Attempt) -> int:
        return attempt.images or (self.full if attempt.rung == "full" else self.screen)


@dataclass(frozen=True)
class Reserve:
    """Reserved seconds: for measuring the best candidates on all images, and for the verdict."""

    confirm_s: float = 0.0
    verdict_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.confirm_s + self.verdict_s


@dataclass
class TimeBudget:
    """The time budget of a search, with its clock and estimates.

    It includes the survey, running the original, all attempts, and the verdict.

    Attributes:
        seconds: The whole budget.
        images: Numbers of images of the attempts and the verdict.
        earlier_s: Time spent by earlier runs of the same search.
        verdict_timing_s: Requested duration of the verdict's timing.
        workers: Number of attempts of a stage that are made and counted at the same time; they are timed one by one.
        clock: Returns the time in seconds.
    """

    seconds: float
    images: ImageCounts
    earlier_s: float = 0.0
    verdict_timing_s: float = 0.0
    workers: int = 1
    clock: Callable[[], float] = time.monotonic
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def left_s(self) -> float:
        return self.seconds - self.earlier_s - (self.clock() - self._start)

    def fits(self, space: Space, attempt: Attempt, points: Sequence[Trial], before_s: float = 0.0) -> bool:
        """Whether an attempt ends in time if others run before it for `before_s` seconds.

        True for the fp32 export, because everything is compared with it. The first attempt after it needs no reserve:
        without a candidate there is nothing to confirm.
        """
        if not points:
            return True
        if _is_first(points) and not before_s:
            return self.expected_s(space, attempt, points) <= self.left_s
        return self.has_s(attempt.stage, points, before_s + self.expected_s(space, attempt, points))

    def has_s(self, stage: str, points: Sequence[Trial], seconds: float) -> bool:
        """Whether attempts of a stage may take so long without the reserve."""
        return seconds <= self.left_s - self.reserve(stage, points).seconds

    def reserve(self, stage: str, points: Sequence[Trial]) -> Reserve:
        """Returns the reserve for attempts of a stage, at most fixed fractions of the budget."""
        if stage == "baseline":
            return Reserve()
        verdict_s = min(self.verdict_s(points), _VERDICT_SHARE * self.seconds)
        if stage == "confirm":
            return Reserve(0.0, verdict_s)
        confirm_s = MOST_CONFIRMED * (self.images.full * _image_s(points) + _timing_s("full", points))
        confirm_s += self._original_s("full", points)
        return Reserve(min(confirm_s, _CONFIRM_SHARE * self.seconds), verdict_s)

    def verdict_s(self, points: Sequence[Trial]) -> float:
        """Estimates the time of one verdict: the original, the fp32 export and the candidate on its images."""
        image_s = _ORIGINAL_RUNS * _original_image_s(points) + 2 * _image_s(points)
        return self.images.verdict * image_s + _VERDICT_TIMINGS * self.verdict_timing_s

    def expected_s(self, space: Space, attempt: Attempt, points: Sequence[Trial]) -> float:
        """Estimates the time of an attempt from measured ones."""
        own = [p for p in points if p.key == attempt.candidate.key and p.error is None]
        seconds = self.images.of(attempt) * (_image_s(own, attempt.rung) or _image_s(points, attempt.rung))
        if attempt.timed:
            seconds += _timing_s(attempt.rung, points)
        seconds += self._original_s(attempt.rung, points)
        return seconds + (0.0 if own else _making_s(space, attempt.candidate, points))

    def screening_s(self, points: Sequence[Trial]) -> float:
        """Estimates the time of screening an export that is made, on images that the original has run on."""
        return self.images.screen * _image_s(points) + _timing_s("screen", points)

    def added_s(self, space: Space, attempt: Attempt, points: Sequence[Trial]) -> float:
        """Estimates by how much an attempt prolongs its stage."""
        timing_s = _timing_s(attempt.rung, points) if attempt.timed else 0.0
        return self._shared_s(self.expected_s(space, attempt, points), timing_s)

    def spent_s(self, points: Sequence[Trial]) -> float:
        """Estimates how long these attempts took, which may have run at the same time."""
        return self._shared_s(spent_s(points), sum(point.timing_seconds for point in points))

    def _shared_s(self, work_s: float, timing_s: float) -> float:
        return timing_s + (work_s - timing_s) / self.workers

    def _original_s(self, rung: Fidelity, points: Sequence[Trial]) -> float:
        """Estimates the time of the original on the images of a fidelity level; only the first attempt needs it."""
        if rung == "screen" or any(p.attempt.rung == rung for p in points):
            return 0.0
        new = RUNGS[-1] if rung == "glance" else max(0, self.images.full - self.images.screen)
        return new * _original_image_s(points)


def spent_s(points: Sequence[Trial]) -> float:
    return sum(point.seconds for point in points)


def _is_first(points: Sequence[Trial]) -> bool:
    return all(point.attempt.stage == "baseline" for point in points)


def _image_s(points: Sequence[Trial], rung: Fidelity = "screen") -> float:
    """Seconds per image, as the median over the trials; of a glance most of it is for opening the export."""
    glances = rung == "glance" and any(p.attempt.rung == "glance" for p in points)
    found = [
        (p.seconds - p.making_seconds - p.original_seconds - p.timing_seconds) / p.images
        for p in points
        if p.images and (p.attempt.rung == "glance") == glances
    ]
    return statistics.median(found) if found else 0.0


def _original_image_s(points: Sequence[Trial]) -> float:
    return max((p.original_seconds / p.images for p in points if p.images and p.attempt.rung == "screen"), default=0.0)


def _timing_s(rung: Fidelity, points: Sequence[Trial]) -> float:
    timed = [p for p in points if p.attempt.timed and p.error is None]
    alike = [p.timing_seconds for p in timed if p.attempt.rung == rung and p.attempt.stage != "baseline"]
    if alike:
        return statistics.fmean(alike)
    if rung == "full":
        return _FULL_TIMING_RATIO * _timing_s("screen", points)
    alone = [p.timing_seconds for p in timed if p.attempt.stage == "baseline"]
    return _TIMED_PROGRAMS * alone[0] if alone else 0.0


def _making_s(space: Space, candidate: Candidate, points: Sequence[Trial]) -> float:
    """Estimates the time to make an export: its training, if it is new, and its quantization."""
    seconds = 0.0
    if steps := training_steps(candidate):
        trained = [p for p in points if training_steps(p.candidate) and p.error is None]
        if not any(p.candidate.steps == candidate.steps for p in trained):
            per_step = [p.making_seconds / training_steps(p.candidate) for p in trained]
            seconds = steps * (per_step[-1] if per_step else space.training.step_seconds if space.training else 0.0)
    elif candidate.key in space.made:
        return 0.0
    first = {p.key: p for p in reversed(points)}.values()  # later ones find the export in the store
    alike = [
        p.making_seconds
        for p in first
        if p.candidate.precision is candidate.precision
        and not p.candidate.steps
        and p.key not in space.made
        and p.error is None
    ]
    if alike:
        return seconds + statistics.fmean(alike)
    quantized = candidate.precision.arithmetic == Precision.INT8.value
    return seconds + (space.quantization_seconds if quantized else 0.0)


def training_steps(candidate: Candidate) -> int:
    return sum(int(step.params.get("steps", 0)) for step in candidate.steps)


def duration(seconds: float) -> str:
    """Formats a duration; in minutes from one minute on."""
    return f"{max(seconds, 0) / 60:.1f} min" if seconds >= 60 else f"{max(seconds, 0):.0f} s"
