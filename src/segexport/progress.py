"""Interfaces for reporting messages and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from segexport.errors import SegexportError

if TYPE_CHECKING:
    from segexport.artifact import ModelArtifact


class Bar(Protocol):
    """A progress bar of one piece of work."""

    def advance(self, count: int = 1) -> None:
        """Adds `count` finished items."""


Progress = Callable[[str, int | None], AbstractContextManager[Bar]]  # title, total (None: unknown)


class _Mute:
    def advance(self, count: int = 1) -> None: ...


@contextmanager
def silent(_title: str, _total: int | None = None) -> Iterator[Bar]:
    """A Progress that shows nothing."""
    yield _Mute()


class Feedback(Protocol):
    """Receives a command's messages."""

    def say(self, text: str) -> None:
        """Reports the current work or the path of a result."""

    def warn(self, text: str) -> None:
        """Reports a warning."""

    def warn_of(self, *models: ModelArtifact) -> None:
        """Reports the warnings from the lineage of these models, each once."""

    def error(self, error: SegexportError) -> None:
        """Reports a failure that does not stop the work."""

    def progress(self, title: str, total: int | None = None) -> AbstractContextManager[Bar]:
        """Shows the progress of one piece of work."""
        ...


class Silence:
    """A Feedback that shows nothing."""

    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def warn_of(self, *models: ModelArtifact) -> None: ...
    def error(self, error: SegexportError) -> None: ...
    def progress(self, title: str, total: int | None = None) -> AbstractContextManager[Bar]:
        return silent(title, total)


SILENCE = Silence()
