"""Interleaved timing in several sessions, on a clock that is worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fakes import FakeSession

from segexport.errors import WorkerCrashed
from segexport.judge.cost_gates import latency_check
from segexport.measure import latency
from segexport.measure.latency_statistics import latency_ratio
from segexport.recipe.limits import Limits
from segexport.verdict import Verdict

X = [np.zeros((1, 3, 2, 2), np.float32)]


@pytest.fixture(autouse=True)
def steady_processor(monkeypatch):
    monkeypatch.setattr(latency, "processor_mhz", lambda: 0.0)


class Recorder(FakeSession):
    """Writes its name down for everything that is done with it, and moves a shared clock on."""

    def __init__(self, name: str, log: list, clock: list[float], ms: float, **options) -> None:
        super().__init__(lambda x: x[0, 0].astype(np.uint8), bench_ms=lambda _: ms, **options)
        self._name, self._log, self._clock = name, log, clock
        log.append((name, "open"))

    def bench(self, tensors, runs):
        times = super().bench(tensors, runs)
        self._log.append((self._name, runs))
        self._clock[0] += times.sum() / 1e3
        return times

    def close(self) -> None:
        self._log.append((self._name, "close"))
        super().close()


def program(open_session: Callable[[], FakeSession]) -> latency.TimedModel:
    return latency.TimedModel(open_session, X)


def measured(seconds: float, **times_ms: float):
    log, clock = [], [0.0]
    programs = {name: program(lambda n=name, ms=ms: Recorder(n, log, clock, ms)) for name, ms in times_ms.items()}
    found = latency.measure(programs, seconds, clock=lambda: clock[0])
    return found, log, clock[0]


def sessions_of(log: list) -> list[list]:
    """The log cut where a session's first program is opened."""
    starts = [
        place
        for place, entry in enumerate(log)
        if entry[1] == "open" and (place == 0 or log[place - 1][1] in ("close",))
    ]
    return [log[start:end] for start, end in zip(starts, [*starts[1:], len(log)], strict=True)]


def test_every_session_opens_all_programs_and_closes_them():
    _, log, _ = measured(0.0, a=10, b=20, c=30)
    sessions = sessions_of(log)
    assert len(sessions) == latency.MIN_SESSIONS
    for session in sessions:
        assert sorted(name for name, what in session if what == "open") == ["a", "b", "c"]
        assert sorted(name for name, what in session[-3:] if what == "close") == ["a", "b", "c"]
    orders = [[name for name, what in session if what == "open"] for session in sessions]
    assert orders[1] == orders[0][::-1]


def test_blocks_run_abba():
    found, log, _ = measured(0.0, a=10, b=20, c=30)
    for session in sessions_of(log):
        names = [name for name, what in session if what == 1][-6:]
        assert sorted(names[:3]) == ["a", "b", "c"]
        assert names[3:] == names[2::-1]
    assert found["b"].sessions_ms.shape == (3, 1, 2)
    assert (found["b"].sessions_ms == 20).all()


def test_runs_fill_the_time_and_a_fast_program_gets_more():
    # 24 s over 8 sessions of 3 blocks, 2 programs and 2 halves are 250 ms: 25 runs of 10 ms, 2 of 100 ms. Times that
    # are always the same need no more than 4 sessions.
    found, log, _ = measured(24.0, fast=10, slow=100)
    blocks = sessions_of(log)[-1][-2 - 12 : -2]
    assert {runs for name, runs in blocks if name == "fast"} == {25}
    assert {runs for name, runs in blocks if name == "slow"} == {2}
    assert found["fast"].sessions_ms.shape == (4, 3, 50)
    assert found["slow"].samples_ms.shape == (4 * 3 * 4,)


def test_slow_programs_get_one_block_and_fewer_sessions():
    found, _, spent = measured(20.0, slow=3000)  # a session is 9 s: the first run, and both halves of the block
    assert (found["slow"].sessions_ms.shape, spent) == ((4, 1, 2), 36.0)
    found, _, spent = measured(1.0, slow=3000)
    assert (found["slow"].sessions_ms.shape, spent) == ((3, 1, 2), 27.0)


def test_the_first_run_of_each_session_is_kept_apart_and_the_warm_up_thrown_away():
    times = [500.0, *[80.0, 60.0, 50.0, 40.0, 30.0], *[10.0] * 1000]
    timing = latency.measure({"a": program(lambda: FakeSession(lambda x: x, bench_ms=lambda run: times[run]))}, 16.0)[
        "a"
    ]
    assert (timing.load_ms, timing.first_ms) == (3.0, 500.0)
    assert timing.firsts_ms == [500.0] * latency.NARROW_SESSIONS
    assert timing.warm_up_runs >= latency.NARROW_SESSIONS * 10
    assert (timing.samples_ms == 10).all()
    assert timing.info.runtime == "fake"


def test_a_program_that_never_gets_steady_ends_its_warm_up():
    def runs(bench_ms) -> int:
        found = latency.measure({"a": program(lambda: FakeSession(lambda x: x, bench_ms=bench_ms))}, 0.0)["a"]
        return found.warm_up_runs / len(found.sessions_ms)

    assert runs(lambda run: 1.0 + 10.0 * (run // 5 % 2)) <= latency.MOST_WARM_UP_RUNS + 2
    assert runs(lambda run: 4000.0 + 4000.0 * (run % 3)) == 1


def test_the_most_memory_of_all_sessions_is_kept():
    class Growing(FakeSession):
        def peak_rss_bytes(self) -> int:
            return next(peaks)

    peaks = iter([5, 9, 7, 6, 5, 4, 3, 2])
    assert latency.measure({"a": program(lambda: Growing(lambda x: x))}, 0.0)["a"].peak_rss_bytes == 9


class Dying(FakeSession):
    """Crashes at its n-th benchmark and says another thing afterwards."""

    def __init__(self, dies_at: int, calls: list[int]) -> None:
        super().__init__(lambda x: x)
        self._calls, self._dies_at = calls, dies_at

    def bench(self, tensors, runs):
        self._calls[0] += 1
        if self._calls[0] == self._dies_at:
            raise WorkerCrashed("the process was killed by SIGSEGV")
        if self._calls[0] > self._dies_at:
            raise WorkerCrashed("the process is gone")
        return super().bench(tensors, runs)


def dying(dies_at: int) -> latency.TimedModel:
    calls = [0]
    return program(lambda: Dying(dies_at, calls))


@pytest.mark.parametrize("dies_at", [1, 2, 8, 9, 20, 40])
def test_one_that_dies_keeps_its_first_error_and_the_others_go_on(dies_at):
    log, clock = [], [0.0]
    programs = {"dying": dying(dies_at), "sound": program(lambda: Recorder("sound", log, clock, 5.0))}
    found = latency.measure(programs, 1.0, clock=lambda: clock[0])
    assert found["dying"].error.what == "the process was killed by SIGSEGV"
    assert found["sound"].error is None
    assert len(found["sound"].sessions_ms) >= latency.NARROW_SESSIONS


def test_one_that_cannot_be_opened_again_keeps_its_error():
    opened = []

    def once() -> FakeSession:
        if opened:
            raise WorkerCrashed("the process cannot be started")
        opened.append(FakeSession(lambda x: x))
        return opened[0]

    found = latency.measure({"a": program(once), "b": program(lambda: FakeSession(lambda x: x))}, 0.0)
    assert found["a"].error.what == "the process cannot be started"
    assert opened[0].closed
    assert len(found["b"].sessions_ms) == latency.MIN_SESSIONS


def test_all_of_them_dying_is_no_crash_of_ours():
    found = latency.measure({"a": dying(1), "b": dying(2)}, 1.0)
    assert all(timing.error is not None and not timing.samples_ms.size for timing in found.values())


def drifting(first: float, last: float, sessions: int = 4) -> latency.Timing:
    blocks = np.linspace(first, last, sessions * 3)
    return latency.Timing(sessions_ms=np.repeat(blocks.reshape(sessions, 3, 1), 4, axis=2))


def test_a_trend_or_another_clock_is_a_drift():
    assert not drifting(10, 10).drifted
    assert drifting(10, 14).drifted
    assert not latency.Timing().drifted
    steady = drifting(10, 10)
    steady.mhz = [2000, 2100]
    assert not steady.drifted
    steady.mhz = [2000, 2300]
    assert steady.drifted


@pytest.mark.parametrize(("first", "takes_s", "calls"), [((10, 14), 30.0, 2), ((10, 14), 41.0, 1), ((10, 10), 5.0, 1)])
def test_a_drifting_measurement_is_made_once_more_where_time_allows_it(monkeypatch, first, takes_s, calls):
    results, made, clock = [{"a": drifting(*first)}, {"a": drifting(10, 10)}], [], [0.0]

    def measured(*_, **__):
        clock[0] += takes_s
        made.append(results[len(made)])
        return made[-1], None

    monkeypatch.setattr(latency, "_measured", measured)
    assert latency.measure_steadily({}, 10.0, clock=lambda: clock[0]) is results[calls - 1]
    assert len(made) == calls


def busy(times_ms: dict[str, float], *, noise: float, calm_after: int = 10**6, session_s: float = 0.0):
    """`measure_steadily` on a machine whose processes take up to `noise` times as long, by chance, for a while.

    Returns:
        The timings, and how many processes of each program were started.
    """
    clock, opened = [0.0], dict.fromkeys(times_ms, 0)

    def open_session(name: str, ms: float) -> FakeSession:
        opened[name] += 1
        clock[0] += session_s
        draw = np.random.default_rng([opened[name], *name.encode()]).random()
        slow = 1 + noise * draw if opened[name] <= calm_after else 1.0
        return FakeSession(lambda x: x[0, 0].astype(np.uint8), bench_ms=lambda _: ms * slow)

    programs = {name: program(lambda n=name, ms=ms: open_session(n, ms)) for name, ms in times_ms.items()}
    return latency.measure_steadily(programs, 10.0, clock=lambda: clock[0]), opened


def test_a_quiet_machine_is_asked_once():
    _, opened = busy({"fp32": 10.0, "int8": 6.0}, noise=0.0)
    assert opened == {"fp32": latency.NARROW_SESSIONS, "int8": latency.NARROW_SESSIONS}


def varying(seed: int, sd: float) -> Callable[[], FakeSession]:
    """Opens processes whose runs take 10 ms, times a factor of each process."""
    draw = np.random.default_rng(seed)

    def open_session() -> FakeSession:
        own_ms = 10 * float(np.exp(draw.normal(0, sd)))
        return FakeSession(lambda x: x, bench_ms=lambda _: own_ms)

    return open_session


@pytest.mark.parametrize(("sd", "least", "most"), [(0.002, 4, 4), (0.02, 4, 7), (0.2, 8, 8)])
def test_sessions_end_when_the_interval_is_narrow(sd, least, most):
    """Processes that differ by 0.2 % need four, by 2 % a few more, by 20 % all."""
    counts = []
    for seed in range(10):
        programs = dict.fromkeys(("left", "right"), program(varying(seed, sd)))
        found = latency.measure(programs, 10.0, clock=lambda: 0.0)
        counts.append(len(found["left"].sessions_ms))
        ratio = latency_ratio(found["right"].sessions_ms, found["left"].sessions_ms)
        assert len(found["left"].sessions_ms) == latency.SESSIONS or ratio.interval[1] <= 1.03 * ratio.value
    assert least <= np.mean(counts) <= most


def test_two_seconds_take_seconds():
    """Opening takes 2 s, a run 20 ms: beyond four times what was asked for, three sessions are enough."""
    clock, rng = [0.0], np.random.default_rng(0)

    class Slow(FakeSession):
        def bench(self, tensors, runs):
            times = super().bench(tensors, runs)
            clock[0] += times.sum() / 1e3
            return times

    def open_session() -> FakeSession:
        clock[0] += 2.0
        return Slow(lambda x: x, bench_ms=lambda _: 20.0 * np.exp(rng.normal(0, 0.2)))

    found = latency.measure_steadily(
        {name: program(open_session) for name in ("paddle", "onnx")}, 2.0, clock=lambda: clock[0]
    )
    assert len(found["onnx"].sessions_ms) == latency.MIN_SESSIONS
    assert clock[0] < 18.0  # six openings take 12 s


def test_a_busy_machine_is_asked_again_and_a_calm_run_stands_alone():
    found, opened = busy({"left": 10.0, "right": 10.0}, noise=0.6, calm_after=8)
    assert opened["left"] == latency.SESSIONS + latency.NARROW_SESSIONS
    assert (found["right"].samples_ms == 10.0).all()
    assert len(found["right"].loads_ms) == latency.NARROW_SESSIONS


def test_sessions_of_a_busy_machine_are_put_together():
    found, opened = busy({"left": 10.0, "right": 10.0}, noise=0.6)
    assert opened["left"] > latency.SESSIONS
    assert len(found["right"].sessions_ms) == len(found["right"].loads_ms) == opened["right"]
    few, all_ = (
        latency_ratio(found["right"].sessions_ms[:count], found["left"].sessions_ms[:count])
        for count in (latency.SESSIONS, opened["left"])
    )
    assert all_.interval[1] / all_.interval[0] < few.interval[1] / few.interval[0]


def test_asking_again_has_an_end():
    _, opened = busy({"fp32": 10.0, "int8": 10.0}, noise=30.0)
    assert opened["fp32"] == latency.MOST_ROUNDS * latency.SESSIONS
    _, opened = busy({"fp32": 10.0, "int8": 10.0}, noise=30.0, session_s=3.0)
    assert opened["fp32"] == 8  # four sessions take 24 s, and as many again: beyond four times what was asked for


def test_one_program_alone_is_asked_again_too():
    assert busy({"int8": 10.0}, noise=9.0)[1] == {"int8": latency.MOST_ROUNDS * latency.SESSIONS}
    assert busy({"int8": 10.0}, noise=0.0)[1] == {"int8": latency.NARROW_SESSIONS}


def test_one_that_dies_in_the_second_round_keeps_what_it_had():
    started = [0]

    def open_session() -> FakeSession:
        started[0] += 1
        if started[0] > latency.SESSIONS + 3:
            return Dying(3, [0])
        slow = 1 + np.random.default_rng(started[0]).random()
        return FakeSession(lambda x: x, bench_ms=lambda _: 10.0 * slow)

    found = latency.measure_steadily({"a": program(open_session)}, 10.0, clock=lambda: 0.0)["a"]
    assert found.error.what == "the process was killed by SIGSEGV"
    assert len(found.sessions_ms) == latency.SESSIONS


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0, 5.0])
def test_an_unchanged_export_is_not_found_slower_and_a_slower_one_is_on_a_quiet_machine(noise):
    """An export against itself: undecided at worst. One that takes a tenth longer: found on a quiet machine."""
    found, _ = busy({"before": 10.0, "the same": 10.0, "slower": 11.5}, noise=noise)
    limits = Limits(latency_ratio_max=1.10)

    def verdict(name: str) -> Verdict:
        ratio = latency_ratio(found[name].sessions_ms, found["before"].sessions_ms)
        return latency_check(ratio, limits, against="before").verdict

    assert verdict("the same") in (Verdict.PASS, Verdict.INCONCLUSIVE)
    if noise == 0.0:
        assert (verdict("the same"), verdict("slower")) == (Verdict.PASS, Verdict.FAIL)
