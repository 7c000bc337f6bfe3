"""`segexport run` and Ctrl-C on workers, as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import recordings
import sleepy
import yaml
from installed import require

from segexport.commands.run import DEMO_RECIPE


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder with the demo's model and images, and with sleepy models as a plugin."""
    require("distributed")
    for name in ("model", "data"):
        shutil.copytree(DEMO_RECIPE.parent / name, tmp_path / name)
    sleepy.install(tmp_path / "plugin")
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    path = os.pathsep.join((str(place / "plugin"), str(Path(sleepy.__file__).parent), *sys.path))
    fixed = {"SEGEXPORT_CACHE": str(place / "cache"), "SOURCE_DATE_EPOCH": "1700000000", "COLUMNS": "200"}
    return {**os.environ, "PYTHONPATH": path, **fixed}


def segexport(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "segexport", *arguments]
    return subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, timeout=240)


def started(place: Path, *arguments: str, until: Callable[[], bool]) -> subprocess.Popen[str]:
    """A command in a group of its own, once `until` holds, or it has ended, or after two minutes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "segexport", *arguments],
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has it ignored
    )
    end = time.monotonic() + 120
    while not until() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    return process


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def write_recipe(place: Path, name: str, model: str, *exports: dict) -> None:
    content = {
        "model": {"path": model},
        "data": {"path": "data", "split": "all", "limit": 9},
        "exports": [{"to": "sleepy", **export} for export in exports],
        "check": {"latency_seconds": 0, "worst_images": 1},
    }
    (place / name).write_text(yaml.safe_dump(content))


def test_several_recipes_run_side_by_side_with_the_bytes_of_one_alone(place):
    require("paddle")
    write_recipe(place, "one.yaml", "model", {"name": "a"}, {"name": "b", "shift": 3})
    write_recipe(place, "two.yaml", "model", {"name": "refused", "refused": "no bed"}, {"name": "fine"})
    write_recipe(place, "three.yaml", "nowhere", {"name": "a"})
    alone = segexport(place, "run", "one.yaml", "-o", "alone")
    assert alone.returncode in (0, 1), alone.stderr
    shutil.rmtree(place / "cache")
    done = segexport(place, "run", "one.yaml", "two.yaml", "three.yaml", "-o", "out", "--on", "local:2")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert files(place / "out" / "one") == files(place / "alone"), done.stderr
    assert "error: three: nowhere: no such file or folder" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert rows[0][:3] == ["3", "recipes:", "ERROR"]
    assert [row[:2] for row in rows if row[0] in ("two", "three")] == [["two", "ERROR"], ["three", "ERROR"]]
    assert sorted(file.name for file in (place / "out").iterdir()) == ["one", "two"]


def test_a_step_that_ends_its_workers_costs_its_own_export_only(place):
    require("paddle")
    write_recipe(place, "killer.yaml", "model", {"name": "killer", "ends_worker": True}, {"name": "fine"})
    write_recipe(
        place, "calm.yaml", "model", {"name": "a", "sleep_s": 0.05}, {"name": "b", "shift": 3, "sleep_s": 0.04}
    )
    write_recipe(place, "quiet.yaml", "model", {"name": "c", "sleep_s": 0.06})
    done = segexport(place, "run", "killer.yaml", "calm.yaml", "quiet.yaml", "-o", "out", "--on", "local:2")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    found = {
        (name, export["name"]): export["error"]
        for name in ("killer", "calm", "quiet")
        for export in json.loads((place / "out" / name / "report.json").read_text())["exports"]
    }
    assert "killer: fall_asleep: 2 workers ended while they ran it" in found.pop(("killer", "killer")), done.stderr
    assert found == dict.fromkeys([("killer", "fine"), ("calm", "a"), ("calm", "b"), ("quiet", "c")]), done.stderr


def test_two_recipes_of_one_name_and_forms_of_one_recipe(place):
    for arguments, message in (
        (("a/r.yaml", "b/r.yaml"), "two recipes are called r"),
        (("a.yaml", "b.yaml", "--format", "junit"), "--format junit takes one recipe"),
    ):
        done = segexport(place, "run", *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_ctrl_c_ends_the_tasks_and_their_workers(place):
    recordings.write_recording(place / "street.ref", recordings.make_data(place / "street", 12))
    (marks := place / "marks").mkdir()
    sleepy.write_model(place / "slow", recordings.manifest(), sleep_s=0.5, marks=str(marks))
    command = ("check", "slow", "--reference", "street.ref", "--data", "street", "--on", "local:2", "-o", "out")
    process = started(place, *command, until=lambda: any(marks.iterdir()))
    workers = {int(file.name.split("-")[1]) for file in marks.iterdir()}
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    assert workers
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not (place / "out").exists()
