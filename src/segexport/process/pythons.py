"""Finds the Pythons of this machine. Each is executed: a version manager's shim may be on PATH but exit with 127."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_NAMES = ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "python3.9", "python3.8", "python3")
_UV_BESIDE = Path(sys.executable).parent / "uv"  # where `pip install uv` puts it
_IMPORTS = """
import importlib, sys
sys.modules['openvino_telemetry'] = None  # as in `worker_host`: nothing is sent
for name in ('numpy', *sys.argv[1:]): importlib.import_module(name)
print('{}')
"""
_VERSIONS = """
import importlib.metadata, json, sys
def version(module):
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(module) if sys.version_info >= (3, 10) else None
        return importlib.metadata.version(names[0]) if names else ''
print(json.dumps({module: version(module.split('.')[0]) for module in sys.argv[1:]}))
"""
_KIND = """
import json, platform, sys
try:
    import venv, ensurepip
    makes = True
except ImportError:
    makes = False
plain = sys.implementation.name == 'cpython' and 't' not in sys.abiflags
print(json.dumps({'version': platform.python_version() if plain else '', 'makes': makes}))
"""


def candidates() -> Iterator[Path]:
    """Candidates besides ours: on PATH, pyenv's, uv's, the system's; each path once, none executed."""
    homes = (
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")),
    )
    found = [Path(path) for name in _NAMES if (path := shutil.which(name))]
    found += [python for home in homes for python in sorted(home.glob("*/bin/python"), reverse=True)]
    seen = {Path(sys.executable)}
    for candidate in found:
        if candidate not in seen:
            seen.add(candidate)
            yield candidate


def imports(python: Path, *modules: str, timeout_s: float = 60) -> bool:
    """Whether `python` runs and imports `modules` and NumPy, which every worker needs."""
    return _ask(python, _IMPORTS, *modules, timeout_s=timeout_s) is not None


def versions(python: Path, *modules: str) -> dict[str, str]:
    """Module -> version of its package in `python`; "" if it is missing."""
    if python == Path(sys.executable):
        return {module: own_version(module) for module in modules}
    return _ask(python, _VERSIONS, *modules) or dict.fromkeys(modules, "")


def own_version(module: str) -> str:
    """The version of a module's package in our environment; "" if it is missing."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package_of(module))
    return ""


def package_of(module: str) -> str:
    """The name of a module's package in our environment; the module's name if it is missing."""
    top = module.split(".")[0]
    try:
        importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return _packages().get(top, [top])[0]
    return top


@functools.cache
def python_version(python: Path) -> str:
    """The version, such as `3.10.13`; "" if it is no CPython, does not run here, or is free-threaded."""
    return _kind(python)["version"]


def find(minors: Sequence[str], *, makes_environments: bool = False) -> Path | None:
    """A CPython of one of these versions ("3.10"), the best first; ours if it has one of them.

    Args:
        makes_environments: Whether it must have `venv` and `ensurepip`, which Debian's lacks.
    """
    best: tuple[int, Path] | None = None
    for candidate in (Path(sys.executable), *candidates()):
        minor = python_version(candidate).rpartition(".")[0]
        if minor in minors and (_kind(candidate)["makes"] or not makes_environments):
            if candidate == Path(sys.executable):
                return candidate
            if best is None or minors.index(minor) < best[0]:
                best = minors.index(minor), candidate
    return best[1] if best else None


@functools.cache
def find_uv() -> Path | None:
    """The path of a uv that runs, on PATH or beside our Python."""
    for candidate in (shutil.which("uv"), _UV_BESIDE):
        if candidate and Path(candidate).is_file():
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run([candidate, "--version"], capture_output=True, timeout=30, check=True)
                return Path(candidate)
    return None


@functools.cache
def _packages() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


@functools.cache
def _kind(python: Path) -> dict:
    return _ask(python, _KIND) or {"version": "", "makes": False}


def _ask(python: Path, source: str, *arguments: str, timeout_s: float = 60) -> dict | None:
    """The last JSON object that `source` prints; None if there is none or `python` fails."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", source, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        answer = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None
    return answer if isinstance(answer, dict) else None
