"""Runs jobs in threads for a limited time: a call into a network or a dead mount may never return."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_THREADS = 8


def in_time(jobs: Sequence[Callable[[], T]], limit_s: float) -> list[T]:
    """The jobs' results, in their order.

    A job that does not end in time is left behind: its thread cannot be stopped, and does not keep the process alive.

    Raises:
        TimeoutError: The limit has passed.
        Exception: The first error of a job; no further job is begun.
    """
    todo = deque(enumerate(jobs))
    results: dict[int, Any] = {}
    errors: list[BaseException] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                index, job = todo.popleft()
            except IndexError:
                return
            try:
                results[index] = job()
            except BaseException as error:
                errors.append(error)
                stop.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_THREADS, len(jobs)))]
    end = time.monotonic() + limit_s
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    finally:
        stop.set()
    if errors:
        raise errors[0]
    if len(results) < len(jobs):
        raise TimeoutError(f"no answer within {limit_s:.0f} s")
    return [results[index] for index in range(len(jobs))]
