"""Values that every worker of a Dask cluster has, also one that joins later; a lost worker loses none of them.

Scattered data would be lost with its workers, and a task's result would keep the tasks that need it on the worker that
has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distributed import WorkerPlugin


@dataclass(frozen=True)
class SharedName:
    """Stands for a value in the arguments of a task."""

    name: str


class SharedValue(WorkerPlugin):
    """Brings a value to the workers."""

    def __init__(self, value: Any) -> None:
        self.value = value


def value_of(argument: Any, worker: Any) -> Any:
    """The argument, or the value that it stands for."""
    return worker.plugins[argument.name].value if isinstance(argument, SharedName) else argument
