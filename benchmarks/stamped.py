"""Saves results of benchmarks with their origin: command, commit, version, machine."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from segexport import __version__
from segexport.files.atomic import write_file
from segexport.measure.environment import describe_machine

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"


def save(path: Path, results: Any) -> None:
    """Writes `results` (any JSON value) with a stamp; replaces the file atomically."""
    text = json.dumps({"stamp": stamp(), "results": results}, indent=1, ensure_ascii=False)
    write_file(path, text + "\n")


def load(path: Path) -> Any:
    """Reads the results in a file of `save`."""
    return json.loads(path.read_text(encoding="utf-8"))["results"]


def stamp() -> dict[str, Any]:
    """The origin of this process's results: command, commit (with `+` if files differ from it), machine."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "command": shlex.join(["python", *map(_portable, sys.argv)]),
        "commit": commit + ("+" if commit and changed else ""),
        "version": __version__,
        "machine": describe_machine(),
    }


def _portable(argument: str) -> str:
    """Removes this machine's folders, also from NAME=PATH: a path relative to the repository, or its last two parts."""
    name, equals, value = argument.partition("=")
    if equals and Path(value).is_absolute():
        return name + equals + _portable(value)
    path = Path(argument)
    if not path.is_absolute():
        return argument
    if path.is_relative_to(REPOSITORY):
        return path.relative_to(REPOSITORY).as_posix()
    return "/".join(path.parts[-2:])


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
