"""What `dask_engine` runs in a worker: one task, under its machine's lock, until it ends or is cancelled."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from segexport.engine import host_lock
from segexport.engine.base import TaskOutcome
from segexport.engine.installed import differences, installed
from segexport.errors import ClusterError, SegexportError
from segexport.process.stopping import Stopped, stoppable


@dataclass(frozen=True)
class Order:
    """How a worker runs a task.

    Attributes:
        installed: What the client has installed.
        folder: The client's working folder, for workers of this command only; empty: paths are absolute.
    """

    alone: bool
    installed: dict[str, str]
    folder: str = ""


def call(function: Callable[..., Any], order: Order, *arguments: Any) -> TaskOutcome:
    """Runs a task in this worker. Errors of segexport and of files are part of the outcome; others are bugs."""
    from distributed import get_worker

    from segexport.engine.dask_shared import value_of

    worker = get_worker()
    name = "" if order.folder else str(worker.address)
    failed = next((one for one in arguments if isinstance(one, TaskOutcome) and one.error is not None), None)
    if failed is not None:
        return failed
    values = [one.value if isinstance(one, TaskOutcome) else value_of(one, worker) for one in arguments]
    try:
        if other := differences(order.installed, installed()):
            raise mismatch(str(worker.address), other)
        with suppress(FileNotFoundError):
            if order.folder and os.getcwd() != order.folder:
                os.chdir(order.folder)
        with stoppable(_cancelled(worker)), host_lock.machine(alone=order.alone):
            return TaskOutcome(function(*values), worker=name)
    except SegexportError as error:
        return TaskOutcome(error=_named(error, name) if name else error, worker=name)
    except OSError as error:  # the client would take it for one of its connections, or of its own files
        what = f"a task failed on worker {worker.address}"
        return TaskOutcome(error=ClusterError(what, cause=f"{type(error).__name__}: {error}"), worker=name)
    except Stopped:
        return TaskOutcome()  # it is cancelled, so nobody gets this


def versions() -> dict[str, str]:
    """What this worker has installed."""
    return installed()


def mismatch(worker: str, found: list[str]) -> ClusterError:
    """The error for a worker whose environment would give other results."""
    return ClusterError(
        f"worker {worker} has other versions installed than this machine",
        cause="; ".join(found),
        hint="install the same packages in the workers' environment and restart the workers",
    )


def _cancelled(worker: Any) -> Callable[[], bool]:
    """Whether the client has cancelled this thread's task, or has gone; asks the worker, not the network."""
    key, tasks = worker.get_current_task(), worker.state.tasks

    def cancelled() -> bool:
        state = tasks.get(key)
        return state is None or state.state == "cancelled"

    return cancelled


def _named(error: SegexportError, worker: str) -> SegexportError:
    """The same error with the worker's name. Its class stays, and with it what it means."""
    error.what = f"{error.what} (on worker {worker})"
    error.args = (error.what,)
    return error
