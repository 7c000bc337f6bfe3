"""The processes that run the model. One that dies is started again; what waits for it keeps waiting."""

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

_LOOK_EVERY_S = 1.0  # how soon an idle process that died is noticed
_PAUSES_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before it is tried again to start one; the last for ever

_Job = tuple[Future, Sequence[np.ndarray]]


class Pool:
    """So many processes with the same model, each with a thread that hands it one input after the other.

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
        """Processes that run."""
        return sum(lane.ready for lane in self._lanes)

    def infer(self, tensors: Sequence[np.ndarray]) -> Future[Prediction]:
        """Puts an input in line for the next free process. Cancel the future to take it out again."""
        future: Future[Prediction] = Future()
        self._jobs.put((future, tensors))
        return future

    def close(self) -> None:
        """Finishes what runs, and ends the processes."""
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
    """A process, and the work of the thread that talks to it.

    Attributes:
        ready: Whether the process runs.
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
        self._sent: deque[_Job] = deque()  # what it is at, and will be next

    def work(self) -> None:
        """Until the pool is closed and all that was sent is answered."""
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
        """Hands the process its next inputs while it is at the last, so that it is never idle while there is work."""
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
            if not self._sent:  # it died while idle: not the fault of this input, which the next process gets
                self._give_up()
        except Exception as error:
            job[0].set_exception(error)
            return
        self._sent.append(job)

    def _receive(self) -> None:
        try:
            prediction = self.session.result()
        except Exception as error:
            future, _ = self._sent.popleft()  # what it was at; those behind are innocent
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
        """Tries until it runs; False when the pool was closed before."""
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
