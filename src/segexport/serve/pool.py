"""A pool of processes that run the model. A process that dies is restarted; its queued inputs keep waiting."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from segexport.errors import SegexportError, WorkerCrashed, WorkerError, WorkerFailed
from segexport.runtimes.base import Prediction, WorkerSession

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0  # interval at which dead idle processes are detected
_PAUSES_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # delays between restart attempts; the last one repeats

_Job = tuple[Future, Sequence[np.ndarray]]


class Pool:
    """Processes with the same model, each with a thread that sends it the inputs.

    Args:
        open_session: Starts a process; called once for each, and again when one died.
        count: Processes.
        on_restart: Called when a process has been started again.

    Raises:
        SegexportError: The first start of a process fails.
    """

    def __init__(
        self, open_session: Callable[[], WorkerSession], count: int, on_restart: Callable[[], None] = lambda: None
    ) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._lanes: list[_Lane] = []
        try:
            for _ in range(count):
                self._lanes.append(_Lane(self._jobs, self._stop, open_session, on_restart))
        except BaseException:
            self._close_sessions()
            raise
        self._threads = [threading.Thread(target=lane.work, name="lane", daemon=True) for lane in self._lanes]
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> int:
        """Number of running processes."""
        return sum(lane.ready for lane in self._lanes)

    def infer(self, tensors: Sequence[np.ndarray]) -> Future[Prediction]:
        """Queues an input for the next free process. Cancel the future to remove it."""
        future: Future[Prediction] = Future()
        self._jobs.put((future, tensors))
        return future

    def close(self) -> None:
        """Finishes running inputs and ends the processes."""
        self._stop.set()
        for _ in self._lanes:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._close_sessions()

    def _close_sessions(self) -> None:
        for lane in self._lanes:
            lane.session.close()


class _Lane:
    """A process and the thread that communicates with it.

    Attributes:
        ready: Whether the process is running.
    """

    def __init__(
        self,
        jobs: queue.SimpleQueue[_Job | None],
        stop: threading.Event,
        open_session: Callable[[], WorkerSession],
        on_restart: Callable[[], None],
    ) -> None:
        self._jobs, self._stop, self._open, self._on_restart = jobs, stop, open_session, on_restart
        self.session = open_session()
        self.ready = True
        self._sent: deque[_Job] = deque()  # the running input and the next ones

    def work(self) -> None:
        """Runs until the pool is closed and all sent inputs have results."""
        while True:
            if not self._sent and not self.session.alive:
                self._give_up()
            if not self.ready and not self._start_again():
                break
            self._send()
            if self._sent and self.ready:
                self._receive()
            elif self._stop.is_set() and not self._sent:
                break
        for future, _ in self._sent:
            future.set_exception(WorkerCrashed("the server stopped before the model's process ran again"))

    def _send(self) -> None:
        """Sends the next inputs while the process computes, so that it is never idle while there is work."""
        while self.ready and len(self._sent) < self.session.ahead and not self._stop.is_set():
            try:
                job = self._jobs.get(block=not self._sent, timeout=_LOOK_EVERY_S)
            except queue.Empty:
                return
            if job is None:
                return
            if job[0].set_running_or_notify_cancel():
                self._submit(job)

    def _submit(self, job: _Job) -> None:
        try:
            self.session.submit(job[1])
        except WorkerError:
            if not self._sent:  # it died while idle, so this input is not the cause: the next process gets it
                self._give_up()
        except Exception as error:
            job[0].set_exception(error)
            return
        self._sent.append(job)

    def _receive(self) -> None:
        try:
            prediction = self.session.result()
        except Exception as error:
            future, _ = self._sent.popleft()  # the running input; the queued ones are not the cause
            if isinstance(error, WorkerError) and not isinstance(error, WorkerFailed):
                log.error("%s", error)
                self._give_up()
            future.set_exception(error)
        else:
            self._sent.popleft()[0].set_result(prediction)

    def _give_up(self) -> None:
        self.ready = False
        self.session.close()

    def _start_again(self) -> bool:
        """Restarts the process, retrying until it runs; False if the pool was closed first."""
        attempt = 0
        while not self._stop.wait(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]):
            attempt += 1
            try:
                self.session = self._open()
            except SegexportError as error:
                log.error("the model's process cannot be started again: %s", error)
                continue
            except Exception:
                log.exception("the model's process cannot be started again")
                continue
            self.ready = True
            log.warning("the model's process died and was started again")
            self._on_restart()
            again, self._sent = self._sent, deque()
            for job in again:
                self._submit(job)
            return True
        return False
