"""Machines with one Python: the wheel is installed into it as a user does, and nothing else is there.

Needs a network: packages come from the index that pip is set up for.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from installed import require
from wheels import build_wheel

from segexport.process import pythons

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[2] / "src" / "segexport" / "demo"
NO_NETWORK = re.compile("name resolution|Connection|not known|Network is unreachable|timed out")


@dataclass
class Computer:
    """A home folder, an empty PATH, and one virtual environment."""

    folder: Path
    python: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "OPENBLAS_"))}
        return {**kept, "HOME": str(self.folder), "PATH": str(self.folder / "bin"), "COLUMNS": "200"}

    def install(self, *requirements: str) -> None:
        command = [str(self.python), "-m", "pip", "install", "--quiet", *requirements]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode and NO_NETWORK.search(done.stderr):
            pytest.skip("no network")
        assert done.returncode == 0, done.stderr[-2000:]

    def segexport(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess:
        command = [str(self.python.with_name("segexport")), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def checks(self, export: str, reference: Path) -> None:
        """Compares an export with the original: a verdict of PASS, not only an exit code."""
        images = ["--data", DEMO / "data", "--split", "all", "--latency-seconds", 0]
        self.segexport("check", export, "--reference", reference, *images, "-o", f"{export}-report")
        report = json.loads((self.folder / f"{export}-report" / "report.json").read_text())
        assert report["verdict"] == "PASS"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def computer_with(tmp_path):
    """Makes a computer that has CPython of this version, and on its PATH those of further versions."""

    def make(minor: str, *more: str) -> Computer:
        found = {each: pythons.find((each,), makes_environments=True) for each in (minor, *more)}
        for each, python in found.items():
            if python is None:
                pytest.skip(f"no CPython {each} here")
        (tmp_path / "bin").mkdir()
        for each in more:
            (tmp_path / "bin" / f"python{each}").symlink_to(found[each].resolve())
        subprocess.run([str(found[minor]), "-m", "venv", str(tmp_path / "venv")], check=True)
        return Computer(tmp_path, tmp_path / "venv" / "bin" / "python")

    return make


def export_is_refused(computer: Computer, target: str, pythons_for_it: str) -> None:
    done = computer.segexport("export", DEMO / "model", "--to", target, "-o", "refused", code=2)
    assert f"error: the toolchain {target} is not installed" in done.stderr
    assert f"hint: it needs CPython {pythons_for_it}, and none is here: `pip install uv` (it brings one)" in done.stderr
    assert f"then `segexport toolchain install {target}`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (computer.folder / "refused").exists()


def onnx_works(computer: Computer) -> None:
    computer.segexport("export", DEMO / "model", "--to", "onnx", "-o", "onnx")
    computer.checks("onnx", DEMO / "model")


@pytest.mark.parametrize("minor", ["3.10", "3.11", "3.12"])
def test_a_python_that_paddle_has_wheels_for(computer_with, wheel, minor):
    computer = computer_with(minor)
    computer.install(str(wheel))
    nothing = computer.segexport("doctor", code=2)
    assert "error: nothing here exports a model or runs a model\nhint: segexport toolchain install\n" in nothing.stderr
    computer.segexport("toolchain", "install", "onnx", "paddle")
    onnx_works(computer)
    if minor == "3.10":
        computer.segexport("toolchain", "install", "paddle-lite")
        computer.segexport("export", DEMO / "model", "--to", "paddle-lite", "-o", "lite")
        computer.checks("lite", DEMO / "model")
    else:
        export_is_refused(computer, "paddle-lite", "3.10")
        left_out = computer.segexport("toolchain", "install")
        assert "paddle-lite: left out, the toolchain paddle-lite needs CPython 3.10" in left_out.stderr
    assert "ok" in computer.segexport("doctor").stdout


@pytest.mark.parametrize("minor", ["3.13", "3.14"])
def test_a_newer_python_beside_one_that_paddle_has_wheels_for(computer_with, wheel, minor):
    """The command line keeps its Python; the tools get the other one."""
    computer = computer_with(minor, "3.12")
    computer.install(str(wheel))
    computer.segexport("toolchain", "install", "onnx", "paddle")
    onnx_works(computer)
    export_is_refused(computer, "paddle-lite", "3.10")
    rows = json.loads(computer.segexport("toolchain", "list", "--format", "json").stdout)["toolchains"]
    assert {row["name"]: row["python"][:4] for row in rows if row["state"] == "installed"} == {
        "onnx": "3.12",
        "paddle": "3.12",
    }


@pytest.mark.parametrize("minor", ["3.13", "3.14"])
def test_a_newer_python_alone(computer_with, wheel, minor):
    """Nothing can be converted, and it says why; what was converted elsewhere is checked against a recording."""
    require("paddle", "paddle2onnx", "onnxruntime")
    computer = computer_with(minor)
    computer.install(f"{wheel}[onnx]")
    assert "error: nothing here exports a model\n" in computer.segexport("doctor", code=2).stderr
    export_is_refused(computer, "onnx", "3.12 or 3.11 or 3.10")
    export_is_refused(computer, "paddle-lite", "3.10")
    elsewhere = [sys.executable, "-m", "segexport"]
    onnx, recording = computer.folder / "onnx", computer.folder / "demo.ref"
    images = ["--data", DEMO / "data", "--split", "all", "--latency-seconds", "0"]
    subprocess.run([*elsewhere, "export", DEMO / "model", "--to", "onnx", "-o", onnx], check=True)
    subprocess.run([*elsewhere, "reference", "record", DEMO / "model", *images, "-o", recording], check=True)
    computer.checks("onnx", recording)
