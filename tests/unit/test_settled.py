"""What a process says about its work is told from what the machine did to it: with real signals."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path

import pytest

from segexport.errors import InputError, Interrupted, WorkerCrashed, WorkerFailed, WorkerTimeout
from segexport.process.settled import MOST_RUNS, settled
from segexport.process.worker import Worker

WORKER = """
import os, signal, sys, time

def end(arguments, arrays):
    how = arguments["how"]
    if how == "memory":
        raise MemoryError("Unable to allocate 9 GiB")
    if how == "chained":
        try:
            raise RuntimeError("std::bad_alloc")
        except RuntimeError as error:
            from worker_host import WorkerFailure
            raise WorkerFailure("cannot quantize") from error
    if how == "bad_alloc":
        print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if how == "hang":
        time.sleep(60)
    if how == "exit":
        os._exit(3)
    if how == "failed":
        raise ValueError("no such operator")
    if how != "done":
        os.kill(os.getpid(), getattr(signal, how))
    return {"done": True}, []

COMMANDS = {"end": end}
"""


@pytest.fixture
def run(tmp_path: Path):
    """Ends a worker in each of the given ways, one after the other; `run.count` says how many were needed."""
    script = tmp_path / "ending_worker.py"
    script.write_text(WORKER)

    def all_of(*ways: str):
        left = list(ways)

        def once():
            all_of.count += 1
            how = left.pop(0)
            with Worker(script, needs="numpy", name="converter") as worker:
                worker.call("end", {"how": "done"}, timeout_s=60)  # started; what comes now is quick, or hangs
                return worker.call("end", {"how": how}, timeout_s=0.5 if how == "hang" else 60)[0]

        all_of.count = 0
        return settled(once)

    return all_of


@pytest.mark.parametrize("first", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGABRT", "memory", "bad_alloc", "hang"])
def test_one_bad_moment_is_not_noticed(run, first):
    assert run(first, "done") == {"done": True}
    assert run.count == 2


@pytest.mark.parametrize("own", ["SIGSEGV", "SIGABRT", "SIGFPE", "exit"])
def test_the_same_end_of_its_own_twice_is_an_answer(run, own):
    with pytest.raises(WorkerCrashed) as caught:
        run(own, own)
    assert caught.value.end == ("exit 3" if own == "exit" else own)
    assert run.count == 2


@pytest.mark.parametrize("outside", ["SIGKILL", "SIGTERM", "memory", "bad_alloc", "chained", "hang"])
def test_ended_from_outside_twice_is_no_answer(run, outside):
    with pytest.raises(Interrupted, match=r"^converter: ") as caught:
        run(outside, outside)
    assert run.count == 2
    assert "proves nothing about the model" in caught.value.cause
    assert "more free memory" in caught.value.hint
    assert isinstance(caught.value.__cause__, WorkerCrashed | WorkerTimeout)


@pytest.mark.parametrize("ways", [("SIGKILL", "SIGSEGV", "SIGSEGV"), ("SIGSEGV", "SIGABRT", "SIGABRT")])
def test_a_third_run_decides_where_two_differ(run, ways):
    with pytest.raises(WorkerCrashed, match=f"killed by {ways[-1]}"):
        run(*ways)
    assert run.count == MOST_RUNS


@pytest.mark.parametrize("ways", [("SIGSEGV", "SIGABRT", "SIGSEGV"), ("SIGKILL", "SIGSEGV", "SIGKILL")])
def test_never_the_same_end_is_no_answer(run, ways):
    with pytest.raises(Interrupted):
        run(*ways)
    assert run.count == MOST_RUNS


def test_what_a_worker_answers_counts_at_once(run):
    with pytest.raises(WorkerFailed, match="no such operator"):
        run("failed")
    assert run.count == 1
    with pytest.raises(InputError):
        settled(lambda: (_ for _ in ()).throw(InputError("another error")))


def test_a_crash_keeps_its_end_where_it_is_passed_on():
    error = WorkerCrashed("gone", cause="why", end=signal.SIGSEGV.name)
    again = pickle.loads(pickle.dumps(error))
    assert (again.what, again.cause, again.end) == ("gone", "why", "SIGSEGV")
