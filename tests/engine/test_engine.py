"""Tasks on a Dask cluster: results, errors, lost workers, machines of their own, and the end of it all."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import chores
import pytest
from installed import require

from segexport.engine import connect, dask_engine
from segexport.engine.address import LocalWorkers, Scheduler, parse
from segexport.engine.base import EngineTask, TaskOutcome
from segexport.engine.connect import engine_for, fitting_workers, open_engine
from segexport.engine.dask_engine import DaskEngine
from segexport.engine.quiet import QuietMachine
from segexport.engine.rounds import Rounds
from segexport.errors import ClusterError, EnvironmentMissingError, KilledWorkers, OptionError
from segexport.process.stopping import Stopped, require_going, stoppable


@pytest.fixture(scope="module")
def engine() -> Iterator[DaskEngine]:
    require("distributed")
    with open_engine("local:2") as made:
        yield made


def values(outcomes: list[TaskOutcome | None]) -> list[object]:
    return [None if outcome is None else outcome.error or outcome.value for outcome in outcomes]


class TestAddress:
    def test_places(self):
        assert parse("local") == LocalWorkers()
        assert parse("local:3") == LocalWorkers(3)
        assert parse("dask://box:8786") == parse("tcp://box:8786/") == Scheduler("tcp://box:8786")
        assert parse("tls://[::1]:8786") == Scheduler("tls://[::1]:8786")

    @pytest.mark.parametrize("text", ["", "here", "local:0", "local:", "dask://box", "dask://box:0", "http://box:80"])
    def test_no_place(self, text):
        with pytest.raises(OptionError, match=r"^--on .*: not a place where tasks can run") as told:
            parse(text)
        assert "--on local:4" in told.value.hint

    def test_a_place_where_nobody_answers(self, monkeypatch):
        require("distributed")
        monkeypatch.setattr(connect, "_CONNECT_S", 0.3)
        with pytest.raises(ClusterError, match=r"^--on dask://127\.0\.0\.1:9: no Dask scheduler answers there") as told:
            open_engine("dask://127.0.0.1:9").__enter__()
        assert told.value.hint == "start one: dask scheduler; dask worker ADDRESS"

    def test_without_dask(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(EnvironmentMissingError, match="--on needs Dask, which is not installed") as told:
            open_engine("local").__enter__()
        assert told.value.hint == "pip install 'segexport[dask]'"

    def test_none(self):
        with engine_for(None) as engine:
            assert engine is None

    def test_workers_fit_processors_and_memory(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
        monkeypatch.setattr(connect, "_free_bytes", lambda: None)
        assert [fitting_workers(), fitting_workers(3), fitting_workers(16)] == [8, 2, 1]
        monkeypatch.setattr(connect, "_free_bytes", lambda: int(3.5 * 2**30))
        assert fitting_workers() == 3


class TestRun:
    def test_values_in_order(self, engine):
        assert engine.slots == 2
        told: list[int] = []
        first = EngineTask(chores.echo, (1,))
        with engine.share([1, 2, 3]) as shared:
            tasks = [first, EngineTask(chores.echo, (shared, 2)), EngineTask(chores.echo, (first, "x"))]
            found = engine.run(tasks, done=lambda index, outcome: told.append(index))
        assert values(found) == [(1,), ([1, 2, 3], 2), ((1,), "x")]
        assert sorted(told) == [0, 1, 2]
        assert engine.run([]) == []

    def test_an_error_is_an_outcome_also_of_what_depends_on_it(self, engine):
        failing = EngineTask(chores.refuse, ("broken",))
        found = engine.run([failing, EngineTask(chores.echo, (failing,)), EngineTask(chores.echo, (1,))])
        assert [str(one.error) if one.error else one.value for one in found] == ["broken\nhint: no"] * 2 + [(1,)]

    def test_the_first_error_in_order_ends_what_comes_after_it(self, engine):
        tasks = [
            EngineTask(chores.note, (os.devnull, 0.3)),
            *(EngineTask(chores.refuse, (str(number),)) for number in range(40)),
        ]
        found = engine.run(tasks, until_error=True)
        assert found[0] == TaskOutcome()
        assert str(next(one.error for one in found if one is not None and one.error).what) == "0"
        assert found[-1] is None

    def test_a_bug_is_raised(self, engine):
        with pytest.raises(ZeroDivisionError, match="a bug"):
            engine.run([EngineTask(chores.bug)])

    def test_an_error_of_a_file_in_a_worker_is_an_outcome(self, engine):
        (found,) = engine.run([EngineTask(chores.unreadable, ("nowhere",))])
        assert isinstance(found.error, ClusterError)
        assert str(found.error).startswith("a task failed on worker tls://127.0.0.1:")
        assert found.error.cause == "FileNotFoundError: [Errno 2] No such file or directory: 'nowhere'"

    def test_a_result_is_asked_for_again_when_a_connection_was_closed(self, engine, monkeypatch):
        from distributed.comm.core import CommClosedError

        gather, asked = engine._client.gather, []

        async def closed():
            raise CommClosedError("in <TLS>: Stream is closed")

        def once(found, **given):
            asked.append(found)
            return closed() if len(asked) == 1 else gather(found, **given)

        monkeypatch.setattr(engine._client, "gather", once)
        assert values(engine.run([EngineTask(chores.echo, (1,))])) == [(1,)]
        assert len(asked) == 2

    def test_a_connection_that_stays_closed_is_no_error_of_a_file(self, engine, monkeypatch):
        def closed(*_tasks, **_given):
            raise TimeoutError("Timed out trying to connect")

        monkeypatch.setattr(engine._client, "submit", closed)
        with pytest.raises(ClusterError, match=r"^local:2: the connection to the scheduler was lost") as told:
            engine.run([EngineTask(chores.echo, (1,))])
        assert told.value.cause == "TimeoutError: Timed out trying to connect"

    def test_equal_keys_run_once(self, engine, tmp_path):
        log = tmp_path / "log"
        tasks = [EngineTask(chores.note, (str(log), 0.1), key="the same") for _ in range(3)]
        assert values(engine.run(tasks)) == [None] * 3
        assert len(log.read_text().splitlines()) == 1

    def test_a_lost_worker_costs_its_task_only(self, engine, tmp_path):
        log = tmp_path / "log"
        tasks = [
            EngineTask(chores.end_worker, (str(tmp_path),)),
            *(EngineTask(chores.note, (str(log), 0.05)) for _ in range(4)),
        ]
        assert values(engine.run(tasks)) == [None] * 5
        assert len(log.read_text().splitlines()) <= 5  # one of them may have waited on the lost worker

    def test_a_task_that_ends_workers_again_and_again_is_an_error_and_its_neighbours_are_not(self, engine):
        tasks = [
            EngineTask(chores.echo, (1,)),
            EngineTask(chores.end_worker, title="images 1 to 8"),
            EngineTask(chores.echo, (2,)),
        ]
        one, killer, two = engine.run(tasks)
        assert (one.value, two.value) == ((1,), (2,))
        assert isinstance(killer.error, KilledWorkers)
        assert killer.error.what == "images 1 to 8: 2 workers ended while they ran it"

    def test_a_task_that_measures_is_alone(self, engine, tmp_path):
        log = tmp_path / "log"
        alone = {2, 5}
        engine.run([EngineTask(chores.note, (str(log), 0.05), alone=index in alone) for index in range(6)])
        spans = sorted(tuple(map(float, line.split())) for line in log.read_text().splitlines())
        overlapping = [(one, other) for one in spans for other in spans if one < other and other[0] < one[1]]
        assert len(spans) == 6
        assert len({span for pair in overlapping for span in pair}) <= 4  # of those that do not measure

    def test_machines(self, engine):
        (machine,) = engine.machines()
        assert machine["cores"] == os.cpu_count()

    def test_stopped_work_ends(self, engine, tmp_path):
        file, ended = tmp_path / "alive", threading.Event()

        def run() -> None:
            with pytest.raises(Stopped), stoppable(ended.is_set):
                engine.run([EngineTask(chores.endless, (str(file),))])

        thread = threading.Thread(target=run)
        thread.start()
        assert wait_until(file.exists)
        ended.set()
        thread.join(10)
        assert not thread.is_alive()
        assert wait_until(lambda: time.monotonic() - float(file.read_text() or 0) > 0.5)

    def test_without_workers_there_is_no_hang(self, engine, monkeypatch):
        monkeypatch.setattr(dask_engine, "WITHOUT_WORKERS_S", 0.3)
        monkeypatch.setattr(dask_engine, "_COUNT_EVERY_S", 0.1)
        monkeypatch.setattr(engine._client, "nthreads", dict)
        with pytest.raises(ClusterError, match=r"^local:2: no workers left for 0\.3 s"):
            engine.run([EngineTask(chores.note, (os.devnull, 2.0))])


def wait_until(condition, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


class TestRounds:
    def test_a_round_beside_another_is_in_doubt_for_both(self):
        rounds = Rounds(require_going)
        with rounds.together() as first:
            assert not first()
            with rounds.together() as second:
                assert (first(), second()) == (True, True)
            assert first()
        with rounds.together() as third:
            assert not third()

    def test_one_that_is_alone_waits_for_the_others_and_they_for_it(self):
        rounds = Rounds(require_going)
        with rounds.together(), stoppable(lambda: True), pytest.raises(Stopped), rounds.alone():
            raise AssertionError("not alone")
        with rounds.alone(), stoppable(lambda: True), pytest.raises(Stopped), rounds.together():
            raise AssertionError("not alone")


class TestQuietMachine:
    def test_a_measurement_waits_for_all_that_loads_the_machine_and_keeps_the_rest_waiting(self):
        quiet, told = QuietMachine(require_going), []
        loading = quiet.loading()
        loading.__enter__()

        def measure() -> None:
            with quiet.measuring():
                told.append("measuring")
                later.start()
                time.sleep(0.1)
                told.append("measured")

        def load() -> None:
            with quiet.loading():
                told.append("loading")

        later = threading.Thread(target=load)
        thread = threading.Thread(target=measure)
        thread.start()
        time.sleep(0.1)
        assert told == []
        loading.__exit__(None, None, None)
        thread.join()
        later.join()
        assert told == ["measuring", "measured", "loading"]

    def test_a_wait_can_be_stopped(self):
        quiet = QuietMachine(require_going)
        with quiet.loading(), stoppable(lambda: True), pytest.raises(Stopped), quiet.measuring():
            raise AssertionError("not quiet")


def test_stopping_is_of_one_thread():
    require_going()
    with stoppable(lambda: True):
        with pytest.raises(Stopped):
            require_going()
        with stoppable(lambda: False):
            require_going()
        thread = threading.Thread(target=require_going)
        thread.start()
        thread.join()
    require_going()
