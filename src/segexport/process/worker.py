"""Starts a worker process, calls its commands, and reports how it ended. Native code can only abort the worker."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from segexport.errors import EnvironmentMissingError, WorkerCrashed, WorkerFailed, WorkerTimeout
from segexport.files.disk import require_temporary_room, storage_error
from segexport.process.interpreter import interpreter_for
from segexport.process.stopping import Stopped, require_going

if TYPE_CHECKING:
    import numpy as np

    from segexport.process import worker_host

_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ on Linux: fewer switches between the processes per frame
_LOG_BYTES = 1 << 16  # read from the end of the log
_LOOK_EVERY_S = 1.0  # for noticing a stop, and an ended process whose pipe a child keeps open
_HOST = Path(__file__).with_name("worker_host.py")
_OWN_PACKAGE = Path(__file__).parent.parent
_END_S = 2.0  # time for a process to end after the request


class Worker:
    """A process that runs one worker file (see `worker_host`) and answers calls in order.

    Args:
        script: The worker file; it imports nothing of segexport.
        needs: Modules that the interpreter must import; they select it.
        python: The interpreter, if already selected.
        own_code: Whether the worker imports segexport; our copy is used, whichever Python runs the worker.
        threads: Threads for OpenMP, MKL and OpenBLAS.
        name: The worker's name in messages.
        environment: Additional environment variables.
        shared: Whether arrays of large messages are passed in shared memory. The worker must not keep its input arrays
            after its answer.

    Attributes:
        ahead: Number of calls that may be sent before the first answer is received.

    Raises:
        EnvironmentMissingError: No interpreter on this machine can import `needs`.
    """

    def __init__(
        self,
        script: Path,
        *,
        needs: str | tuple[str, ...] = (),
        python: Path | None = None,
        own_code: bool = False,
        threads: int = 1,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        shared: bool = False,
    ) -> None:
        self.name = name or script.stem
        self._phase = "start"
        if python is None:
            python = interpreter_for(*((needs,) if isinstance(needs, str) else needs))
        self._descriptors = descriptors = _anonymous_files(4) if shared else []
        self.ahead = 2 if descriptors else 1
        self._sent = 0
        # The system sends the death signal when the starting thread ends: only the main thread lives to the end.
        mortal = ["--die-with-parent"] if threading.current_thread() is threading.main_thread() else []
        options = ["--shared", ",".join(map(str, descriptors))] if descriptors else []
        if own_code:
            options += ["--package", str(_OWN_PACKAGE)]
        try:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
            self._process = subprocess.Popen(
                [str(python), "-I", "-u", str(_HOST), str(script), str(os.getpid()), *mortal, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, **thread_limits(threads), **_QUIET, **(environment or {})},
                bufsize=0,
                pass_fds=descriptors,
            )
        except OSError as error:
            self._close_descriptors()
            raise WorkerCrashed(
                f"{self.name}: the process cannot be started", cause=f"{error.filename or python}: {error.strerror}"
            ) from error
        assert self._process.stdin is not None  # opened with pipes
        assert self._process.stdout is not None
        self._pipes = self._process.stdin, self._process.stdout
        self._in, self._out = (pipe.fileno() for pipe in self._pipes)
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        _widen(self._in, self._out)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    def call(
        self, command: str, arguments: Mapping[str, Any] | None = None, arrays: Sequence[np.ndarray] = (), *, timeout_s
    ) -> tuple[dict, list[np.ndarray]]:
        """Sends a command and waits for its answer.

        Raises:
            WorkerTimeout: There was no answer in `timeout_s` seconds; the worker is killed.
            WorkerCrashed: The process ended without an answer, or ran out of memory.
            WorkerFailed: The worker reports an error.
            EnvironmentMissingError: A module that the worker imports is missing.
            StorageError: The worker found the disk full, or ended while the folder for temporary files is full.
        """
        self.send(command, arguments, arrays, timeout_s=timeout_s)
        return self.receive(timeout_s=timeout_s)

    def send(
        self, command: str, arguments: Mapping[str, Any] | None = None, arrays: Sequence[np.ndarray] = (), *, timeout_s
    ) -> None:
        """Sends a command without waiting; at most `ahead` commands may wait for `receive`."""
        self._phase = command
        deadline = time.monotonic() + timeout_s
        header = {"command": command, "arguments": dict(arguments or {}), "slot": self._sent % 2}
        slot = self._slots[self._sent % 2] if self._slots else None
        self._sent += 1
        for buffer in self._host.encode(header, list(arrays), slot):
            view = memoryview(buffer)
            while len(view):
                self._wait(deadline, timeout_s, write=True)
                try:
                    view = view[os.write(self._in, view) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    raise self._crashed() from None

    def receive(self, *, timeout_s: float) -> tuple[dict, list[np.ndarray]]:
        """Returns the answer to the oldest unanswered command; raises as `call` does."""
        deadline = time.monotonic() + timeout_s

        def read(count: int) -> bytearray:
            buffer = bytearray(count)
            view, filled = memoryview(buffer), 0
            while filled < count:
                self._wait(deadline, timeout_s, write=False)
                try:
                    got = os.readv(self._out, [view[filled:]])
                except BlockingIOError:
                    continue
                if got == 0:
                    raise self._crashed()
                filled += got
            return buffer

        try:
            decoded = self._host.decode(read, self._slots[2:])
            if decoded is None:
                raise self._crashed()
            answer, arrays = decoded
            if self._slots:  # a later call overwrites the slot
                arrays = [array if array.base is None else array.copy() for array in arrays]
            answer.pop("slot", None)
            succeeded = answer.pop("ok")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            self._kill()
            raise WorkerCrashed(
                f"{self.name}: what came back from {self._phase!r} is not an answer; the process was ended",
                cause=self._tail(),
            ) from None
        if succeeded:
            return answer, arrays
        if answer.get("full"):
            raise storage_error(OSError(*answer["full"]), Path(self.name))
        if answer.get("missing"):
            raise EnvironmentMissingError(
                f"{self.name}: the Python module {answer['missing']!r} cannot be imported",
                cause=answer["what"],
                hint="segexport doctor lists what is installed and how to get the rest",
            )
        if answer.get("exhausted"):
            raise WorkerCrashed(
                f"{self.name}: the process got no memory during {self._phase!r}", cause=answer["what"], hint=_MEMORY
            )
        failed = WorkerFailed(answer["what"], cause=answer["cause"] or self._tail(), hint=answer["hint"])
        require_temporary_room(failed)
        raise failed

    def peak_rss_bytes(self) -> int:
        """Peak memory of the process so far, in bytes; 0 if unknown."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def log(self) -> str:
        """The end of the process's standard output and error; libraries can print without limit."""
        descriptor = self._log.fileno()
        start = max(0, os.fstat(descriptor).st_size - _LOG_BYTES)
        # Not seek and read: the process shares the file position.
        return os.pread(descriptor, _LOG_BYTES, start).decode("utf-8", "replace")

    def close(self) -> None:
        """Ends the process. Safe to call twice, and after a crash."""
        if self._process.poll() is None:
            self._pipes[0].close()
            try:
                self._process.wait(timeout=_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        for pipe in self._pipes:
            pipe.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        self.__dict__["_slots"] = []  # the numbers may soon belong to other files

    @property
    def _host(self) -> ModuleType:
        """The other end's module, which imports NumPy: the process starts before."""
        from segexport.process import worker_host

        return worker_host

    @cached_property
    def _slots(self) -> list[worker_host.SharedSlot]:
        return [self._host.SharedSlot(descriptor) for descriptor in self._descriptors]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._log.close()

    def _wait(self, deadline: float, timeout_s: float, *, write: bool) -> None:
        """Waits until the pipe is ready or the process has ended; a child of the process may keep the pipe open."""
        poll = select.poll()
        poll.register(self._in if write else self._out, select.POLLOUT if write else select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            try:
                require_going()
            except Stopped:
                self._kill()
                raise
            gone = self._process.poll() is not None
            if poll.poll(min(left, _LOOK_EVERY_S) * 1e3):
                return
            if gone:
                raise self._crashed()
        self._kill()
        raise WorkerTimeout(
            f"{self.name}: no answer to {self._phase!r} in {timeout_s:g} s; the process was ended", cause=self._tail()
        )

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _crashed(self) -> WorkerCrashed:
        try:
            code = self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._kill()
            return WorkerCrashed(
                f"{self.name}: the process closed its pipe without a result during {self._phase!r}, and was ended",
                cause=self._tail(),
            )
        how, end = f"exited with code {code} and no result", f"exit {code}"
        if code < 0:
            end = _signal_name(-code)
            how = f"was killed by {end}"
        if self._host.EXHAUSTED.search(self.log()):  # a C++ library aborts if it runs out of memory
            end = ""
        crashed = WorkerCrashed(f"{self.name}: the process {how} during {self._phase!r}", cause=self._tail(), end=end)
        require_temporary_room(crashed)
        return crashed

    def _tail(self) -> str:
        """The lines of the log that best explain the failure: Paddle's libraries print a `... Error:` or a check."""
        lines = [line.strip() for line in self.log().splitlines() if line.strip()]
        lines = [line for line in lines if not _EMPTY_TALK.search(line)]
        telling = [line for line in lines if _TELLING.search(line)]
        return " | ".join((telling or lines)[-3:])[:800]


_MEMORY = "free some memory, or run it on a machine with more"
_TELLING = re.compile(r"(?i:\berror\b|check fail|not (support|found|implement))|\bF .*\]")
_EMPTY_TALK = re.compile(r"^[-=*\s]*$|^\W*Error Message Summary:?$|TimeInfo: |SignalInfo: ")
_QUIET = {"GLOG_minloglevel": "2", "GLOG_v": "0", "PYTHONWARNINGS": "ignore"}


def _anonymous_files(count: int) -> list[int]:
    """Descriptors of shared memory; none if the system has no anonymous files (Linux has them)."""
    if not hasattr(os, "memfd_create"):
        return []
    import fcntl

    found: list[int] = []
    try:
        for _ in range(count):
            found.append(os.memfd_create("segexport", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
            # If one process shrank the file, the other's next access would end it by a signal.
            fcntl.fcntl(found[-1], fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    except OSError:  # not available in this container; only slower
        for descriptor in found:
            os.close(descriptor)
        return []
    return found


def thread_limits(threads: int) -> dict[str, str]:
    """Returns the environment variables that limit OpenMP, MKL and OpenBLAS to `threads` threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _widen(*descriptors: int) -> None:
    import fcntl

    for descriptor in descriptors:
        try:
            fcntl.fcntl(descriptor, _SET_PIPE_SIZE, _PIPE_BYTES)
        except OSError:  # not Linux, or the user's pipe limit is reached; only slower
            return
