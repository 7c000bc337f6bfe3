"""The processes that run the model. One that dies is started again; what waits for it keeps waiting."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import numpy as np

from segexport.errors import SegexportError, WorkerError, WorkerFailed
from segexport.runtimes.base import Prediction, WorkerSession

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0  # how soon a process is noticed that died while nobody asked for anything
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
        self._open, self._on_restart = open_session, on_restart
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._lanes: list[_Lane] = []
        try:
            for number in range(count):
                self._lanes.append(_Lane(number, self._open()))
        except BaseException:
            self._close_sessions()
            raise
        for lane in self._lanes:
            lane.thread = threading.Thread(target=self._work, args=(lane,), name=f"lane-{lane.number}", daemon=True)
            lane.thread.start()

    @property
    def ready(self) -> int:
        """Processes that run."""
        return sum(lane.ready for lane in self._lanes)

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [lane.session.pid for lane in self._lanes]

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
        for lane in self._lanes:
            if lane.thread is not None:
                lane.thread.join()
        self._close_sessions()

    def _close_sessions(self) -> None:
        for lane in self._lanes:
            lane.session.close()

    # -- in the threads ----------------------------------------------------------------------------------------

    def _work(self, lane: _Lane) -> None:
        while not self._stop.is_set():
            if not lane.session.alive:
                self._start_again(lane)
                continue
            with suppress(queue.Empty):
                job = self._jobs.get(timeout=_LOOK_EVERY_S)
                if job is None:
                    return
                if lane.session.alive:
                    self._run(lane, *job)
                else:  # it died while nobody asked: no fault of this input, which the next process gets
                    self._jobs.put(job)

    def _run(self, lane: _Lane, future: Future, tensors: Sequence[np.ndarray]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(lane.session.infer(tensors))
        except Exception as error:
            if isinstance(error, WorkerError) and not isinstance(error, WorkerFailed):
                lane.ready = False
                log.error("%s", error)
            future.set_exception(error)

    def _start_again(self, lane: _Lane) -> None:
        """Until it runs, or the pool is closed."""
        lane.ready = False
        attempt = 0
        lane.session.close()
        while not self._stop.wait(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]):
            attempt += 1
            try:
                lane.session = self._open()
            except SegexportError as error:
                log.error("the model's process cannot be started again: %s", error)
                continue
            except Exception:
                log.exception("the model's process cannot be started again")
                continue
            lane.ready = True
            log.warning("the model's process died and was started again")
            self._on_restart()
            return


class _Lane:
    """A process and its thread."""

    def __init__(self, number: int, session: WorkerSession) -> None:
        self.number, self.session, self.ready = number, session, True
        self.thread: threading.Thread | None = None
