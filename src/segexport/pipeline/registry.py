"""Names to objects: targets, runtimes, steps and toolchains, found by entry point and loaded when first asked for.

A package adds its own with `[project.entry-points."segexport.targets"]` in its pyproject.toml; the other groups are
`segexport.runtimes`, `segexport.steps` and `segexport.toolchains`. segexport's own are in `entry_points.ini`, which is
installed as its entry points and read from here: so they are there without an installation too, as in a worker that
runs in another Python. Names are known without importing anything.
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
from typing import TYPE_CHECKING, Any

from segexport.errors import EnvironmentMissingError, InputError, one_line

if TYPE_CHECKING:
    from segexport.exporter.targets.base import ExportTarget
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import Runtime
    from segexport.spec import Format

_GROUPS = {kind: f"segexport.{kind}s" for kind in ("target", "runtime", "step", "toolchain")}
_CLASSES = ("target", "runtime")  # of which there is one object each
_OWN = Path(__file__).with_name("entry_points.ini")
_PHONE = "segexport.runtimes.adb"


def names(kind: str) -> tuple[str, ...]:
    """The names of everything of a kind that is installed, sorted.

    Args:
        kind: `target`, `runtime`, `step` or `toolchain`.
    """
    return tuple(_installed()[kind])


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raises InputError, with what is nearest to it, for a name that is not among those that are known."""
    known = sorted(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"there is no {kind} {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"the {kind}s are {', '.join(known)}",
        )


def load(kind: str, name: str) -> Any:
    """What is behind a name: a class, or a `Toolchain`.

    Raises:
        InputError: No such name.
        EnvironmentMissingError: The package that brings it is broken.
    """
    require_known(kind, name, names(kind))
    entry = _installed()[kind][name]
    with _blamed(kind, entry):
        return entry.load()


def make_step(kind: str, params: dict[str, Any]) -> Step:
    """The step of this kind with its parameters.

    Raises:
        InputError: No such step, or parameters that it does not take.
    """
    from pydantic import ValidationError

    step_class = load("step", kind)
    try:
        return step_class(step_class.Params.model_validate(params))
    except ValidationError as error:
        raise InputError(f"step {kind!r} does not take these parameters", cause=one_line(error)) from None


def targets() -> dict[str, ExportTarget]:
    """Every export target by its name, sorted; those of broken packages are left out."""
    return _all("target")


def target_named(name: str) -> ExportTarget:
    """The export target of this name.

    Raises:
        InputError: There is none.
        EnvironmentMissingError: Its package is broken.
    """
    return targets().get(name) or _made("target", name)


def target_of(format: Format) -> ExportTarget | None:
    """The target that makes this format; None for what no target makes, as a Paddle program."""
    found = [target for target in targets().values() if target.format == format]
    return min(found, key=lambda target: target.name != format, default=None)


def runtimes() -> dict[str, Runtime]:
    """Every runtime by its name, sorted; those of broken packages are left out."""
    return _all("runtime")


def runtimes_of(format: Format) -> list[Runtime]:
    """The runtimes that run this format: those that its target names, in their order, and then the others."""
    target = target_of(format)
    first = target.runtimes if target is not None else ()
    found = [runtime for runtime in runtimes().values() if format in runtime.runs]
    return sorted(found, key=lambda runtime: first.index(runtime.name) if runtime.name in first else len(first))


def runtime_for(format: Format, device: str = "cpu", name: str = "") -> Runtime:
    """The runtime that runs this format: here, or on a phone for the device `adb` or `adb:SERIAL`.

    Args:
        name: Of the runtime; empty: the format's first.

    Raises:
        InputError: Nothing that is installed runs this format, no runtime has that name, or it runs other formats.
    """
    kind, _, serial = device.partition(":")
    if kind == "adb":
        return importlib.import_module(_PHONE).Adb(format, serial=serial)
    found = runtimes_of(format)
    if name:
        require_known("runtime", name, names("runtime"))
        found = [runtime for runtime in found if runtime.name == name]
        if not found:
            runs = ", ".join(_made("runtime", name).runs)
            others = ", ".join(runtime.name for runtime in runtimes_of(format))
            raise InputError(f"runtime {name!r} runs {runs}, not {format}", hint=f"what runs {format}: {others}")
    if not found:
        known = ", ".join(formats())
        raise InputError(f"no runtime here runs {format}", cause=f"the installed runtimes run {known}")
    return found[0]


def broken() -> list[EnvironmentMissingError]:
    """Why something of another package cannot be used, one error for each."""
    found = []
    for kind in ("target", "runtime", "toolchain"):
        for name in names(kind):
            try:
                _made(kind, name)
            except EnvironmentMissingError as error:
                found.append(error)
    return found


def formats() -> list[Format]:
    """The formats that an artifact may have: what some runtime runs."""
    return sorted({format for runtime in runtimes().values() for format in runtime.runs})


class _OwnNames(configparser.ConfigParser):
    """Names as they are written, not in small letters."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@functools.cache
def _installed() -> dict[str, dict[str, EntryPoint]]:
    own = _OwnNames(delimiters=("=",))
    own.read_string(_OWN.read_text(encoding="utf-8"))
    found = {}
    for kind, group in _GROUPS.items():
        entries = {entry.name: entry for entry in importlib.metadata.entry_points(group=group)}
        entries |= {name: EntryPoint(name, value, group) for name, value in own[group].items()}
        found[kind] = dict(sorted(entries.items()))
    return found


@functools.cache
def _all(kind: str) -> dict[str, Any]:
    made = {}
    for name in names(kind):
        with contextlib.suppress(EnvironmentMissingError):
            made[name] = _made(kind, name)
    return made


def _made(kind: str, name: str) -> Any:
    found = load(kind, name)
    with _blamed(kind, _installed()[kind][name]):
        return found() if kind in _CLASSES else found


@contextlib.contextmanager
def _blamed(kind: str, entry: EntryPoint) -> Iterator[None]:
    """Whatever another package raises is its fault, with its name."""
    try:
        yield
    except Exception as error:
        package = entry.dist.name if entry.dist is not None else entry.value
        raise EnvironmentMissingError(
            f"{kind} {entry.name!r} of the package {package} cannot be loaded",
            cause=f"{entry.value}: {type(error).__name__}: {error}",
            hint=f"pip install --force-reinstall {package}",
        ) from error
