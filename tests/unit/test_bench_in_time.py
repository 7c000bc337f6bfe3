"""Many slow runs are no hang: a session asks for as many at a time as its time limit has room for."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import subject

from segexport.errors import WorkerTimeout
from segexport.process.worker import Worker
from segexport.runtimes.base import RunOptions, WorkerSession

SLOW = """
import time
import numpy as np

def open_model(arguments, arrays):
    return {"version": "1", "provider": "none", "device": "cpu", "load_ms": 1.0}, []

def bench(arguments, arrays):
    time.sleep(arguments["runs"] * 0.1)
    return {}, [np.full(arguments["runs"], 100.0)]

COMMANDS = {"open": open_model, "bench": bench}
"""


@pytest.fixture
def session(tmp_path):
    (tmp_path / "slow_worker.py").write_text(SLOW)
    worker = Worker(tmp_path / "slow_worker.py", needs="json", name="slow")
    artifact = subject().artifact
    with WorkerSession("slow", worker, artifact, RunOptions(timeout_s=1.0), {}) as opened:
        spec = artifact.manifest.inputs[0]
        tensor = np.zeros([max(size, 1) for size in spec.shape], spec.dtype)
        yield opened, tensor


def test_runs_that_take_longer_than_the_limit_together(session):
    opened, tensor = session
    assert opened.bench([tensor], 15).tolist() == [100.0] * 15


def test_one_run_that_takes_longer_than_the_limit_is_a_hang(session):
    opened, tensor = session
    opened._slowest_ms = 0.001  # what it took so far says nothing about this time
    with pytest.raises(WorkerTimeout, match="no answer to 'bench' in 1 s"):
        opened.bench([tensor], 15)
