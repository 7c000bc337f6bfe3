"""Makes the environment of a toolchain: with uv, which can also install a Python, or else with venv and pip."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segexport.errors import EnvironmentMissingError, NoPythonError, SegexportError
from segexport.files.disk import require_room, storage_error
from segexport.process import pythons
from segexport.process.interpreter import forget_interpreters
from segexport.progress import Bar, Progress, silent
from segexport.toolchain import environments
from segexport.toolchain.catalog import Toolchain
from segexport.toolchain.environments import Environment
from segexport.toolchain.hints import how_to_get_a_python

# Settings of the calling shell that would install packages outside the new environment.
_MISLEADING = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "UV_PYTHON")
_SHOWN_LINES = 3
_PACKAGE = re.compile(r"Collecting |\+ ")  # lines with which pip and uv report a package
_TELLING = re.compile(r"error|No matching|not find|mismatch|hash|resolve|refused|timed out|network", re.IGNORECASE)


@dataclass(frozen=True)
class _Maker:
    """The tools that make an environment.

    Attributes:
        uv: Path of uv, if installed.
        python: The base interpreter: a path, or a version that uv downloads.
    """

    uv: Path | None
    python: str

    def commands(self, folder: Path, lock: Path) -> list[list[str]]:
        """The commands that make the environment `folder` and install the pinned wheels of `lock`, with their hashes.

        The lock lists all packages; other requirements of packages were overridden when the lock was made.
        """
        python = str(folder / "bin" / "python")
        checked = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
        if self.uv:
            return [
                [str(self.uv), "venv", "--no-project", "--python", self.python, str(folder)],
                [str(self.uv), "pip", "install", "--python", python, *checked],
            ]
        return [
            [self.python, "-I", "-m", "venv", str(folder)],
            [python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *checked],
        ]


def _find_maker(toolchain: Toolchain) -> _Maker:
    """Selects how the toolchain's environment can be made on this machine.

    Raises:
        NoPythonError: There is no Python for it, and no uv to install one.
    """
    uv = pythons.find_uv()
    python = pythons.find(toolchain.pythons, makes_environments=uv is None)
    if python is not None:
        return _Maker(uv, str(python))
    if uv is not None:
        return _Maker(uv, toolchain.pythons[0])
    wanted = " or ".join(toolchain.pythons)
    raise NoPythonError(
        f"the toolchain {toolchain.name} needs CPython {wanted}, and there is none here",
        cause="its packages have no wheels for another one; Debian's Python counts with its package python3-venv only",
        hint=how_to_get_a_python(toolchain),
    )


def install(
    toolchain: Toolchain, *, progress: Progress = silent, say: Callable[[str], None] = lambda _text: None
) -> Environment:
    """The toolchain's environment; makes and tests it first if it does not exist.

    Raises:
        NoPythonError: There is no Python for it.
        EnvironmentMissingError: Its packages cannot be downloaded, or one of its tools does not work on this machine.
        StorageError: The disk is full, or the folder cannot be written.
    """
    waiting = f"another process installs {toolchain.name}: waiting for it"
    with environments.lock(toolchain.name, waiting=lambda: say(waiting)):
        if (found := environments.installed(toolchain)) is not None:
            return found
        with environments.unfinished(toolchain) as folder:
            maker = _find_maker(toolchain)
            with progress(f"{toolchain.name}: packages with {'uv' if maker.uv else 'pip'}", None) as bar:
                for command in maker.commands(folder, toolchain.lock):
                    _run(command, folder, toolchain, bar)
            python = folder / "bin" / "python"
            with progress(f"{toolchain.name}: trying it", None) as bar:
                _prove(toolchain, python)
                bar.advance()
            try:
                made = environments.finish(
                    folder, toolchain, pythons.python_version(python), pythons.versions(python, *toolchain.modules)
                )
            except OSError as error:
                raise storage_error(error, folder) from error
    forget_interpreters()
    return made


def _prove(toolchain: Toolchain, python: Path) -> None:
    try:
        toolchain.prove(python)
    except SegexportError as error:
        raise EnvironmentMissingError(
            f"the toolchain {toolchain.name} does not work on this machine, so it was not kept",
            cause=f"{error.what}{f': {error.cause}' if error.cause else ''}",
            hint=error.hint,
        ) from error


def _run(command: list[str], folder: Path, toolchain: Toolchain, bar: Bar) -> None:
    """Runs a command; each package that it reports advances the progress bar."""
    said: list[str] = []
    calm = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    try:
        process = subprocess.Popen(
            command,
            cwd=environments.root(),
            env=calm,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentMissingError(f"{command[0]}: cannot be started", cause=error.strerror or "") from error
    assert process.stdout is not None  # opened with a pipe
    try:
        for line in process.stdout:
            said.append(line.strip())
            if _PACKAGE.match(said[-1]):
                bar.advance()
        code = process.wait()
    finally:
        if process.poll() is None:  # this process is being stopped
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
    if code != 0:
        error = _failed(command, code, said, toolchain)
        if any(os.strerror(errno.ENOSPC) in line for line in said):
            raise storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder)
        require_room(environments.root(), error)
        raise error


def _failed(command: list[str], code: int, said: list[str], toolchain: Toolchain) -> EnvironmentMissingError:
    lines = [line for line in said if line]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    cause = " | ".join(telling[-_SHOWN_LINES:])[:800]
    if toolchain.pythons[0] in command:
        return NoPythonError(
            f"the toolchain {toolchain.name} needs CPython {toolchain.pythons[0]}, and uv could not bring one",
            cause=cause,
            hint=how_to_get_a_python(toolchain),
        )
    tool = "uv" if Path(command[0]).name == "uv" else "pip" if "pip" in command else "venv"
    return EnvironmentMissingError(
        f"the toolchain {toolchain.name} cannot be installed: {tool} exited with code {code}",
        cause=cause,
        hint=f"{tool} needs a network, and takes its own settings for an index or a proxy; "
        f"what it was asked: {' '.join(command)}",
    )
