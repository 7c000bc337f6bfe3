"""Interfaces by which work reports messages and progress, whether a console shows them or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from segexport.errors import SegexportError

if TYPE_CHECKING:
    from segexport.artifact import ModelArtifact


class Bar(Protocol):
    """One stretch of work."""

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""


Progress = Callable[[str, int | None], AbstractContextManager[Bar]]  # title, total (None: unknown)


class _Mute:
    def advance(self, count: int = 1) -> None: ...


@contextmanager
def silent(_title: str, _total: int | None = None) -> Iterator[Bar]:
    """A Progress that shows nothing."""
    yield _Mute()


class Feedback(Protocol):
    """Who a command talks to."""

    def say(self, text: str) -> None:
        """What is done now, where the result lies."""

    def warn(self, text: str) -> None:
        """Something that a person should know although the work goes on."""

    def warn_of(self, *models: ModelArtifact) -> None:
        """What had to be assumed or comes out otherwise on the way to these models, each thing once."""

    def error(self, error: SegexportError) -> None:
        """What failed, where the work goes on without it."""

    def progress(self, title: str, total: int | None = None) -> AbstractContextManager[Bar]:
        """A stretch of work."""
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
