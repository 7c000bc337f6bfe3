"""Selects the Python that runs a worker: ours, a toolchain's, or another one that has the worker's modules."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path

from segexport.errors import EnvironmentMissingError
from segexport.process import pythons
from segexport.toolchain import environments
from segexport.toolchain.catalog import Toolchain, providers
from segexport.toolchain.hints import how_to_get

OVERRIDE = "SEGEXPORT_PYTHON"
_NAMED = 3  # number of tried Pythons in a message


@functools.cache
def interpreter_for(*modules: str) -> Path:
    """The Python whose environment has all of `modules`.

    The first of: $SEGEXPORT_PYTHON; ours, if it has versions that a toolchain was tested with; an installed toolchain;
    ours with other versions; any other Python of this machine.

    Raises:
        EnvironmentMissingError: No Python has the modules, or $SEGEXPORT_PYTHON does not run.
    """
    chosen = os.environ.get(OVERRIDE)
    if chosen and _named(chosen, modules):
        return Path(chosen)
    chains = providers(modules)
    ours = all(importlib.util.find_spec(module.split(".")[0]) is not None for module in modules)
    if ours and (not chains or any(fits(chain, modules) for chain in chains)):
        return Path(sys.executable)
    for chain in chains:
        if (environment := environments.installed(chain)) is not None:
            return environment.python
    if ours:
        return Path(sys.executable)
    tried = [path for path in (chosen, sys.executable) if path]
    for candidate in pythons.candidates():
        if pythons.imports(candidate, *modules):
            return candidate
        tried.append(str(candidate))
    raise _missing(modules, chains, tried)


def forget_interpreters() -> None:
    """Clears the cache; call it after a toolchain was installed or removed."""
    interpreter_for.cache_clear()


def fits(chain: Toolchain, modules: tuple[str, ...] = ()) -> bool:
    """Whether our environment has `modules` (default: all of the toolchain's) in tested versions."""
    wanted = {module.split(".")[0] for module in modules} or set(chain.modules)
    return all(
        importlib.util.find_spec(module) is not None and pythons.own_version(module).startswith(chain.modules[module])
        for module in wanted
    )


def _named(chosen: str, modules: tuple[str, ...]) -> bool:
    """Whether the Python in $SEGEXPORT_PYTHON has the modules."""
    if not pythons.imports(Path(chosen)):
        raise EnvironmentMissingError(
            f"${OVERRIDE} is {chosen}, which is not a Python that runs here and has NumPy",
            hint=f"unset {OVERRIDE}, or name the `bin/python` of an environment with `pip install numpy`",
        )
    return pythons.imports(Path(chosen), *modules)


def _missing(modules: tuple[str, ...], chains: list[Toolchain], tried: list[str]) -> EnvironmentMissingError:
    names = " and ".join(map(repr, modules))
    more = f" and {len(tried) - _NAMED} others" if len(tried) > _NAMED else ""
    if not chains:
        return EnvironmentMissingError(
            f"no Python here can import {names}",
            cause=f"tried {', '.join(tried[:_NAMED])}{more}",
            hint=f"pip install {' '.join(modules)}",
        )
    chain = chains[0]
    return EnvironmentMissingError(
        f"the toolchain {chain.name} is not installed: it {chain.purpose}",
        cause=f"no Python here can import {names}; tried {', '.join(tried[:_NAMED])}{more}",
        hint=how_to_get(chain),
    )
