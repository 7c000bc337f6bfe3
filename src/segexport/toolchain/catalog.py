"""Which toolchains there are: found by entry point, segexport's own as those of other packages.

A package adds one with `[project.entry-points."segexport.toolchains"]` in its pyproject.toml; the value names a
`Toolchain`, whose lock file is in that package.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segexport.errors import EnvironmentMissingError
from segexport.pipeline.entry_points import load, names, require_known


@dataclass(frozen=True, eq=False)
class Toolchain:
    """An environment that native tools share.

    Attributes:
        name: On the command line, and what targets and runtimes call it.
        purpose: What it is for: a verb and its object.
        modules: What it brings, and how the version begins of each that was tested; "" where any will do.
        pythons: CPython versions that have wheels of all of it, such as "3.10"; the best first.
        lock: Requirements with hashes, for `pip install --require-hashes`.
        prove: Runs the smallest real job of every tool with the given Python, in separate processes; raises a
            SegexportError if one does not work.
        optional: Installed only if it is named.
    """

    name: str
    purpose: str
    modules: Mapping[str, str]
    pythons: tuple[str, ...]
    lock: Path
    prove: Callable[[Path], None]
    optional: bool = False

    @functools.cached_property
    def digest(self) -> str:
        """Of the lock file: other requirements are another environment."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()[:12]


@functools.cache
def toolchains() -> dict[str, Toolchain]:
    """Every toolchain by its name; those of broken packages are left out."""
    found = {}
    for name in names("toolchain"):
        with contextlib.suppress(EnvironmentMissingError):
            found[name] = load("toolchain", name)
    return found


def toolchain(name: str) -> Toolchain:
    """The toolchain of this name.

    Raises:
        InputError: There is none.
    """
    require_known("toolchain", name, toolchains())
    return toolchains()[name]


def providers(modules: tuple[str, ...]) -> list[Toolchain]:
    """The toolchains that bring all of these modules, the one with the fewest others first."""
    tops = {module.split(".")[0] for module in modules}
    found = [chain for chain in toolchains().values() if tops <= chain.modules.keys()]
    return sorted(found, key=lambda chain: len(chain.modules))
