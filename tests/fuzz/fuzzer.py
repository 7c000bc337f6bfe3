"""Harms good files and lets a reader read them: an answer, or an error raised on purpose, and nothing else."""

from __future__ import annotations

import random
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from readers import Reader, Seed

from segexport.errors import SegexportError

SLOW_S = 10.0  # of processor time, for files of some kilobytes


@dataclass
class Outcome:
    """What became of a reader's inputs.

    Attributes:
        inputs: How many it was given.
        read: How many of them it took.
        tracebacks: The last lines of each other end than an answer or an error raised on purpose, with the input.
        slow: Inputs that took more than `SLOW_S`.
        slowest_s: Processor time of the slowest input.
    """

    inputs: int = 0
    read: int = 0
    tracebacks: dict[str, bytes] = field(default_factory=dict)
    slow: list[bytes] = field(default_factory=list)
    slowest_s: float = 0.0

    @property
    def refused(self) -> int:
        return self.inputs - self.read - len(self.tracebacks)


def fuzz(
    reader: Reader, count: int, *, number: int = 0, before: Callable[[bytes], object] = lambda data: None
) -> Outcome:
    """Gives a reader `count` harmed files.

    Args:
        number: Of the series of inputs: the same number gives the same ones.
        before: Told each input before it is read: whoever watches for a reader that never ends.
    """
    outcome, seeds = Outcome(), reader.seeds()

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), st.randoms(use_true_random=True))
    def one(good: Seed, chance: random.Random) -> None:
        data = reader.edit(chance, good.files[good.name])
        before(data)
        _read(reader, good, data, outcome)

    one()
    return outcome


def _read(reader: Reader, good: Seed, data: bytes, outcome: Outcome) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name, content in (good.files | {good.name: data}).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        outcome.inputs += 1
        start = time.process_time()
        try:
            reader.read(root / good.name)
            outcome.read += 1
        except SegexportError as error:
            str(error).encode("utf-8", "backslashreplace")
        except Exception:
            outcome.tracebacks["".join(traceback.format_exc(limit=-4))[-1500:]] = data
        taken = time.process_time() - start
        outcome.slowest_s = max(outcome.slowest_s, taken)
        if taken > SLOW_S:
            outcome.slow.append(data)
