"""What the doctor says of a machine, and when it says that nothing can be done on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from machines import Machine, bare_machine

import segexport
from segexport.commands import doctor
from segexport.commands.doctor import ComponentStatus, examine, obstacle, render
from segexport.errors import WorkerFailed
from segexport.runtimes.base import Availability


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    with bare_machine(tmp_path, monkeypatch) as made:
        yield made


def runtime(name: str, found: Availability) -> SimpleNamespace:
    return SimpleNamespace(name=name, probe=lambda: found)


def with_tools(monkeypatch, runtimes=(), targets=()) -> None:
    monkeypatch.setattr(doctor, "runtimes", lambda: {each.name: each for each in runtimes})
    monkeypatch.setattr(doctor, "targets", lambda: {each.name: each for each in targets})


def row(findings: list[ComponentStatus], kind: str, name: str = "") -> ComponentStatus:
    (found,) = [each for each in findings if (each.kind, each.name) == (kind, name)]
    return found


LITE = SimpleNamespace(name="lite", title="Lite", toolchains=("lite", "extra"))
RUNS = runtime("lite", Availability(True, "1.5", ("cpu",)))


def test_all_that_works(machine, monkeypatch):
    tried = []
    with_tools(monkeypatch, [RUNS], [LITE])
    made = machine.install(machine.add("lite", {"lite_like": ""}, prove=tried.append), lite_like="1.5")
    machine.add("extra", {"click": "8."}, prove=tried.append)
    findings = segexport.doctor()
    assert row(findings, "runtime", "lite") == ComponentStatus("runtime", "lite", True, "1.5", "runs on cpu")
    assert row(findings, "toolchain", "lite").ok
    assert str(made.path) in row(findings, "toolchain", "lite").detail
    assert row(findings, "target", "lite") == ComponentStatus("target", "lite", True, "", "exports to Lite")
    assert row(findings, "cache").ok
    assert sorted(tried) == sorted([made.python, Path(sys.executable)])
    assert obstacle(findings) is None


def test_what_is_missing_is_told_with_the_command_that_brings_it_and_no_list_of_pythons(machine, monkeypatch):
    absent = Availability(False, reason="the toolchain lite is not installed", hint="segexport toolchain install lite")
    with_tools(monkeypatch, [runtime("lite", absent)], [LITE])
    machine.add("lite", {"lite_like": ""})
    machine.add("extra", {"click": ""})
    findings = examine()
    found = row(findings, "toolchain", "lite")
    assert (found.ok, found.detail, found.hint) == (
        False,
        "does lite: not installed",
        "segexport toolchain install lite",
    )
    assert row(findings, "target", "lite").detail == "exports to Lite: needs the toolchain lite"
    text = render(findings, "table", color=False, width=200)
    assert "make " not in text
    assert sys.executable not in text


def test_one_that_is_there_and_does_not_work_is_not_ok(machine, monkeypatch):
    def prove(_python: Path) -> None:
        raise WorkerFailed("Opt gives wrong scores", hint="another processor")

    with_tools(monkeypatch, [RUNS], [LITE])
    machine.install(machine.add("lite", {"lite_like": ""}, prove=prove))
    found = row(examine(), "toolchain", "lite")
    assert not found.ok
    assert found.detail.endswith(": Opt gives wrong scores")
    assert found.hint == "another processor"


def test_another_version_than_the_tested_one_is_said(machine, monkeypatch):
    with_tools(monkeypatch)
    machine.add("lite", {"click": "2.6."})
    found = row(examine(), "toolchain", "lite")
    assert (found.ok, found.hint) == (True, "tested with click 2.6.*")


@pytest.mark.parametrize(
    ("exports", "runs", "message"),
    [
        (False, False, "nothing here exports a model or runs a model"),
        (False, True, "nothing here exports a model"),
        (True, False, "nothing here runs a model"),
        (True, True, None),
    ],
)
def test_where_nothing_useful_can_be_done_it_says_so(exports, runs, message):
    findings = [
        ComponentStatus("target", "a", exports),
        ComponentStatus("target", "b", False),
        ComponentStatus("runtime", "a", runs),
        ComponentStatus("runtime", "b", False),
        ComponentStatus("toolchain", "a", True),
    ]
    error = obstacle(findings)
    assert (error.what if error else None) == message
    assert error is None or error.hint == "segexport toolchain install"


def test_as_json(machine, monkeypatch):
    with_tools(monkeypatch, [RUNS], [LITE])
    stored = json.loads(render(examine(), "json", color=False, width=80))
    assert set(stored["findings"][0]) == {"kind", "name", "ok", "version", "detail", "hint"}
    assert stored["environment"]["python"].startswith("3.")


def test_the_command_exits_with_2_where_there_is_nothing(tmp_path):
    """A Python that has segexport's own dependencies only, on a machine without anything else."""
    hidden = ["paddle", "paddle2onnx", "paddlelite", "onnx", "onnxruntime", "onnxslim"]
    source = (
        "import shutil, sys\n"
        f"for name in {hidden!r}: sys.modules[name] = None\n"
        "shutil.which = lambda name: None\n"
        "from segexport.cli.main import main; main()\n"
    )
    nothing = {"PYENV_ROOT": "pyenv", "UV_PYTHON_INSTALL_DIR": "uv", "SEGEXPORT_TOOLCHAINS": "toolchains"}
    environment = {**os.environ, **{name: str(tmp_path / folder) for name, folder in nothing.items()}}
    environment.pop("SEGEXPORT_PYTHON", None)
    environment["COLUMNS"] = "200"  # a table that does not wrap
    done = subprocess.run(
        [sys.executable, "-c", source, "doctor"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "error: nothing here exports a model or runs a model\nhint: segexport toolchain install\n" in done.stderr
    assert "missing   toolchain paddle-lite" in done.stdout
    assert "make setup" not in done.stdout
