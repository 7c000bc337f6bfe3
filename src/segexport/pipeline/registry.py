"""The installed targets, runtimes and steps as typed objects; `pipeline.entry_points` finds them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from segexport.errors import EnvironmentMissingError, InputError, OptionError, RecipeError, one_line
from segexport.pipeline.entry_points import formats, instance, instances, load, maker

if TYPE_CHECKING:
    from segexport.exporter.targets.base import ExportTarget
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import Runtime
    from segexport.spec import Format


def make_step(kind: str, params: dict[str, Any]) -> Step:
    """Creates the step of this kind with its parameters.

    Raises:
        InputError: The step is unknown, or its parameters are invalid.
    """
    from pydantic import ValidationError

    step_class = load("step", kind)
    try:
        return step_class(step_class.Params.model_validate(params))
    except ValidationError as error:
        raise RecipeError(f"step {kind!r} does not take these parameters", cause=one_line(error)) from None


def targets() -> dict[str, ExportTarget]:
    """Name -> export target, sorted; those of broken packages are left out."""
    return instances("target")


def target_named(name: str) -> ExportTarget:
    """The export target of this name.

    Raises:
        InputError: The name is unknown.
        EnvironmentMissingError: Its package is broken.
    """
    return instance("target", name)


def target_of(format: Format) -> ExportTarget | None:
    """The target that writes this format; None if no target does, as for a Paddle program."""
    return maker(format)


def runtimes() -> dict[str, Runtime]:
    """Name -> runtime, sorted; those of broken packages are left out."""
    return instances("runtime")


def runtimes_of(format: Format) -> list[Runtime]:
    """The runtimes that run this format: first those that its target lists, in that order, then the others."""
    target = target_of(format)
    first = target.runtimes if target is not None else ()
    found = [runtime for runtime in runtimes().values() if format in runtime.runs]
    return sorted(found, key=lambda runtime: first.index(runtime.name) if runtime.name in first else len(first))


def runtime_for(format: Format, device: str = "cpu", name: str = "") -> Runtime:
    """The runtime for this format: on this machine, or on a phone for the device `adb` or `adb:SERIAL`.

    Args:
        name: The runtime's name; empty: the format's first runtime.

    Raises:
        InputError: No installed runtime runs this format, the name is unknown, or that runtime runs other formats.
        EnvironmentMissingError: The runtime's package is broken.
    """
    kind, _, serial = device.partition(":")
    if kind == "adb":
        from segexport.runtimes.adb import Adb

        return Adb(format, serial=serial)
    target = target_of(format)
    if not name and target is not None and target.runtimes:
        with suppress(InputError, EnvironmentMissingError):  # the others need not be imported
            if format in (first := instance("runtime", target.runtimes[0])).runs:
                return first
    found = runtimes_of(format)
    if not found:
        known = ", ".join(formats())
        raise InputError(f"no runtime here runs {format}", cause=f"the installed runtimes run {known}")
    if not name:
        return found[0]
    named: Runtime = instance("runtime", name)
    if format not in named.runs:
        others = ", ".join(runtime.name for runtime in found)
        raise OptionError(
            f"runtime {name!r} runs {', '.join(named.runs)}, not {format}", hint=f"what runs {format}: {others}"
        )
    return named
