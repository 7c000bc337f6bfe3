"""Finds a Python that can really import a runtime: every candidate is executed, none is trusted by its name.

Paddle-Lite's wheels exist for few CPython versions, and a version manager's shim may be on PATH and still exit 127.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from segexport.errors import EnvironmentMissingError

OVERRIDE = "SEGEXPORT_PYTHON"

_PROBE = """
import importlib, importlib.metadata, json, platform, sys
module = sys.argv[1]
importlib.import_module('numpy')
importlib.import_module(module)
top = module.split('.')[0]
names = importlib.metadata.packages_distributions().get(top) if sys.version_info >= (3, 10) else None
try:
    version = importlib.metadata.version(names[0] if names else top)
except importlib.metadata.PackageNotFoundError:
    version = ''
print(json.dumps({'version': version, 'python': platform.python_version()}))
"""

_INSTALL_HINTS = {
    "paddlelite": "its wheels are for CPython 3.10: install one, then `make setup` (or set "
    f"${OVERRIDE} to a Python 3.10 with `pip install paddlelite==2.13rc0 'numpy<2'`)",
    "paddle": "pip install 'segexport[toolchain]'",
    "paddle2onnx": "pip install 'segexport[toolchain]'",
    "onnxruntime": "pip install 'segexport[toolchain]'",
    "onnx": "pip install 'segexport[toolchain]'",
}


@functools.cache
def interpreter_for(module: str) -> Path:
    """The first Python here that imports `module`: the one that $SEGEXPORT_PYTHON names, our own, then any other.

    Raises:
        EnvironmentMissingError: There is none, or the one that was named does not run.
    """
    chosen = os.environ.get(OVERRIDE)
    if chosen:
        if probe(Path(chosen), "json") is None:
            raise EnvironmentMissingError(
                f"${OVERRIDE} is {chosen}, which is not a Python that runs here and has NumPy",
                hint=f"unset {OVERRIDE}, or name the `bin/python` of an environment with `pip install 'numpy<2'`",
            )
        if probe(Path(chosen), module) is not None:
            return Path(chosen)
    if importlib.util.find_spec(module.split(".")[0]) is not None:
        return Path(sys.executable)
    tried = [str(path) for path in (chosen, sys.executable) if path]
    for candidate in _candidates():
        if probe(candidate, module) is not None:
            return candidate
        tried.append(str(candidate))
    raise EnvironmentMissingError(
        f"no Python here can import {module!r}",
        cause=f"tried {', '.join(tried[:6])}{f' and {len(tried) - 6} others' if len(tried) > 6 else ''}",
        hint=_INSTALL_HINTS.get(module.split(".")[0], f"pip install {module}"),
    )


def probe(python: Path, module: str, *, timeout_s: float = 60) -> dict[str, str] | None:
    """Runs `python` and lets it import NumPy (every worker does) and `module`: {version, python}, or None."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _PROBE, module],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None


def _candidates() -> Iterator[Path]:
    """Pythons that may be here: on PATH, pyenv's and uv's; each real file once."""
    names = ("python3.10", "python3.8", "python3", "python3.11", "python3.12")
    homes = (
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")),
    )
    found = [Path(path) for name in names if (path := shutil.which(name))]
    found += [python for home in homes for python in sorted(home.glob("*/bin/python"), reverse=True)]
    seen = {Path(sys.executable)}
    for candidate in found:
        if candidate not in seen:
            seen.add(candidate)
            yield candidate
