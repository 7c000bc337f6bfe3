"""The interface of an engine, which runs tasks in worker processes here or on other machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from segexport.errors import SegexportError


@dataclass(frozen=True, eq=False)
class EngineTask:
    """A call of a function in a worker.

    Attributes:
        function: A function of a module that workers can import.
        arguments: Picklable values; a `Shared` stands for its value, an earlier task of the same run for its result.
        title: What it does, for messages: `images 1 to 64`.
        alone: Whether it needs a machine on which no other task runs: it measures time.
        key: Tasks with equal keys that run at the same time run once; empty: no other task is equal.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    title: str = ""
    alone: bool = False
    key: str = ""


@dataclass(frozen=True)
class TaskOutcome:
    """The result of a task: a value, or the error that it raised.

    Attributes:
        worker: Name of the worker; empty if it is on this machine.
    """

    value: Any = None
    error: SegexportError | None = None
    worker: str = ""

    def get(self) -> Any:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(frozen=True)
class Shared:
    """Stands for the value of `TaskEngine.share` in the arguments of tasks."""

    name: str


def nothing(_index: int, _outcome: TaskOutcome) -> None: ...


class TaskEngine(Protocol):
    """Worker processes.

    Attributes:
        local: Whether all workers run on this machine, for this command only.
    """

    local: bool

    @property
    def slots(self) -> int:
        """Number of tasks that run at the same time; at least 1."""
        ...

    def share(self, value: Any) -> AbstractContextManager[Shared]:
        """A block in which tasks can have this picklable value, which reaches each worker once."""
        ...

    def run(
        self,
        tasks: Sequence[EngineTask],
        *,
        until_error: bool = False,
        done: Callable[[int, TaskOutcome], None] = nothing,
    ) -> list[TaskOutcome | None]:
        """Runs tasks in any order; a task whose worker is lost runs again in another one.

        Args:
            until_error: Whether an error ends the tasks after it in the sequence; then some of them have no outcome. So
                the first error in the sequence is found, as if the tasks had run one after another.
            done: Called in this thread with the index of each task that ended.

        Returns:
            The outcomes, in the order of the tasks.

        Raises:
            SegexportError: The engine was lost, or has no workers any more.
        """
        ...

    @property
    def stopped(self) -> bool:
        """Whether its tasks were ended, as by Ctrl-C."""
        ...

    def machines(self) -> list[dict[str, object]]:
        """The different machines of the workers, as `measure.environment.describe_machine`; sorted."""
        ...

    def counting(self) -> AbstractContextManager[None]:
        """A block that loads this machine: on a local engine, times are taken before or after it."""
        ...
