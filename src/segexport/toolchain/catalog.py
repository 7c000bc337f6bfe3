"""Lists the toolchains of segexport and of other packages, found by entry point.

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
    """An environment for native tools.

    Attributes:
        name: Name on the command line, and in targets and runtimes.
        purpose: Purpose, as a verb with its object.
        modules: Module -> prefix of the tested versions; "": any version.
        pythons: CPython versions with wheels of all packages, such as "3.10"; the best first.
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
        """Digest of the lock file; other requirements need another environment."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()[:12]


@functools.cache
def toolchains() -> dict[str, Toolchain]:
    """Name -> toolchain; those of broken packages are left out."""
    found = {}
    for name in names("toolchain"):
        with contextlib.suppress(EnvironmentMissingError):
            found[name] = load("toolchain", name)
    return found


def toolchain(name: str) -> Toolchain:
    """The toolchain of this name.

    Raises:
        InputError: The name is unknown.
    """
    require_known("toolchain", name, toolchains())
    return toolchains()[name]


def providers(modules: tuple[str, ...]) -> list[Toolchain]:
    """The toolchains with all of these modules; the one with the fewest others first."""
    tops = {module.split(".")[0] for module in modules}
    found = [chain for chain in toolchains().values() if tops <= chain.modules.keys()]
    return sorted(found, key=lambda chain: len(chain.modules))
