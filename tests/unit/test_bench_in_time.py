"""Many slow runs are no hang: a session asks for as many at a time as its time limit has room for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from recordings import subject

from segexport.errors import WorkerTimeout
from segexport.runtimes.base import RunOptions, WorkerSession

RUN_S = 0.1


@dataclass
class Slow:
    """A worker that takes `RUN_S` for each run, by a fake clock."""

    asked: list[int] = field(default_factory=list)

    def call(self, command, arguments, tensors=(), *, timeout_s):
        if command == "open":
            return {"version": "1", "provider": "none", "device": "cpu", "load_ms": 1.0}, []
        self.asked.append(arguments["runs"])
        if arguments["runs"] * RUN_S > timeout_s:
            raise WorkerTimeout(f"slow: no answer to {command!r} in {timeout_s:g} s; the process was ended")
        return {}, [np.full(arguments["runs"], RUN_S * 1e3)]


@pytest.fixture
def worker() -> Slow:
    return Slow()


@pytest.fixture
def session(worker):
    return WorkerSession("slow", worker, subject().artifact, RunOptions(timeout_s=1.0), {})


@pytest.fixture
def tensor():
    spec = subject().artifact.manifest.inputs[0]
    return np.zeros([max(size, 1) for size in spec.shape], spec.dtype)


def test_runs_that_take_longer_than_the_limit_together(session, worker, tensor):
    assert session.bench([tensor], 15).tolist() == [100.0] * 15
    assert worker.asked[0] == 1  # nothing is known yet
    assert max(worker.asked) * RUN_S <= 0.25  # a machine may become four times slower


def test_one_run_that_takes_longer_than_the_limit_is_a_hang(session, tensor):
    session._slowest_ms = 0.001  # what it took so far says nothing about this time
    with pytest.raises(WorkerTimeout, match="no answer to 'bench' in 1 s"):
        session.bench([tensor], 15)
