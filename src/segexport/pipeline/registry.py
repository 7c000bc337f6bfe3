"""The installed targets, runtimes and steps as typed objects; `pipeline.entry_points` finds them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from segexport.errors import InputError, one_line
from segexport.pipeline.entry_points import formats, instance, instances, load, maker, names, require_known

if TYPE_CHECKING:
    from segexport.exporter.targets.base import ExportTarget
    from segexport.pipeline.step import Step
    from segexport.runtimes.base import Runtime
    from segexport.spec import Format


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
    return instances("target")


def target_named(name: str) -> ExportTarget:
    """The export target of this name.

    Raises:
        InputError: There is none.
        EnvironmentMissingError: Its package is broken.
    """
    return instance("target", name)


def target_of(format: Format) -> ExportTarget | None:
    """The target that makes this format; None for a format that no target makes, such as a Paddle program."""
    return maker(format)


def runtimes() -> dict[str, Runtime]:
    """Every runtime by its name, sorted; those of broken packages are left out."""
    return instances("runtime")


def runtime_for(format: Format, device: str = "cpu", wanted: Collection[str] = ()) -> Runtime:
    """The runtime that runs this format: here, or on a phone for the device `adb` or `adb:SERIAL`.

    Args:
        wanted: Names of runtimes; one that runs the format is preferred to the target's first.

    Raises:
        InputError: Nothing that is installed runs this format, or no runtime has that name.
    """
    kind, _, serial = device.partition(":")
    if kind == "adb":
        from segexport.runtimes.adb import Adb

        return Adb(format, serial=serial)
    for name in wanted:
        require_known("runtime", name, names("runtime"))
    target = target_of(format)
    first = target.runtimes if target is not None else ()
    found = [runtime for runtime in runtimes().values() if runtime.runs == format]
    if not found:
        known = ", ".join(formats())
        raise InputError(f"no runtime here runs {format}", cause=f"the installed runtimes run {known}")
    return min(found, key=lambda runtime: _place(runtime.name, (*wanted, *first)))


def _place(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)
