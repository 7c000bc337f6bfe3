"""Tasks for workers; they import this module by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from segexport.errors import InputError
from segexport.process.stopping import require_going


def echo(*values: Any) -> tuple[Any, ...]:
    return values


def refuse(what: str) -> None:
    raise InputError(what, hint="no")


def bug() -> None:
    raise ZeroDivisionError("a bug")


def end_worker(marks: str = "") -> None:
    """Ends the process; with `marks`, a folder, the first time only."""
    if not marks or not (Path(marks) / "ended").exists():
        if marks:
            (Path(marks) / "ended").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def note(file: str, seconds: float) -> None:
    """Appends when it began and ended."""
    begin = time.monotonic()
    time.sleep(seconds)
    with Path(file).open("a") as log:
        log.write(f"{begin} {time.monotonic()}\n")


def endless(file: str) -> None:
    """Writes the time into a file until it is stopped."""
    while True:
        Path(file).write_text(str(time.monotonic()))
        require_going()
        time.sleep(0.02)


def unreadable(file: str) -> bytes:
    return Path(file).read_bytes()
