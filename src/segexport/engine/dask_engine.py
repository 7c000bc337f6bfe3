"""Runs tasks in the workers of a Dask cluster; `connect` opens one."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from segexport.engine import dask_task
from segexport.engine.base import EngineTask, Shared, TaskOutcome, nothing
from segexport.engine.installed import installed
from segexport.engine.quiet import QuietMachine
from segexport.engine.rounds import Rounds
from segexport.errors import ClusterError, KilledWorkers
from segexport.measure.environment import describe_machine
from segexport.process.stopping import Stopped, require_going

_NO_ANSWER = (OSError, asyncio.TimeoutError)
"""What Dask raises when a connection is closed or none can be made."""
_LOOK_EVERY_S = 0.5  # how soon a stop is noticed
_COUNT_EVERY_S = 5.0  # how often workers are counted while no task ends
_QUESTIONS = 20  # to all workers, while some of them are lost
WITHOUT_WORKERS_S = 60.0
"""How long a cluster may be without workers: it may be starting new ones."""


class DaskEngine:
    """A `TaskEngine` of Dask workers.

    Args:
        client: A connected client; its owner closes it.
        place: The address, for messages.
        local: Whether the workers belong to this command.

    Attributes:
        interrupted: Tells whether Ctrl-C was pressed.
    """

    def __init__(self, client: Any, place: str, *, local: bool) -> None:
        self._client, self._place, self.local = client, place, local
        self._folder = os.getcwd() if local else ""
        self._run, self._numbers = uuid.uuid4().hex[:12], itertools.count()
        self._stopped = False
        self.interrupted: Callable[[], bool] = lambda: False
        self._quiet = QuietMachine(self._require_going)
        self._rounds = Rounds(self._require_going)

    @property
    def slots(self) -> int:
        return max(1, sum(self._asked(self._client.nthreads).values()))

    @contextmanager
    def share(self, value: Any) -> Iterator[Shared]:
        from segexport.engine.dask_shared import SharedValue

        name = f"segexport-{self._run}-shared-{next(self._numbers)}"
        self._asked(lambda: self._client.register_plugin(SharedValue(value), name=name))
        try:
            yield Shared(name)
        finally:
            with suppress(Exception):
                self._client.unregister_worker_plugin(name)

    def run(
        self,
        tasks: Sequence[EngineTask],
        *,
        until_error: bool = False,
        done: Callable[[int, TaskOutcome], None] = nothing,
    ) -> list[TaskOutcome | None]:
        with self._quiet.measuring() if self.local and any(task.alone for task in tasks) else nullcontext():
            try:
                return self._results(tasks, until_error, done)
            except _NO_ANSWER as error:
                if getattr(error, "errno", None):  # of a file, in `done`
                    raise
                raise lost(self._place, f"{type(error).__name__}: {error}") from error

    def machines(self) -> list[dict[str, object]]:
        found = self._asked(lambda: self._client.run(describe_machine)).values()
        return [json.loads(text) for text in sorted({json.dumps(one, sort_keys=True) for one in found})]

    def counting(self) -> AbstractContextManager[None]:
        return self._quiet.loading() if self.local else nullcontext()

    def stop(self) -> None:
        """Ends `run` in all threads."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        return self._stopped

    def _results(
        self, tasks: Sequence[EngineTask], until_error: bool, done: Callable[[int, TaskOutcome], None]
    ) -> list[TaskOutcome | None]:
        run = _Run(tasks, until_error, done)
        while left := run.left():
            with self._rounds.together() as disturbed:
                killed = self._round(run, left, lambda left=left: len(left) > 1 or disturbed())
            if killed is not None:
                # Dask blames all tasks that waited on a worker that ended, also those of another thread's run; only one
                # that ends workers when it is the only one is to blame.
                with self._rounds.alone():
                    self._round(run, [killed], lambda: False, again=True)
        self._require_going()
        return run.outcomes

    def _round(
        self, run: _Run, indices: Sequence[int], in_doubt: Callable[[], bool], *, again: bool = False
    ) -> int | None:
        """Runs tasks until all have an outcome, or one may have ended workers; returns the index of that one.

        Args:
            in_doubt: Whether another task may have ended the workers that one of these was lost with.
            again: Whether they ran before.
        """
        ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        running: dict[int, Any] = {}
        watch = _Watch(self._client, self._place, self._require_going)
        killed = None
        try:
            for index in indices:
                running[index] = self._submitted(run, index, running, again=again)
                running[index].add_done_callback(functools.partial(_tell, ended, index))
            while running and killed is None:
                try:
                    index = ended.get(timeout=_LOOK_EVERY_S)
                except queue.Empty:
                    watch.look()
                    continue
                if (future := running.pop(index, None)) is None:  # no longer wanted
                    continue
                outcome = self._outcome(run.tasks[index], future, watch)
                if isinstance(outcome.error, KilledWorkers) and in_doubt():
                    killed = run.first_without_outcome(index)
                    continue
                run.end(index, outcome)
                if outcome.error is not None:
                    self._drop(run, running, [other for other in running if other not in run.wanted()])
        except BaseException:
            with suppress(Exception):
                self._client.cancel(list(running.values()), force=True)
            raise
        self._drop(run, running, list(running))
        return killed

    def _submitted(self, run: _Run, index: int, running: dict[int, Any], *, again: bool) -> Any:
        task = run.tasks[index]
        key = f"{self._run}-{next(self._numbers)}" if again or not task.key else task.key
        values = [
            (run.outcomes[run.places[one]] or running[run.places[one]]) if isinstance(one, EngineTask) else _sent(one)
            for one in task.arguments
        ]
        order = dask_task.Order(task.alone, installed(), self._folder)
        return self._client.submit(
            dask_task.call, task.function, order, *values, key=f"segexport-{key}", priority=10 * task.alone
        )

    def _drop(self, run: _Run, running: dict[int, Any], indices: Sequence[int]) -> None:
        """Ends tasks of this run. One with a key may be a task of another thread, too."""
        dropped = {index: running.pop(index) for index in indices}
        if own := [future for index, future in dropped.items() if not run.tasks[index].key]:
            self._client.cancel(own, force=True)

    def _outcome(self, task: EngineTask, future: Any, watch: _Watch) -> TaskOutcome:
        from distributed.scheduler import KilledWorker

        watch.seen()
        again = 0
        while True:
            # `future.result` with a timeout would cancel the results that other threads wait for.
            waiting = asyncio.run_coroutine_threadsafe(
                self._client.gather([future], asynchronous=True), self._client.loop.asyncio_loop
            )
            while not futures.wait([waiting], timeout=_LOOK_EVERY_S).done:
                watch.look()  # a worker may be lost with the result; then its task runs again
            try:
                return waiting.result()[0]
            except KilledWorker as error:
                worker = error.last_worker.address
                return TaskOutcome(
                    error=KilledWorkers(
                        f"{task.title or 'a task'}: {error.allowed_failures + 1} workers ended while they ran it",
                        cause=f"the last one was {worker}; it crashed, or the system ended it for lack of memory",
                        hint="fewer workers have more memory each; the workers' logs tell more",
                    )
                )
            except futures.CancelledError as error:
                raise lost(self._place, str(error)) from error
            except _NO_ANSWER:  # of a connection to a worker that was just lost: the task itself raises none
                again += 1
                if again > _QUESTIONS:
                    raise
                watch.look()
                time.sleep(_LOOK_EVERY_S)

    def _asked(self, question: Callable[[], Any]) -> Any:
        """What all workers answer; asks again if one is lost meanwhile."""
        for again in range(_QUESTIONS, -1, -1):
            try:
                return question()
            except _NO_ANSWER as error:
                self._require_going()
                if not again:
                    raise lost(self._place, str(error)) from error
                time.sleep(_LOOK_EVERY_S)

    def _require_going(self) -> None:
        require_going()
        if self._stopped:
            raise Stopped
        if self.interrupted():  # and the exception was lost
            raise KeyboardInterrupt if threading.current_thread() is threading.main_thread() else Stopped


class _Run:
    """The tasks of one call of `run`, and their outcomes so far."""

    def __init__(
        self, tasks: Sequence[EngineTask], until_error: bool, done: Callable[[int, TaskOutcome], None]
    ) -> None:
        self.tasks, self._until_error, self._done = tasks, until_error, done
        self.outcomes: list[TaskOutcome | None] = [None] * len(tasks)
        self.places = {task: index for index, task in enumerate(tasks)}
        self._end = len(tasks)

    def wanted(self) -> range:
        """Indices of the tasks before the first error, or of all."""
        return range(self._end)

    def left(self) -> list[int]:
        """The wanted tasks without an outcome."""
        return [index for index in self.wanted() if self.outcomes[index] is None]

    def end(self, index: int, outcome: TaskOutcome) -> None:
        self.outcomes[index] = outcome
        if outcome.error is not None and self._until_error:
            self._end = min(self._end, index)
        self._done(index, outcome)

    def first_without_outcome(self, index: int) -> int:
        """The task, or the first one that it depends on that has no outcome: its failure is that of the task."""
        for argument in self.tasks[index].arguments:
            place = self.places.get(argument) if isinstance(argument, EngineTask) else None
            if place is not None and self.outcomes[place] is None:
                return self.first_without_outcome(place)
        return index


class _Watch:
    """Notices that work was stopped, or that nothing can finish any more."""

    def __init__(self, client: Any, place: str, require_going: Callable[[], None]) -> None:
        self._client, self._place, self._require_going = client, place, require_going
        self.seen()

    def seen(self) -> None:
        """Something finished."""
        self._counted = self._manned = time.monotonic()

    def look(self) -> None:
        """Raises Stopped, or a SegexportError if the scheduler or all workers are gone."""
        self._require_going()
        now = time.monotonic()
        if self._client.status in ("closing", "closed"):
            raise lost(self._place, "the connection was closed")
        if now - self._counted < _COUNT_EVERY_S:
            return
        self._counted = now
        with suppress(Exception):  # no answer: as if there were no workers
            if self._client.nthreads():
                self._manned = now
        if now - self._manned > WITHOUT_WORKERS_S:
            raise ClusterError(
                f"{self._place}: no workers left for {WITHOUT_WORKERS_S:g} s",
                cause="all of them ended, or the scheduler does not answer",
                hint="start workers again: dask worker SCHEDULER; then repeat the command: what was finished is kept",
            )


def lost(place: str, cause: str) -> ClusterError:
    """The error for a cluster that went away."""
    return ClusterError(
        f"{place}: the connection to the scheduler was lost",
        cause=cause,
        hint="start the cluster again and repeat the command: steps that were finished are kept",
    )


def _sent(argument: Any) -> Any:
    if not isinstance(argument, Shared):
        return argument
    from segexport.engine.dask_shared import SharedName

    return SharedName(argument.name)


def _tell(ended: queue.SimpleQueue[int], index: int, _future: Any) -> None:
    ended.put(index)
