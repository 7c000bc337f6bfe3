"""The wheel, as a user installs it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installed import require

REPOSITORY = Path(__file__).resolve().parent.parent
HOMES = {"src/segexport": "segexport", "exporter": "segexport/exporter", "compress": "segexport/compress"} | {
    "runtimes": "segexport/runtimes"
}

COPIED = "runtimes/cpp/"  # sources that a person copies into a program; they are not installed


def tracked() -> list[str]:
    """What git knows, or what is there where there is no git (an unpacked archive)."""
    done = subprocess.run(["git", "ls-files", *HOMES], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        names = [name for name in done.stdout.splitlines() if not name.startswith(COPIED)]
        return [name for name in names if (REPOSITORY / name).is_file()]
    return [
        str(path.relative_to(REPOSITORY))
        for home in HOMES
        for path in (REPOSITORY / home).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not any(p.endswith(".egg-info") for p in path.parts)
        if not str(path.relative_to(REPOSITORY)).startswith(COPIED)
    ]


def build_wheel(folder: Path) -> Path:
    """Built from the tracked files alone, in a copy, without a network."""
    require("setuptools")
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("setuptools 77 or later builds the wheel")
    source, out = folder / "source", folder / "wheel"
    for name in (*tracked(), "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, source / name)
    for link in filter(Path.is_symlink, (REPOSITORY / "src/segexport").iterdir()):
        (source / "src/segexport" / link.name).symlink_to(link.readlink())
    if not (source / "README.md").is_file():
        (source / "README.md").write_text("# segexport\n")
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", build, str(out)], cwd=source, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = out.glob("*.whl")
    return file
