"""Times the reference and the exports in turn, so that a busy or throttling machine hits all of them alike.

Blocks run A B C C B A: each program meets the same drift. Times are taken inside the workers, around inference only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segexport.errors import SegexportError, kept_in
from segexport.measure.environment import processor_mhz
from segexport.measure.latency_statistics import is_warm, trend
from segexport.progress import Progress, silent

if TYPE_CHECKING:
    from segexport.runtimes.base import Session

BLOCKS = 12
LEAST_RUNS = 2
MOST_WARM_UP_RUNS = 30
MOST_WARM_UP_MS = 5000.0
FREQUENCY_CHANGE = 0.1  # of the processor's clock within one measurement


@dataclass
class Timing:
    """Raw times of one program.

    Attributes:
        first_ms: The first run after loading.
        blocks_ms: (blocks, runs) float64, in the order taken; the runs of a block's two halves stand side by side.
        warm_up_runs: Runs that were thrown away before.
        mhz: The processor's frequency at the start of each block; empty where the system does not say.
    """

    load_ms: float
    first_ms: float = 0.0
    warm_up_runs: int = 0
    blocks_ms: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    mhz: list[float] = field(default_factory=list)
    error: SegexportError | None = None

    @property
    def samples_ms(self) -> np.ndarray:
        return self.blocks_ms.reshape(-1)

    @property
    def drifted(self) -> bool:
        """Whether the blocks show a trend (a machine that heats up, or gets another guest) or its clock changed."""
        if self.mhz and max(self.mhz) > (1 + FREQUENCY_CHANGE) * min(self.mhz):
            return True
        return bool(self.blocks_ms.size) and trend(np.median(self.blocks_ms, axis=1)).exceeds()


def measure(
    sessions: Mapping[str, tuple[Session, Sequence[np.ndarray]]],
    seconds: float,
    *,
    blocks: int = BLOCKS,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Timing]:
    """Times all sessions, interleaved.

    Args:
        sessions: Name -> session and the tensors of one image.
        seconds: Time for all blocks together, about; a slow program gets its `LEAST_RUNS` per block all the same.
        blocks: Upper limit of blocks; fewer when they would take more than twice `seconds`.
    """
    timings = {name: Timing(session.info.load_ms) for name, (session, _) in sessions.items()}
    estimate_ms = {}
    for name, (session, tensors) in sessions.items():
        with kept_in(timings[name]):
            estimate_ms[name] = _warm_up(session, tensors, timings[name])
    if not estimate_ms:
        return timings
    share_ms = seconds * 1e3 / blocks / len(estimate_ms) / 2
    runs = {name: max(LEAST_RUNS // 2, int(share_ms / ms)) for name, ms in estimate_ms.items()}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in estimate_ms}
    start = clock()
    with progress("timing", blocks) as bar:
        for block in range(blocks):
            order = [name for name in samples if timings[name].error is None]
            if mhz := processor_mhz():
                for name in order:
                    timings[name].mhz.append(mhz)
            halves: dict[str, list[np.ndarray]] = {name: [] for name in order}
            for name in (*order, *reversed(order)):
                session, tensors = sessions[name]
                if timings[name].error is not None:  # the second error would only say that it is gone
                    continue
                with kept_in(timings[name]):
                    halves[name].append(session.bench(tensors, runs[name]))
            for name, parts in halves.items():
                if len(parts) == 2:
                    samples[name].append(np.concatenate(parts))
            bar.advance()
            if clock() - start > 2 * seconds and block >= 3:
                break
    for name, rows in samples.items():
        if rows:
            timings[name].blocks_ms = np.stack(rows)
    return timings


def measure_steadily(
    sessions: Mapping[str, tuple[Session, Sequence[np.ndarray]]],
    seconds: float,
    *,
    attempts: int = 3,
    progress: Progress = silent,
) -> dict[str, Timing]:
    """`measure`, again when the machine drifted in the meantime: such a run decides nothing."""
    for _ in range(attempts):
        timings = measure(sessions, seconds, progress=progress)
        if not any(timing.drifted for timing in timings.values()):
            break
    return timings


def _warm_up(session: Session, tensors: Sequence[np.ndarray], timing: Timing) -> float:
    """Runs until two medians in a row agree; returns milliseconds per run."""
    timing.first_ms = float(session.bench(tensors, 1)[0])
    samples: list[float] = []
    spent_ms = timing.first_ms
    while len(samples) < MOST_WARM_UP_RUNS and spent_ms < MOST_WARM_UP_MS and not is_warm(samples):
        samples += [float(value) for value in session.bench(tensors, 2)]
        spent_ms += sum(samples[-2:])
    timing.warm_up_runs = len(samples) + 1
    return max(float(np.median(samples[-5:])), 1e-3) if samples else timing.first_ms
