"""How long work says how far it is, without knowing who listens (the console does, or nobody)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bar(Protocol):
    """One stretch of work."""

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""


Progress = Callable[[str, int | None], AbstractContextManager[Bar]]  # title, total (None: nobody knows)


class _Mute:
    def advance(self, count: int = 1) -> None: ...


@contextmanager
def silent(_title: str, _total: int | None = None) -> Iterator[Bar]:
    """The Progress that nobody listens to."""
    yield _Mute()
