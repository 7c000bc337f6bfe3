"""The command line as a user runs it: on a copy of the built-in example, with a separate cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from segexport.commands.run import DEMO_RECIPE

EXPORTS = (
    {"to": "onnx"},
    {"to": "onnx", "precision": "int8", "calibration": {"images": 4}},
    {"to": "paddle-lite", "precision": "w8"},
)


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The first line after `error: `."""
        return next((line[7:] for line in self.stderr.splitlines() if line.startswith("error: ")), "")


@dataclass(frozen=True)
class Workplace:
    """A folder with the example's model and images in it.

    Attributes:
        cache: What $SEGEXPORT_CACHE is.
    """

    root: Path
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SEGEXPORT_CACHE": str(self.cache), "COLUMNS": "200", "NO_COLOR": "1"}

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "segexport", *map(str, arguments)]

    def segexport(self, *arguments: str | Path, timeout: float = 120, **environment: str) -> Result:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def recipe(self, name: str = "recipe.yaml", **changes) -> Path:
        """A recipe without timing on three images; a change of None takes a key out."""
        content = {
            "model": {"path": "model"},
            "data": {"path": "data", "split": "all", "calibration_split": "train", "limit": 3},
            "exports": list(EXPORTS),
            "check": {"latency_seconds": 0, "worst_images": 1},
            **changes,
        }
        path = self.root / name
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return path

    def report(self, output: str = "out") -> dict:
        return json.loads((self.root / output / "report.json").read_text())


def make_workplace(root: Path, cache: Path) -> Workplace:
    root.mkdir(parents=True, exist_ok=True)
    for name in ("model", "data"):
        shutil.copytree(DEMO_RECIPE.parent / name, root / name)
    return Workplace(root, cache)
