"""Finds targets, runtimes, steps and toolchains by entry point, and loads them on first use.

A package adds one with `[project.entry-points."segexport.targets"]` in its pyproject.toml; the other groups are
`segexport.runtimes`, `segexport.steps` and `segexport.toolchains`. segexport's are in `entry_points.ini`, which is
installed as its entry points and also read from here, so that they work without an installation, as in a worker that
runs in another Python. Listing names imports nothing. `pipeline.registry` returns typed objects.
"""

from __future__ import annotations

import configparser
import contextlib
import difflib
import functools
import importlib.metadata
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from segexport.errors import EnvironmentMissingError, OptionError

_GROUPS = {kind: f"segexport.{kind}s" for kind in ("target", "runtime", "step", "toolchain")}
_CLASSES = ("target", "runtime")  # kinds with one shared object per class
_OWN = Path(__file__).with_name("entry_points.ini")


def names(kind: str) -> tuple[str, ...]:
    """The names of all installed objects of a kind, sorted.

    Args:
        kind: `target`, `runtime`, `step` or `toolchain`.
    """
    return tuple(_installed()[kind])


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raises InputError for an unknown name; suggests the most similar known one."""
    known = sorted(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise OptionError(
            f"there is no {kind} {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"the {kind}s are {', '.join(known)}",
        )


def load(kind: str, name: str) -> Any:
    """Loads the object of a name: a class, or a `Toolchain`.

    Raises:
        InputError: The name is unknown.
        EnvironmentMissingError: Its package is broken.
    """
    require_known(kind, name, names(kind))
    entry = _installed()[kind][name]
    with _blamed(kind, entry):
        return entry.load()


@functools.cache
def instances(kind: str) -> dict[str, Any]:
    """Name -> object, for all objects of a kind, sorted; those of broken packages are left out."""
    made = {}
    for name in names(kind):
        with contextlib.suppress(EnvironmentMissingError):
            made[name] = _made(kind, name)
    return made


def instance(kind: str, name: str) -> Any:
    """The object of this name; for a class, one shared instance.

    Raises:
        InputError: The name is unknown.
        EnvironmentMissingError: Its package is broken.
    """
    return _made(kind, name)


def forget() -> None:
    """Clears the caches after a package was installed or removed."""
    for cached in (instances, _made, _installed):
        cached.cache_clear()


def broken() -> list[EnvironmentMissingError]:
    """One error for each object of another package that cannot be loaded."""
    found = []
    for kind in ("target", "runtime", "toolchain"):
        for name in names(kind):
            try:
                _create(kind, name)
            except EnvironmentMissingError as error:
                found.append(error)
    return found


def maker(format: str) -> Any:
    """The target that writes this format; None if no target does, as for a Paddle program."""
    if format in names("target"):  # most formats: nothing else is imported
        with contextlib.suppress(EnvironmentMissingError):
            if (target := _made("target", format)).format == format:
                return target
    return next((target for target in instances("target").values() if target.format == format), None)


def is_format(name: str) -> bool:
    """Whether an artifact may have this format; imports as little as decides it."""
    target = maker(name) if name in names("target") else None
    for runtime in (*(target.runtimes[:1] if target is not None else ()), name):
        with contextlib.suppress(EnvironmentMissingError):
            if runtime in names("runtime") and name in _made("runtime", runtime).runs:
                return True
    return name in formats()


def formats() -> list[str]:
    """The formats that an artifact may have: those that an installed runtime runs, sorted."""
    return sorted({format for runtime in instances("runtime").values() for format in runtime.runs})


class _OwnNames(configparser.ConfigParser):
    """Keeps upper case in names."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@functools.cache
def _installed() -> dict[str, dict[str, EntryPoint]]:
    own = _OwnNames(delimiters=("=",))
    own.read_string(_OWN.read_text(encoding="utf-8"))
    everyones = importlib.metadata.entry_points()  # each call reads those of all packages
    found = {}
    for kind, group in _GROUPS.items():
        entries = {entry.name: entry for entry in everyones.select(group=group)}
        entries |= {name: EntryPoint(name, value, group) for name, value in own[group].items()}
        found[kind] = dict(sorted(entries.items()))
    return found


@functools.cache
def _made(kind: str, name: str) -> Any:
    return _create(kind, name)


def _create(kind: str, name: str) -> Any:
    found = load(kind, name)
    with _blamed(kind, _installed()[kind][name]):
        return found() if kind in _CLASSES else found


@contextlib.contextmanager
def _blamed(kind: str, entry: EntryPoint) -> Iterator[None]:
    """Converts every error of another package to one that names the package."""
    try:
        yield
    except Exception as error:
        package = entry.dist.name if entry.dist is not None else entry.value
        raise EnvironmentMissingError(
            f"{kind} {entry.name!r} of the package {package} cannot be loaded",
            cause=f"{entry.value}: {type(error).__name__}: {error}",
            hint=f"pip install --force-reinstall {package}",
        ) from error
