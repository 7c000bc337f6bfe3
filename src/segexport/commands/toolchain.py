"""`segexport toolchain`: lists, installs and removes the environments of native tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from segexport.errors import EnvironmentMissingError, NoPythonError, SegexportError
from segexport.files.json_writer import to_json
from segexport.process import pythons
from segexport.process.interpreter import fits, forget_interpreters
from segexport.progress import Progress, silent
from segexport.spec import Frozen
from segexport.toolchain import environments
from segexport.toolchain.catalog import Toolchain, toolchain, toolchains
from segexport.toolchain.hints import how_to_get
from segexport.toolchain.install import install

State = Literal["own", "installed", "missing", "outdated", "broken"]
_STATES = {
    "own": "this environment",
    "installed": "installed",
    "missing": "not installed",
    "outdated": "of another version",
    "broken": "its Python is gone",
}


@dataclass(frozen=True)
class Status:
    """The status of a toolchain, or of an environment for one.

    Attributes:
        state: `own`: the user's own environment has tested versions, which are used; `outdated`: made from another
            version's requirements; `broken`: its Python was removed.
        python: Version of its Python.
        versions: Module -> version.
        size_bytes: Size on disk; 0 if not installed.
        path: Path of its environment.
        hint: How to install it.
    """

    name: str
    purpose: str
    state: State
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    path: str = ""
    hint: str = ""


class ToolchainsDocument(Frozen):
    """All toolchains; `folder`: where their environments are."""

    folder: str
    toolchains: tuple[Status, ...]


def list_toolchains() -> list[Status]:
    """Lists every toolchain and every environment for one, without starting anything."""
    rows = []
    for chain in toolchains().values():
        found = environments.installed(chain)
        if fits(chain):
            rows.append(_own(chain))
        elif found is None:
            rows.append(Status(chain.name, chain.purpose, "missing", hint=how_to_get(chain)))
        for environment in environments.environments():
            if environment.toolchain == chain.name:
                current = environment.digest == chain.digest
                rows.append(_made(environment, chain.purpose, current=current))
    known = toolchains()
    rows += [_made(each, "", current=False) for each in environments.environments() if each.toolchain not in known]
    return rows


def install_toolchains(
    names: Sequence[str] = (), *, progress: Progress = silent, say: Callable[[str], None] = lambda _text: None
) -> list[tuple[str, SegexportError]]:
    """Installs toolchains by name; by default all that are not optional and have a suitable Python.

    Skips a toolchain whose tested versions work in this environment. A failure does not stop the others.

    Returns:
        The failed toolchains, each with its error. Without `names`, a missing Python is reported but is no failure.

    Raises:
        InputError: There is no toolchain of this name.
    """
    failed = []
    wanted = [chain for chain in toolchains().values() if not chain.optional]
    for chain in [toolchain(name) for name in names] or wanted:
        try:
            say(_install(chain, progress, say))
        except NoPythonError as error:
            if names:
                failed.append((chain.name, error))
            else:
                say(f"{chain.name}: left out, {error.what}; {error.hint}")
        except SegexportError as error:
            failed.append((chain.name, error))
    return failed


def remove_toolchains(names: Sequence[str] = (), *, outdated: bool = False) -> tuple[int, int]:
    """Removes the environments of these toolchains and, with `outdated`, those that this version does not use.

    Returns:
        Number of removed environments, and their size in bytes.

    Raises:
        InputError: No toolchain of this name is installed.
        StorageError: A folder cannot be written.
    """
    present = environments.environments()
    for name in names:
        if not any(each.toolchain == name for each in present):
            toolchain(name)
    chains = toolchains()
    current = {(chain.name, chain.digest) for chain in chains.values()}
    chosen = [
        each
        for each in present
        if each.toolchain in names or (outdated and (each.toolchain, each.digest) not in current)
    ]
    for each in chosen:
        with environments.lock(each.toolchain):
            environments.remove(each)
    forget_interpreters()
    return len(chosen), sum(each.size_bytes for each in chosen)


def render(rows: Sequence[Status], form: str, *, color: bool, width: int) -> str:
    """The rows as a table or as JSON."""
    if form == "json":
        return to_json(ToolchainsDocument(folder=str(environments.root()), toolchains=tuple(rows)))
    from segexport.ui.text_table import table

    head = ("toolchain", "what for", "state", "Python", "versions", "size", "where, or how to get it")
    body = [
        (
            row.name,
            row.purpose,
            _STATES[row.state],
            row.python,
            ", ".join(f"{module} {version}" for module, version in row.versions.items()),
            f"{row.size_bytes / 1e6:.0f} MB" if row.size_bytes else "",
            row.path or row.hint,
        )
        for row in rows
    ]
    return table(head, body, title=f"Toolchains in {environments.root()}", color=color, width=width)


def _install(chain: Toolchain, progress: Progress, say: Callable[[str], None]) -> str:
    """Installs a toolchain; returns one line that says what was done."""
    if fits(chain):
        python = Path(sys.executable)
        try:
            with progress(f"{chain.name}: trying this environment", None):
                chain.prove(python)
            versions = ", ".join(f"{name} {version}" for name, version in _own(chain).versions.items())
            return f"{chain.name}: this environment has it ({versions}), nothing to install"
        except SegexportError as error:
            packages = " ".join(pythons.package_of(module) for module in chain.modules)
            raise EnvironmentMissingError(
                f"{chain.name}: {sys.prefix} has it, but it does not work there",
                cause=error.what,
                hint=f"repair it; or `{python} -m pip uninstall {packages}`, then install the toolchain",
            ) from error
    if (found := environments.installed(chain)) is not None:
        return f"{chain.name}: is in {found.path} already"
    made = install(chain, progress=progress, say=say)
    return f"{chain.name}: installed in {made.path}, {made.size_bytes / 1e6:.0f} MB, Python {made.python_version}"


def _own(chain: Toolchain) -> Status:
    python = Path(sys.executable)
    version, modules = pythons.python_version(python), pythons.versions(python, *chain.modules)
    return Status(chain.name, chain.purpose, "own", version, modules, 0, sys.prefix)


def _made(environment: environments.Environment, purpose: str, *, current: bool) -> Status:
    state: State = "outdated" if not current else "installed" if environment.runs else "broken"
    return Status(
        environment.toolchain,
        purpose,
        state,
        environment.python_version,
        environment.versions,
        environment.size_bytes,
        str(environment.path),
    )
