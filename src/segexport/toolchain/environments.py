"""The environments of toolchains on this machine; all projects share them."""

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
        toolchain: Name of the toolchain.
        digest: Digest of its lock file.
        python_version: Version of its Python, for example `3.10.13`.
        versions: Version of each of the toolchain's modules.
        size_bytes: Size on disk.
        path: Folder of the environment.
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
        """Whether its Python exists: the base Python may have been removed."""
        return os.access(self.python, os.X_OK)


def root() -> Path:
    """$SEGEXPORT_TOOLCHAINS, else the user's data folder."""
    if chosen := os.environ.get(OVERRIDE):
        return Path(chosen).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "segexport" / "toolchains"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "segexport" / "toolchains"


def environments() -> list[Environment]:
    """Every complete environment, including those of other versions of segexport."""
    found = []
    for record in sorted(root().glob(f"*/{_RECORD}")):
        if not record.parent.name.startswith("."):
            with contextlib.suppress(OSError, ValueError, TypeError):  # not ours, or being removed
                found.append(Environment(**json.loads(record.read_text()), path=record.parent))
    return found


def installed(toolchain: Toolchain) -> Environment | None:
    """The toolchain's environment for its current lock file, with the best Python that has one."""
    own = [env for env in environments() if env.toolchain == toolchain.name and env.digest == toolchain.digest]
    rank = {minor: place for place, minor in enumerate(toolchain.pythons)}
    usable = [env for env in own if env.runs and _minor(env) in rank]
    return min(usable, key=lambda env: rank[_minor(env)], default=None)


def place_of(toolchain: Toolchain, python_version: str) -> Path:
    """The folder of the environment for a Python version."""
    short = "".join(python_version.split(".")[:2])
    return root() / f"{toolchain.name}-{toolchain.digest}-cp{short}"


@contextmanager
def unfinished(toolchain: Toolchain) -> Iterator[Path]:
    """A temporary folder for making an environment; removes what killed installs have left.

    Must be called under `lock`, so that another process's folder is not removed as a leftover.
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
    """Moves a tested environment to its final folder, which makes it visible."""
    place = place_of(toolchain, python_version)
    record = Environment(toolchain.name, toolchain.digest, python_version, versions, _size_bytes(folder), place)
    fields = {name: value for name, value in asdict(record).items() if name != "path"}
    (folder / _RECORD).write_text(json.dumps(fields, indent=2))
    if place.exists():  # an environment whose Python was removed does not run
        _remove(place)
    folder.replace(place)
    return record


def remove(environment: Environment) -> None:
    """Deletes an environment. It is renamed first, so that no process finds a half-removed one.

    Raises:
        StorageError: The folder cannot be written.
    """
    try:
        _remove(environment.path)
    except FileNotFoundError:  # another process has removed it
        return
    except OSError as error:
        raise storage_error(error, environment.path) from error


@contextmanager
def lock(name: str, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Locks a toolchain's name against other processes; the system releases the lock if this process is killed.

    Args:
        waiting: Called before waiting if another process has the lock.

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
