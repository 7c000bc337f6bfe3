"""Interleaved timing, on a clock that is worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeSession

from segexport.errors import WorkerCrashed
from segexport.measure import latency

X = [np.zeros((1, 3, 2, 2), np.float32)]


@pytest.fixture(autouse=True)
def steady_processor(monkeypatch):
    monkeypatch.setattr(latency, "processor_mhz", lambda: 0.0)


class Recorder(FakeSession):
    """Writes its name down for every call of `bench`, and moves a shared clock on."""

    def __init__(self, name: str, log: list, clock: list[float], ms: float, **options) -> None:
        super().__init__(lambda x: x[0, 0].astype(np.uint8), bench_ms=lambda _: ms, **options)
        self._name, self._log, self._clock = name, log, clock

    def bench(self, tensors, runs):
        times = super().bench(tensors, runs)
        self._log.append((self._name, runs))
        self._clock[0] += times.sum() / 1e3
        return times


def measured(seconds: float, blocks: int = 4, **times_ms: float):
    log, clock = [], [0.0]
    sessions = {name: (Recorder(name, log, clock, ms), X) for name, ms in times_ms.items()}
    found = latency.measure(sessions, seconds, blocks=blocks, clock=lambda: clock[0])
    return found, log, clock[0]


def test_blocks_run_abba():
    found, log, _ = measured(0.0, a=10, b=20, c=30)
    first_block = log[-4 * 6 : -3 * 6]
    assert first_block == [("a", 1), ("b", 1), ("c", 1), ("c", 1), ("b", 1), ("a", 1)]
    assert log[-6:] == first_block
    assert found["b"].blocks_ms.shape == (4, 2)
    assert (found["b"].blocks_ms == 20).all()


def test_runs_fill_the_time_and_a_fast_program_gets_more():
    # 8 s over 4 blocks, 2 programs and 2 halves are 500 ms: 50 runs of 10 ms, 5 of 100 ms.
    found, log, _ = measured(8.0, fast=10, slow=100)
    assert {runs for name, runs in log[-16:] if name == "fast"} == {50}
    assert {runs for name, runs in log[-16:] if name == "slow"} == {5}
    assert found["fast"].samples_ms.shape == (400,)


def test_the_first_run_is_kept_apart_and_the_warm_up_thrown_away():
    times = [500.0, *[80.0, 60.0, 50.0, 40.0, 30.0], *[10.0] * 1000]
    session = FakeSession(lambda x: x, bench_ms=lambda run: times[run])
    timing = latency.measure({"a": (session, X)}, 0.0, blocks=4)["a"]
    assert (timing.load_ms, timing.first_ms) == (3.0, 500.0)
    assert timing.warm_up_runs >= 10
    assert (timing.samples_ms == 10).all()


def test_a_program_that_never_gets_steady_ends_its_warm_up():
    session = FakeSession(lambda x: x, bench_ms=lambda run: 1.0 + 10.0 * (run // 5 % 2))
    timing = latency.measure({"a": (session, X)}, 0.0, blocks=4)["a"]
    assert timing.warm_up_runs <= latency.MOST_WARM_UP_RUNS + 2
    slow = FakeSession(lambda x: x, bench_ms=lambda run: 4000.0 + 4000.0 * (run % 3))
    assert latency.measure({"a": (slow, X)}, 0.0, blocks=4)["a"].warm_up_runs <= 6


def test_a_slow_program_gets_fewer_blocks_but_four():
    found, _, spent = measured(1.0, blocks=12, slow=1000)
    assert found["slow"].blocks_ms.shape == (4, 2)
    assert spent < 30


class Dying(FakeSession):
    """Crashes at its n-th benchmark and says another thing afterwards."""

    def __init__(self, dies_at: int) -> None:
        super().__init__(lambda x: x)
        self._calls, self._dies_at = 0, dies_at

    def bench(self, tensors, runs):
        self._calls += 1
        if self._calls == self._dies_at:
            raise WorkerCrashed("the process was killed by SIGSEGV")
        if self._calls > self._dies_at:
            raise WorkerCrashed("the process is gone")
        return super().bench(tensors, runs)


@pytest.mark.parametrize("dies_at", [1, 2, 8, 9, 20])
def test_one_that_dies_keeps_its_first_error_and_the_others_go_on(dies_at):
    log, clock = [], [0.0]
    sessions = {"dying": (Dying(dies_at), X), "sound": (Recorder("sound", log, clock, 5.0), X)}
    found = latency.measure(sessions, 1.0, blocks=8, clock=lambda: clock[0])
    assert found["dying"].error.what == "the process was killed by SIGSEGV"
    assert found["sound"].error is None
    assert len(found["sound"].blocks_ms) == 8


def test_all_of_them_dying_is_no_crash_of_ours():
    found = latency.measure({"a": (Dying(1), X), "b": (Dying(2), X)}, 1.0)
    assert all(timing.error is not None and not timing.samples_ms.size for timing in found.values())


def drifting(first: float, last: float, blocks: int = 12) -> latency.Timing:
    timing = latency.Timing(0.0)
    timing.blocks_ms = np.repeat(np.linspace(first, last, blocks)[:, None], 4, axis=1)
    return timing


def test_a_trend_or_another_clock_is_a_drift():
    assert not drifting(10, 10).drifted
    assert drifting(10, 14).drifted
    assert not latency.Timing(0.0).drifted
    steady = drifting(10, 10)
    steady.mhz = [2000, 2100]
    assert not steady.drifted
    steady.mhz = [2000, 2300]
    assert steady.drifted


def test_a_drifting_measurement_is_made_again(monkeypatch):
    results = [{"a": drifting(10, 14)}, {"a": drifting(10, 10)}, {"a": drifting(10, 14)}]
    calls = []
    monkeypatch.setattr(latency, "measure", lambda *_, **__: results[calls.append(1) or len(calls) - 1])
    assert latency.measure_steadily({}, 1.0) == results[1]
    assert len(calls) == 2
    calls.clear()
    results[1] = results[0]
    assert latency.measure_steadily({}, 1.0) == results[2]
    assert len(calls) == 3
