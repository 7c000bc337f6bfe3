"""Workers that do what native code does: abort, fault, hang, vanish, print without end. Each with real processes."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segexport.errors import EnvironmentMissingError, StorageError, WorkerCrashed, WorkerFailed, WorkerTimeout
from segexport.process import worker_host
from segexport.process.worker import Worker

SOURCE = """
import ctypes, os, signal, sys, time
import numpy as np
from worker_host import WorkerFailure

def echo(arguments, arrays):
    return {"arguments": arguments}, arrays

def signal_self(arguments, _):
    os.kill(os.getpid(), arguments["number"])
    time.sleep(60)

def abort(_, __):
    print("[F 10:00 op_registry.cc:10] Check failed: op != nullptr Op relu9 is not found", file=sys.stderr, flush=True)
    os.abort()

def segfault(_, __):
    ctypes.string_at(0)

def leave(arguments, _):
    os._exit(arguments["code"])

def hang(_, __):
    time.sleep(600)

def hang_with_the_lock(_, __):
    ctypes.PyDLL(None).sleep(600)

def flood(arguments, _):
    line = b"x" * 1023 + b"\\n"
    for _ in range(arguments["kib"]):
        os.write(1, line)
    print("this went to standard output too")
    return {"said": arguments["kib"]}, []

def fail(_, __):
    raise WorkerFailure("the model is upside down", cause="gravity", hint="turn it")

def full_disk(_, __):
    raise OSError(28, "No space left on device", "/there/model.onnx")

def fail_without_cause(_, __):
    print("something Error: the only thing known", file=sys.stderr)
    raise WorkerFailure("no")

def bug(_, __):
    return {"x": {}["missing"]}, []

def import_late(_, __):
    import a_module_that_is_nowhere

def not_json(_, __):
    return {"x": object()}, []

def garbage(arguments, _):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, bytes.fromhex(arguments["hex"]) * 64)
        except OSError:
            pass
    time.sleep(600)

def close_pipes(_, __):
    os.closerange(3, 64)
    time.sleep(600)

def leave_a_child(_, __):
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os._exit(7)

def cut_shared_memory(_, __):
    refused = 0
    for descriptor in map(int, sys.argv[sys.argv.index("--shared") + 1].split(",")):
        try:
            os.ftruncate(descriptor, 0)
        except PermissionError:
            refused += 1
    return {"refused": refused}, []

def shapes(_, __):
    return {}, [np.zeros((0, 3), np.float32), np.float64(2.5) * np.ones(()), np.arange(6).reshape(2, 3).T,
                np.array([1, 2], ">f4"), np.array([True, False]), np.array([1, 2], np.float16)]

COMMANDS = {name: value for name, value in globals().items() if callable(value) and name != "WorkerFailure"}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "fake_worker.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(params=[False, True], ids=["pipe", "shared memory"])
def worker(script: Path, request):
    with Worker(script, needs="numpy", name="fake", shared=request.param) as opened:
        yield opened


def is_running(pid: int) -> bool:
    """Whether a process is alive; a zombie is not, but has to be gone too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_until(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_arguments_and_arrays_come_back_as_they_were(worker):
    arrays = [np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.array([[1], [2]], np.int64), np.zeros((0, 5))]
    answer, found = worker.call("echo", {"text": "ä\n", "n": [1, None, 2.5]}, arrays, timeout_s=10)
    assert answer == {"arguments": {"text": "ä\n", "n": [1, None, 2.5]}}
    for sent, got in zip(arrays, found, strict=True):
        assert got.dtype == sent.dtype
        np.testing.assert_array_equal(got, sent)


def test_empty_scalar_transposed_foreign_and_half_arrays(worker):
    _, (empty, scalar, transposed, big_endian, flags, half) = worker.call("shapes", timeout_s=10)
    assert (empty.shape, empty.dtype) == ((0, 3), np.float32)
    assert (scalar.shape, scalar.item()) == ((), 2.5)
    assert transposed.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert big_endian.tolist() == [1.0, 2.0]
    assert flags.tolist() == [True, False]
    assert half.dtype == np.float16


def test_a_hundred_megabytes_both_ways(worker):
    large = np.random.default_rng(0).integers(0, 256, 100 << 20, np.uint8)
    _, (found,) = worker.call("echo", {}, [large], timeout_s=60)
    assert np.array_equal(found, large)
    assert worker.peak_rss_bytes() > 100 << 20


@pytest.fixture
def sharing(script: Path):
    if not hasattr(os, "memfd_create"):
        pytest.skip("no files without a name on this system")
    with Worker(script, needs="numpy", name="sharing", shared=True) as opened:
        assert opened.ahead == 2
        yield opened


def test_two_calls_on_their_way_get_their_own_answers(sharing):
    """Larger and larger ones, so that the memory grows while the other slot is in use."""
    arrays = [np.full(100_000 * (index + 1), index, np.int32) for index in range(6)]
    found = []
    for index, array in enumerate(arrays):
        if index >= 2:
            found.append(sharing.receive(timeout_s=10)[1][0])
        sharing.send("echo", {}, [array], timeout_s=10)
    found += [sharing.receive(timeout_s=10)[1][0] for _ in range(2)]
    for sent, got in zip(arrays, found, strict=True):
        assert np.array_equal(sent, got)


def test_an_answer_is_the_callers_own(sharing):
    """What was received stays as it was when the memory is written again."""
    _, (first,) = sharing.call("echo", {}, [np.zeros(50_000)], timeout_s=10)
    for _ in range(3):
        sharing.call("echo", {}, [np.ones(50_000)], timeout_s=10)
    assert not first.any()
    first[0] = 5  # and can be written


def test_large_arrays_do_not_go_through_the_pipe(sharing):
    sent = worker_host.encode({}, [np.zeros(1 << 20)], sharing._slots[0])
    assert sum(len(part) for part in sent) < 200


def test_shared_memory_cannot_be_made_smaller(sharing):
    """Where it is cut short, the next look at it would end this process by a signal."""
    sharing.call("echo", {}, [np.zeros(1 << 16)], timeout_s=10)
    answer, _ = sharing.call("cut_shared_memory", timeout_s=10)
    assert answer["refused"] == 2  # those of the first call and its answer; the others are empty still
    _, (found,) = sharing.call("echo", {}, [np.arange(1 << 16)], timeout_s=10)
    assert found[-1] == (1 << 16) - 1


@pytest.mark.parametrize("place", [-1, 1 << 40])
def test_an_answer_that_points_outside_is_a_crash(sharing, place):
    text = b'{"arrays": [{"dtype": "<f4", "shape": [9], "at": %d}], "slot": 0}' % place
    junk = b"segx" + len(text).to_bytes(4, "little") + text
    with pytest.raises(WorkerCrashed, match="what came back from 'garbage' is not an answer"):
        sharing.call("garbage", {"hex": junk.hex()}, timeout_s=20)


def test_shared_memory_is_gone_with_its_processes(script):
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("memfd:segexport")

    before = mapped()
    with Worker(script, needs="numpy", shared=True) as worker:
        worker.call("echo", {}, [np.zeros(1 << 20)], timeout_s=10)
        assert mapped() > before
        with pytest.raises(WorkerCrashed, match="SIGKILL"):
            worker.call("signal_self", {"number": int(signal.SIGKILL)}, timeout_s=20)
    del worker
    gc.collect()
    assert mapped() == before


@pytest.mark.parametrize(
    ("command", "arguments", "how"),
    [
        ("abort", {}, "was killed by SIGABRT"),
        ("segfault", {}, "was killed by SIGSEGV"),
        ("signal_self", {"number": int(signal.SIGKILL)}, "was killed by SIGKILL"),
        ("signal_self", {"number": int(signal.SIGILL)}, "was killed by SIGILL"),
        ("signal_self", {"number": int(signal.SIGRTMIN) + 2}, f"was killed by signal {int(signal.SIGRTMIN) + 2}"),
        ("leave", {"code": 0}, "exited with code 0 and no result"),
        ("leave", {"code": 127}, "exited with code 127 and no result"),
        ("not_json", {}, "exited with code 1 and no result"),
    ],
)
def test_a_process_that_ends_without_an_answer_is_a_crash(worker, command, arguments, how):
    with pytest.raises(WorkerCrashed) as caught:
        worker.call(command, arguments, timeout_s=20)
    assert caught.value.what == f"fake: the process {how} during {command!r}"
    assert not exists(worker.pid)  # reaped: not even a zombie


def test_the_cause_of_a_crash_is_the_telling_line_of_the_log(worker):
    with pytest.raises(WorkerCrashed) as caught:
        worker.call("abort", timeout_s=20)
    assert caught.value.cause.endswith("Check failed: op != nullptr Op relu9 is not found")


def test_after_a_crash_every_call_says_so_and_close_is_safe(worker):
    with pytest.raises(WorkerCrashed, match="SIGABRT during 'abort'"):
        worker.call("abort", timeout_s=20)
    with pytest.raises(WorkerCrashed, match="SIGABRT during 'echo'"):
        worker.call("echo", timeout_s=20)
    worker.close()
    worker.close()


def test_a_hang_is_a_timeout_and_the_process_is_gone(worker):
    start = time.monotonic()
    with pytest.raises(WorkerTimeout) as caught:
        worker.call("hang", timeout_s=0.5)
    assert caught.value.what == "fake: no answer to 'hang' in 0.5 s; the process was ended"
    assert time.monotonic() - start < 60
    assert not exists(worker.pid)


def test_a_worker_that_reads_nothing_times_out_while_it_is_sent_to(tmp_path):
    script = tmp_path / "deaf.py"
    script.write_text("import time\ntime.sleep(600)\nCOMMANDS = {}\n")
    with (
        Worker(script, needs="numpy", name="deaf") as worker,
        pytest.raises(WorkerTimeout, match="no answer to 'take'"),
    ):
        worker.call("take", {}, [np.zeros(8 << 20, np.uint8)], timeout_s=0.5)


def test_a_worker_that_closes_its_pipes_and_stays_is_ended(worker):
    with pytest.raises(WorkerCrashed, match="closed its pipe without a result during 'close_pipes', and was ended"):
        worker.call("close_pipes", timeout_s=60)
    assert not exists(worker.pid)


def test_a_child_that_keeps_the_pipe_open_does_not_hide_the_crash(worker):
    start = time.monotonic()
    with pytest.raises(WorkerCrashed, match="exited with code 7 and no result"):
        worker.call("leave_a_child", timeout_s=60)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "junk",
    [
        b"hello, this is a library that found the pipe\n",
        b"\xff" * 16,  # would be a header of 4 GiB
        b"segx\x02\x00\x00\x00[]",  # a header that is no object
        b"segx\x0d\x00\x00\x00" + b'{"arrays":[3]}'[:13],  # broken JSON
        b"segx\x0f\x00\x00\x00" + b'{"arrays": [3]}',
        b"segx\x33\x00\x00\x00" + b'{"arrays": [{"dtype": "<f4", "shape": [-5, 3, 100]}]}'[:51],
        b"segx\x02\x00\x00\x00{}",
        b"segx\x0e\x00\x00\x00" + b'{"arrays": []}',  # no "ok"
    ],
    ids=lambda junk: junk[:12].hex(),
)
def test_garbage_is_a_crash_at_once_and_the_process_is_ended(worker, junk):
    start = time.monotonic()
    with pytest.raises(WorkerCrashed) as caught:
        worker.call("garbage", {"hex": junk.hex()}, timeout_s=60)
    assert caught.value.what == "fake: what came back from 'garbage' is not an answer; the process was ended"
    assert time.monotonic() - start < 10
    assert not exists(worker.pid)


def test_a_flood_on_stdout_is_neither_an_answer_nor_held_in_memory(worker):
    answer, _ = worker.call("flood", {"kib": 40_000}, timeout_s=60)
    assert answer == {"said": 40_000}
    assert len(worker.log()) <= 1 << 16
    assert worker.log().endswith("this went to standard output too\n")
    answer, _ = worker.call("echo", {"still": "here"}, timeout_s=10)
    assert answer["arguments"] == {"still": "here"}


def test_a_failure_has_its_three_parts_and_the_worker_goes_on(worker):
    with pytest.raises(WorkerFailed) as caught:
        worker.call("fail", timeout_s=10)
    assert (caught.value.what, caught.value.cause, caught.value.hint) == (
        "the model is upside down",
        "gravity",
        "turn it",
    )
    assert worker.call("echo", {"a": 1}, timeout_s=10)[0] == {"arguments": {"a": 1}}


def test_a_full_disk_in_the_worker_is_one_here(worker):
    with pytest.raises(StorageError) as caught:
        worker.call("full_disk", timeout_s=10)
    assert caught.value.what == "/there/model.onnx: cannot be written"
    assert caught.value.cause == "No space left on device"
    assert "segexport cache gc" in caught.value.hint


@pytest.mark.parametrize(("command", "arguments"), [("abort", {}), ("leave", {"code": 1}), ("fail", {})])
def test_an_end_while_temporary_files_have_no_room_is_that(worker, monkeypatch, command, arguments):
    """Libraries end in any way that they like when they cannot write."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))
    with pytest.raises(StorageError) as caught:
        worker.call(command, arguments, timeout_s=20)
    assert caught.value.what == f"{tempfile.gettempdir()}: no room for temporary files"
    assert "TMPDIR=DIR" in caught.value.hint


def test_a_failure_without_a_cause_gets_the_log(worker):
    with pytest.raises(WorkerFailed) as caught:
        worker.call("fail_without_cause", timeout_s=10)
    assert caught.value.cause == "something Error: the only thing known"


def test_an_exception_names_its_kind(worker):
    with pytest.raises(WorkerFailed, match="KeyError: 'missing'"):
        worker.call("bug", timeout_s=10)
    with pytest.raises(WorkerFailed, match="KeyError: 'no such command'"):
        worker.call("no such command", timeout_s=10)


def test_a_module_that_is_missing_in_a_command(worker):
    with pytest.raises(EnvironmentMissingError) as caught:
        worker.call("import_late", timeout_s=10)
    assert caught.value.what == "fake: the Python module 'a_module_that_is_nowhere' cannot be imported"
    assert caught.value.hint.startswith("segexport doctor")


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (
            "import nothing_like_this",
            EnvironmentMissingError,
            "the Python module 'nothing_like_this' cannot be imported",
        ),
        ("COMMANDS = {", WorkerFailed, "SyntaxError: '{' was never closed"),
        ("X = 1", WorkerFailed, "AttributeError: module 'worker' has no attribute 'COMMANDS'"),
        ("raise SystemExit(0)", WorkerFailed, "SystemExit: 0"),
        ("import os; os._exit(0)", WorkerCrashed, "the process exited with code 0 and no result during 'any'"),
        ("import os; os.abort()", WorkerCrashed, "the process was killed by SIGABRT during 'any'"),
    ],
)
def test_a_worker_file_that_does_not_load(tmp_path, source, kind, message):
    script = tmp_path / "broken.py"
    script.write_text(source)
    with Worker(script, needs="numpy", name="broken") as worker:
        with pytest.raises(kind) as caught:
            worker.call("any", timeout_s=20)
        assert type(caught.value) is kind
        assert message in caught.value.what


def test_siblings_of_the_worker_file_can_be_imported_and_segexport_cannot(tmp_path):
    (tmp_path / "sibling.py").write_text("VALUE = 41\n")
    script = tmp_path / "main_worker.py"
    script.write_text(
        "import sys, sibling\n"
        "def look(a, b):\n"
        "    return {'value': sibling.VALUE, 'segexport': 'segexport' in sys.modules}, []\n"
        "COMMANDS = {'look': look}\n"
    )
    with Worker(script, needs="numpy") as worker:
        assert worker.name == "main_worker"
        assert worker.call("look", timeout_s=10)[0] == {"value": 41, "segexport": False}


def test_threads_and_environment_reach_the_process(tmp_path):
    script = tmp_path / "env.py"
    script.write_text("import os\nCOMMANDS = {'get': lambda a, b: ({n: os.environ.get(n) for n in a['names']}, [])}\n")
    with Worker(script, needs="numpy", threads=3, environment={"EXTRA": "yes"}) as worker:
        names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "EXTRA"]
        found, _ = worker.call("get", {"names": names}, timeout_s=10)
    assert found == {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "EXTRA": "yes"}


def test_close_ends_a_busy_worker(script):
    worker = Worker(script, needs="numpy")
    worker.send("hang", timeout_s=5)
    start = time.monotonic()
    worker.close()
    assert time.monotonic() - start < 60
    assert not exists(worker.pid)


def test_many_workers_leave_no_descriptor_open(script):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with Worker(script, needs="numpy", shared=True) as worker, pytest.raises(WorkerCrashed):
            worker.call("leave", {"code": 0}, timeout_s=10)
    assert len(os.listdir("/proc/self/fd")) == before


PARENT = """
import sys
from pathlib import Path
from segexport.process.worker import Worker
worker = Worker(Path(sys.argv[1]), needs="numpy")
worker.call("echo", timeout_s=30)
if sys.argv[2] != "idle":
    worker.send(sys.argv[2], timeout_s=5)
print(worker.pid, flush=True)
import time; time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("busy_with", ["idle", "hang", "hang_with_the_lock"])
def test_a_worker_does_not_outlive_a_killed_parent(script, busy_with):
    command = [sys.executable, "-c", PARENT, str(script), busy_with]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            pid = int(parent.stdout.readline())
            assert is_running(pid)
        finally:
            parent.kill()
    assert wait_until(lambda: not is_running(pid)), "the worker lives on"


def test_a_worker_started_by_a_thread_lives_on_after_the_thread(script):
    import threading

    started: list[Worker] = []
    thread = threading.Thread(target=lambda: started.append(Worker(script, needs="numpy")))
    thread.start()
    thread.join()
    with started[0] as worker:
        time.sleep(0.2)
        assert worker.call("echo", {"a": 1}, timeout_s=10)[0] == {"arguments": {"a": 1}}


def test_no_room_to_start_a_process(script, monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(WorkerCrashed) as caught:
        Worker(script, needs="numpy", name="fake")
    assert caught.value.what == "fake: the process cannot be started"
    assert "No such file or directory" in caught.value.cause


def test_the_cause_leaves_out_the_time_and_the_ornaments(script):
    lines = [
        "C++ Traceback (most recent call last):",
        "----------------------",
        "Error Message Summary:",
        "----------------------",
        "FatalError: `Process abort signal` is detected by the operating system.",
        '  [TimeInfo: *** Aborted at 1795265551 (unix time) try "date -d @1795265551" if you are using GNU date ***]',
        "  [SignalInfo: *** SIGABRT (@0xc2) received by PID 194 ***]",
        "[ERROR] Due to opset version, the model exporting is aborted.",
    ]
    script.write_text(f"import os\nos.write(2, {chr(10).join(lines)!r}.encode())\nos.abort()\n")
    with Worker(script, needs="numpy") as worker, pytest.raises(WorkerCrashed) as caught:
        worker.call("any", timeout_s=20)
    assert caught.value.cause == "[ERROR] Due to opset version, the model exporting is aborted."
