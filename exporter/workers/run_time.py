"""Times models in turns by processor time, which other processes disturb less than the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import onnx
from float_model import session_of
from output_comparison import run

_ROUNDS = 15
_SECONDS = 4.0  # for all; three rounds at least


def time_ratios(models: Sequence[onnx.ModelProto], arrays: list[np.ndarray]) -> list[float]:
    """The processor time of each model relative to the first's, as the median of rounds in which each runs once."""
    sessions = [session_of(model) for model in models]
    for session in sessions:
        run(session, arrays)
    start, rounds = time.process_time(), []
    while len(rounds) < _ROUNDS and (len(rounds) < 3 or time.process_time() - start < _SECONDS):
        rounds.append([_seconds(session, arrays) for session in sessions])
    found = np.array(rounds)
    return [float(ratio) for ratio in np.median(found / found[:, :1], axis=0)]


def _seconds(session, arrays: list[np.ndarray]) -> float:
    start = time.process_time()
    run(session, arrays)
    return time.process_time() - start
