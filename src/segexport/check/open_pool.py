"""Keeps the opened models of a check in a worker, so that its next task need not load them again."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from segexport.check.request import CheckRequest
from segexport.check.sessions import OpenModels, open_models
from segexport.errors import SegexportError
from segexport.judge.results import Export
from segexport.runtimes.watched import forget_record

_IDLE_S = 30.0  # models of a check whose next task does not come are closed


@dataclass(eq=False)
class _Kept:
    key: Hashable
    models: OpenModels
    stack: ExitStack
    timer: threading.Timer | None = None


_LOCK = threading.Lock()
_FREE: list[_Kept] = []


@contextmanager
def borrowed(key: Hashable, request: CheckRequest, rows: tuple[Export, ...]) -> Iterator[OpenModels]:
    """The opened models of a check; another task of this process has others.

    They are kept for the next task, unless one failed: then its next task finds it as a first one would.

    Args:
        key: Identifies the check, its models and its options.

    Raises:
        SegexportError: As `open_models`.
    """
    kept, others = _taken(key)
    for other in others:  # of an earlier check
        _close(other)
    if kept is None:
        with ExitStack() as stack:
            kept = _Kept(key, open_models(request, rows, stack), stack.pop_all())
    models = kept.models.fresh()
    for session in (models.reference.session, *(export.opened.session for export in models.running)):
        forget_record(session)
    try:
        yield models
    except BaseException:
        _close(kept)
        raise
    if any(export.error is not None for export in models.running):
        _close(kept)
    else:
        _keep(kept)


def _taken(key: Hashable) -> tuple[_Kept | None, list[_Kept]]:
    """Free models of this check, if there are any, and all of other checks."""
    with _LOCK:
        others = [one for one in _FREE if one.key != key]
        own = [one for one in _FREE if one.key == key]
        _FREE[:] = own[1:]
    for one in (*others, *own[:1]):
        if one.timer is not None:
            one.timer.cancel()
    return (own[0] if own else None), others


def _keep(kept: _Kept) -> None:
    kept.timer = threading.Timer(_IDLE_S, _expire, (kept,))
    kept.timer.daemon = True
    with _LOCK:
        _FREE.append(kept)
    kept.timer.start()


def _expire(kept: _Kept) -> None:
    with _LOCK:
        if kept not in _FREE:  # a task has just taken it
            return
        _FREE.remove(kept)
    _close(kept)


def _close(kept: _Kept) -> None:
    with suppress(SegexportError):
        kept.stack.close()
