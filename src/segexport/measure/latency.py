"""Times programs alternately, in several sessions each, to reduce the effect of load and of single processes.

Two processes that run the same file differ permanently by a per cent or two (memory layout, choices of libraries),
which runs inside one process cannot show. So every program is opened again for each session, and sessions are the
sample (Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013: repeat at the highest level that
varies at random). Within a session, blocks run A B C C B A, so that drift affects all programs equally. Times are taken
inside the workers, around inference only. Each opening is a cold start, whose times are kept too.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segexport.errors import SegexportError, capture_error
from segexport.measure.environment import processor_mhz
from segexport.measure.latency_statistics import MIN_SESSIONS, is_warm, latency_ratio, trend
from segexport.progress import Progress, silent

if TYPE_CHECKING:
    from segexport.runtimes.base import Session, SessionInfo

SESSIONS = 8  # at most
NARROW_SESSIONS = 4
NARROW = 0.03
"""Sessions end once there are `NARROW_SESSIONS` and no interval is wider than this, as a fraction of its ratio. From
four on, intervals that stop by their width keep their confidence: they hold the truth in 93 to 95 % of all cases, where
processes differ by up to 5 %; from three on, in 91 %."""
ENOUGH = ((NARROW_SESSIONS, 2), (MIN_SESSIONS, 4))
"""(sessions, factor): stop after this many sessions if they took `factor` times the requested time."""
BLOCKS = 3  # per session
AGAIN_WITHIN = 4  # limit for repeated measurements, as a multiple of the requested time
MOST_ROUNDS = 3
WIDE = 0.10
"""A ratio with a wider interval, as a fraction of the ratio, cannot detect an export that is a tenth slower."""
MOST_WARM_UP_RUNS = 30
LEAST_WARM_UP_MS, MOST_WARM_UP_MS = 500.0, 2000.0
"""Limits for the longest warm-up of a session, which is otherwise as long as the program's part of the time."""
FREQUENCY_CHANGE = 0.1  # largest relative change of the processor's clock within a measurement


@dataclass(frozen=True)
class TimedModel:
    """A program to time: how to open it, and the tensors of one image."""

    open: Callable[[], Session]
    tensors: Sequence[np.ndarray]


@dataclass
class Timing:
    """Raw times of one program.

    Attributes:
        sessions_ms: (sessions, blocks, runs) float64, in measuring order; a block's two halves are adjacent.
        loads_ms: Time to load the model, per session.
        firsts_ms: Time of the first run, per session.
        warm_up_runs: Number of discarded warm-up runs in all sessions.
        peak_rss_bytes: Peak memory of one of its processes; 0 if unknown.
        mhz: The processor's frequency at the start of each block; empty if unknown.
        info: Runtime and device.
    """

    sessions_ms: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0)))
    loads_ms: list[float] = field(default_factory=list)
    firsts_ms: list[float] = field(default_factory=list)
    warm_up_runs: int = 0
    peak_rss_bytes: int = 0
    mhz: list[float] = field(default_factory=list)
    info: SessionInfo | None = None
    error: SegexportError | None = None

    @property
    def samples_ms(self) -> np.ndarray:
        """All runs, in measuring order."""
        return self.sessions_ms.reshape(-1)

    @property
    def load_ms(self) -> float | None:
        """Median over the sessions; None without sessions."""
        return float(np.median(self.loads_ms)) if self.loads_ms else None

    @property
    def first_ms(self) -> float | None:
        """Median over the sessions of the first run after loading."""
        return float(np.median(self.firsts_ms)) if self.firsts_ms else None

    def joined(self, more: Timing) -> Timing:
        """Adds the sessions of a further measurement by the same plan."""
        return Timing(
            sessions_ms=np.concatenate([self.sessions_ms, more.sessions_ms])
            if more.error is None
            else self.sessions_ms,
            loads_ms=[*self.loads_ms, *more.loads_ms],
            firsts_ms=[*self.firsts_ms, *more.firsts_ms],
            warm_up_runs=self.warm_up_runs + more.warm_up_runs,
            peak_rss_bytes=max(self.peak_rss_bytes, more.peak_rss_bytes),
            mhz=[*self.mhz, *more.mhz],
            info=self.info,
            error=self.error or more.error,
        )

    @property
    def drifted(self) -> bool:
        """Whether the blocks show a trend (heat, other load on the machine) or the clock changed."""
        if self.mhz and max(self.mhz) > (1 + FREQUENCY_CHANGE) * min(self.mhz):
            return True
        return bool(self.sessions_ms.size) and trend(np.median(self.sessions_ms, axis=2).reshape(-1)).exceeds()


def measure(
    programs: Mapping[str, TimedModel],
    seconds: float,
    *,
    sessions: int = SESSIONS,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timing]:
    """Times all programs, interleaved. One that fails keeps its error and is skipped; the others continue.

    Args:
        seconds: Approximate time for all runs together, without opening and warm-up; a slow program still gets two
            runs per session.
        sessions: Upper limit; fewer once the intervals are narrow (`NARROW`), or if they take much longer than
            `seconds` (`ENOUGH`).
    """
    return _measured(programs, seconds, sessions, None, progress, clock)[0]


def _measured(
    programs: Mapping[str, TimedModel],
    seconds: float,
    sessions: int,
    plan: _Plan | None,
    progress: Progress,
    clock: Callable[[], float],
) -> tuple[dict[str, Timing], _Plan | None]:
    """Returns the times and the plan; without a plan, the first session makes one."""
    timings = {name: Timing() for name in programs}
    taken: dict[str, list[np.ndarray]] = {name: [] for name in programs}
    order, shuffle = list(programs), random.Random(0).shuffle
    start = clock()
    with progress("timing", sessions) as bar:
        for number in range(1, sessions + 1):
            order = [name for name in reversed(order) if timings[name].error is None]
            if not order:
                break
            if number % 2:  # every second session has the reverse order, so that no program is first more often
                shuffle(order)
            with ExitStack() as stack:
                part_ms = seconds * 1e3 / sessions
                turn = _Turn(programs, order, timings, stack, part_ms / len(order))
                if plan is None:
                    plan = _Plan.of(turn.estimate_ms, part_ms)
                for name, blocks in turn.blocks(plan).items():
                    taken[name].append(blocks)
            bar.advance()
            whole = [np.stack(found) for found in taken.values() if len(found) == number]
            if _enough(number, clock() - start, seconds) or (number >= NARROW_SESSIONS and _width(whole) <= NARROW):
                break
    for name, found in taken.items():
        if found:
            timings[name].sessions_ms = np.stack(found)
    return timings, plan


def _enough(sessions: int, spent_s: float, seconds: float) -> bool:
    """The number of sessions: fewer for programs that run or open slowly; an interval needs at least three."""
    return any(sessions >= least and spent_s > factor * seconds for least, factor in ENOUGH)


def measure_steadily(
    programs: Mapping[str, TimedModel],
    seconds: float,
    *,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timing]:
    """Repeats `measure` while its result is undecided, up to `AGAIN_WITHIN` times the requested time.

    A run with drift is discarded once. If intervals are wide because the machine is busy, a steady run replaces the
    previous one, and the sessions of an unsteady run are added. The stopping rule uses the width and not the ratio, so
    it does not bias the result (Chow and Robbins, "On the Asymptotic Theory of Fixed-Width Sequential Confidence
    Intervals for the Mean", 1965).
    """
    start, rounds = clock(), 1
    timings, plan = _measured(programs, seconds, SESSIONS, None, progress, clock)
    while rounds < MOST_ROUNDS and clock() - start <= AGAIN_WITHIN * seconds:
        if rounds == 1 and any(timing.drifted for timing in timings.values()):
            timings, plan = _measured(programs, seconds, SESSIONS, None, progress, clock)
        elif _is_wide(timings):
            sound = {name: program for name, program in programs.items() if timings[name].error is None}
            more, _ = _measured(sound, seconds, SESSIONS, plan, progress, clock)
            calm = not _is_wide(more) and all(timing.error is None for timing in more.values())
            timings |= {name: more[name] if calm else timings[name].joined(more[name]) for name in sound}
        else:
            break
        rounds += 1
    return timings


def _is_wide(timings: Mapping[str, Timing]) -> bool:
    """Whether a ratio to the first program is too uncertain; for a single program, its time."""
    return _width([timing.sessions_ms for timing in timings.values() if timing.error is None]) > WIDE


def _width(samples: Sequence[np.ndarray]) -> float:
    """The upper half-width of an interval of a ratio to the first program, relative to the ratio; the widest one.

    Infinite without an interval; of a single program, the interval of its time; 0 of none.
    """
    samples = [one for one in samples if one.size]
    if not samples:
        return 0.0
    first, *others = samples
    pairs = [(other, first) for other in others] or [(first, np.ones_like(first))]
    ratios = [latency_ratio(*pair) for pair in pairs]
    return max(math.inf if one.interval is None else one.interval[1] / one.value - 1 for one in ratios)


@dataclass(frozen=True)
class _Plan:
    """Number of blocks per session, and of each program's runs in half a block; the same for all sessions."""

    blocks: int
    runs: dict[str, int]

    @classmethod
    def of(cls, estimate_ms: Mapping[str, float], session_ms: float) -> _Plan:
        """Plans fewer blocks for slow programs, so that no session takes much longer than its part of the time."""
        blocks = max(1, min(BLOCKS, int(session_ms / max(2 * sum(estimate_ms.values()), 1e-3))))
        share_ms = session_ms / blocks / max(len(estimate_ms), 1) / 2
        return cls(blocks, {name: max(1, int(share_ms / ms)) for name, ms in estimate_ms.items()})


class _Turn:
    """One session of every program; all are opened in `stack` and warmed up."""

    def __init__(
        self,
        programs: Mapping[str, TimedModel],
        order: Sequence[str],
        timings: dict[str, Timing],
        stack: ExitStack,
        longest_warm_up_ms: float,
    ) -> None:
        longest_ms = min(MOST_WARM_UP_MS, max(LEAST_WARM_UP_MS, longest_warm_up_ms))
        self._programs, self._order, self._timings = programs, order, timings
        self._sessions: dict[str, Session] = {}
        self.estimate_ms: dict[str, float] = {}
        for name in order:
            with capture_error(timings[name]):
                session = programs[name].open()
                stack.callback(session.close)
                self._sessions[name] = session
                self.estimate_ms[name] = _warm_up(session, programs[name].tensors, timings[name], longest_ms)

    def blocks(self, plan: _Plan) -> dict[str, np.ndarray]:
        """(blocks, runs) of every program that did not fail."""
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.estimate_ms}
        for _ in range(plan.blocks):
            order = [name for name in found if self._timings[name].error is None]
            if mhz := processor_mhz():
                for name in order:
                    self._timings[name].mhz.append(mhz)
            halves: dict[str, list[np.ndarray]] = {name: [] for name in order}
            for name in (*order, *reversed(order)):
                timing = self._timings[name]
                if timing.error is not None:  # a second error would only report that the process is gone
                    continue
                with capture_error(timing):
                    halves[name].append(self._sessions[name].bench(self._programs[name].tensors, plan.runs[name]))
            for name, parts in halves.items():
                if len(parts) == 2:
                    found[name].append(np.concatenate(parts))
        for name, session in self._sessions.items():
            timing = self._timings[name]
            timing.peak_rss_bytes = max(timing.peak_rss_bytes, session.peak_rss_bytes())
        return {name: np.stack(blocks) for name, blocks in found.items() if len(blocks) == plan.blocks}


def _warm_up(session: Session, tensors: Sequence[np.ndarray], timing: Timing, longest_ms: float) -> float:
    """Runs until two consecutive medians agree; returns milliseconds per run."""
    first_ms = float(session.bench(tensors, 1)[0])
    samples: list[float] = []
    spent_ms = first_ms
    while len(samples) < MOST_WARM_UP_RUNS and spent_ms < longest_ms and not is_warm(samples):
        samples += [float(value) for value in session.bench(tensors, 2)]
        spent_ms += sum(samples[-2:])
    timing.info = session.info
    timing.loads_ms.append(session.info.load_ms)
    timing.firsts_ms.append(first_ms)
    timing.warm_up_runs += len(samples) + 1
    return max(float(np.median(samples[-5:])), 1e-3) if samples else first_ms
