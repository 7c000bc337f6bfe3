"""The environments of toolchains on this machine: outside of every project, shared by all of them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from segexport.files.disk import storage_error
from segexport.toolchain.catalog import Toolchain

OVERRIDE = "SEGEXPORT_TOOLCHAINS"
_RECORD = "toolchain.json"
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class Environment:
    """A toolchain's environment.

    Attributes:
        toolchain: Its toolchain's name.
        digest: Of the lock file that it was made from.
        python_version: `3.10.13`.
        versions: Of each module that the toolchain brings.
        size_bytes: What it takes on the disk.
        path: Its folder.
    """

    toolchain: str
    digest: str
    python_version: str
    versions: dict[str, str]
    size_bytes: int
    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def runs(self) -> bool:
        """Whether its Python is there: the one that it was made from may have been removed since."""
        return os.access(self.python, os.X_OK)


def root() -> Path:
    """$SEGEXPORT_TOOLCHAINS, else the user's data folder."""
    if chosen := os.environ.get(OVERRIDE):
        return Path(chosen).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "segexport" / "toolchains"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "segexport" / "toolchains"


def environments() -> list[Environment]:
    """Every environment that was finished, also those of other versions of segexport."""
    found = []
    for record in sorted(root().glob(f"*/{_RECORD}")):
        if not record.parent.name.startswith("."):
            with contextlib.suppress(OSError, ValueError, TypeError):  # not ours, or removed in this moment
                found.append(Environment(**json.loads(record.read_text()), path=record.parent))
    return found


def installed(toolchain: Toolchain) -> Environment | None:
    """The toolchain's environment for its current lock file, with the best Python that has one."""
    own = [env for env in environments() if env.toolchain == toolchain.name and env.digest == toolchain.digest]
    rank = {minor: place for place, minor in enumerate(toolchain.pythons)}
    usable = [env for env in own if env.runs and _minor(env) in rank]
    return min(usable, key=lambda env: rank[_minor(env)], default=None)


def place_of(toolchain: Toolchain, python_version: str) -> Path:
    """Where the environment for a Python belongs."""
    short = "".join(python_version.split(".")[:2])
    return root() / f"{toolchain.name}-{toolchain.digest}-cp{short}"


@contextmanager
def unfinished(toolchain: Toolchain) -> Iterator[Path]:
    """A folder name for an environment under way; what is left there goes away, also what killed installs have left.

    Must be called under `lock`, so that no other process's folder is taken for a leftover.
    """
    prefix = f"{_UNFINISHED}{toolchain.name}-{toolchain.digest}-"
    for leftover in root().glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = root() / f"{prefix}{os.getpid()}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finish(folder: Path, toolchain: Toolchain, python_version: str, versions: dict[str, str]) -> Environment:
    """Puts a proven environment into its place; only from then on it counts."""
    place = place_of(toolchain, python_version)
    record = Environment(toolchain.name, toolchain.digest, python_version, versions, _size_bytes(folder), place)
    fields = {name: value for name, value in asdict(record).items() if name != "path"}
    (folder / _RECORD).write_text(json.dumps(fields, indent=2))
    if place.exists():  # its Python was removed; what does not run is no use to anybody
        _remove(place)
    folder.replace(place)
    return record


def remove(environment: Environment) -> None:
    """Frees what an environment takes. It is out of the way at once: a half-removed one is never found.

    Raises:
        StorageError: The folder cannot be written.
    """
    try:
        _remove(environment.path)
    except FileNotFoundError:  # somebody else was quicker
        return
    except OSError as error:
        raise storage_error(error, environment.path) from error


@contextmanager
def lock(name: str, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a toolchain's name against other processes; the system lets go of it when this one is killed.

    Args:
        waiting: Called when another process holds it, before it is waited for.

    Raises:
        StorageError: The folder of toolchains cannot be written.
    """
    try:
        root().mkdir(parents=True, exist_ok=True)
        stream = (root() / f".{name}.lock").open("w")
    except OSError as error:
        raise storage_error(error, root()) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _remove(path: Path) -> None:
    name, digest = path.name.rpartition("-")[0].rpartition("-")[::2]
    grave = root() / f"{_UNFINISHED}{name}-{digest}-{os.getpid()}-{secrets.token_hex(4)}"
    path.replace(grave)
    shutil.rmtree(grave, ignore_errors=True)


def _minor(environment: Environment) -> str:
    return environment.python_version.rpartition(".")[0]


def _size_bytes(folder: Path) -> int:
    """Bytes on disk; includes files that uv links from its cache, which are stored once."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
