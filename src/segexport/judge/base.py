"""The interface of a task's gates, which decide from the counts of a run."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from segexport.recipe.limits import Limits
from segexport.spec import TaskName
from segexport.verdict import Check


class Judged(NamedTuple):
    """The checks of an export, and the figures of its row in the report (fields of `ExportResult`)."""

    checks: list[Check]
    figures: dict[str, Any]


class Judge(Protocol):
    """Compares the counts of a run with limits.

    Attributes:
        convention: Definition of the metric, in one sentence.
    """

    @property
    def task(self) -> TaskName: ...
    @property
    def convention(self) -> str: ...

    def export(self, counts: Any, limits: Limits) -> Judged:
        """The gates of an export; `counts` are the task's."""
        ...

    def reference(self) -> dict[str, Any]:
        """The reference's figures (fields of `Reference`)."""
        ...

    def remarks(self) -> list[str]:
        """Warnings about the data."""
        ...
