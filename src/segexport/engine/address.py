"""Reads the option `--on`: where tasks run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from segexport.errors import OptionError

_LOCAL = re.compile(r"local(?::(\d{1,4}))?")
_REMOTE = re.compile(r"(dask|tcp|tls)://([^\s/@]+):(\d{1,5})/?")


@dataclass(frozen=True)
class LocalWorkers:
    """Worker processes on this machine; `count` is None for as many as fit."""

    count: int | None = None


@dataclass(frozen=True)
class Scheduler:
    """The address of a Dask scheduler, in Dask's form: `tcp://HOST:PORT` or `tls://HOST:PORT`."""

    address: str


def is_remote(text: str) -> bool:
    """Whether `parse` reads the address of a scheduler."""
    return isinstance(parse(text), Scheduler)


def parse(text: str) -> LocalWorkers | Scheduler:
    """Reads `local`, `local:N`, `dask://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST:PORT`.

    Raises:
        OptionError: The text is none of these.
    """
    if found := _LOCAL.fullmatch(text):
        count = None if found[1] is None else int(found[1])
        if count != 0:
            return LocalWorkers(count)
    elif (found := _REMOTE.fullmatch(text)) and 0 < int(found[3]) < 1 << 16:
        kind = "tls" if found[1] == "tls" else "tcp"
        return Scheduler(f"{kind}://{found[2]}:{found[3]}")
    raise OptionError(
        f"--on {text}: not a place where tasks can run",
        hint="--on local, --on local:4 (workers), or a Dask scheduler: --on dask://HOST:PORT, --on tls://HOST:PORT",
    )
