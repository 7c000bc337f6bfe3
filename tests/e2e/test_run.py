"""`segexport run` from a recipe to a report: done once, resumed after a kill, the same bytes every time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOOSE = {"miou_margin": None, "class_iou_margin": None, "boundary_iou_margin": None}


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file under a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def wait_until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):  # a folder that is moved while it is listed
            if condition():
                return True
        time.sleep(0.01)
    return False


def test_a_run_its_report_and_a_second_one_that_finds_everything(workplace):
    recipe = workplace.recipe(
        exports=[
            {"to": "onnx"},
            {"to": "onnx", "precision": "fp16", "limits": LOOSE},
            {
                "to": "onnx",
                "precision": "int8",
                "calibration": {"images": 4},
                "limits": LOOSE | {"agreement_class_min": 0.1},
            },
            {"to": "paddle-lite"},
            {"to": "paddle-lite", "precision": "w8", "limits": LOOSE},
        ]
    )
    first = workplace.segexport("run", recipe, "-o", "out")
    report = workplace.report()
    assert first.code == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 1}[report["verdict"]], first.stderr
    names = [export["name"] for export in report["exports"]]
    assert names == ["onnx-fp32", "onnx-fp16", "onnx-int8", "paddle-lite-fp32", "paddle-lite-w8"]
    for export in report["exports"]:
        assert {"name", "format", "precision", "runtime", "verdict", "miou", "checks"} <= set(export)
        assert (workplace.root / "out" / "exports" / export["name"] / "manifest.json").is_file()
        assert export["agreement"] > 0.98
    fp32, lite = report["exports"][0], report["exports"][3]
    assert (fp32["agreement"], fp32["miou_delta"]) == (1.0, 0.0)
    assert lite["agreement"] >= 0.9999
    assert sorted(path.name for path in (workplace.root / "out").iterdir()) == [
        "exports",
        "images",
        "junit.xml",
        "report.html",
        "report.json",
        "report.md",
    ]
    before = digests(workplace.root / "out")

    second = workplace.segexport("run", recipe, "-o", "out")
    assert second.code == first.code
    assert second.stdout == first.stdout
    assert "done in" not in second.stderr
    assert "nothing to do: all 7 steps and the check were found in the cache" in second.stderr
    assert digests(workplace.root / "out") == before

    third = workplace.segexport("run", recipe, "-o", "elsewhere")
    assert "nothing to do" in third.stderr
    assert digests(workplace.root / "elsewhere") == before


def test_exports_carry_no_path_of_the_machine(workplace):
    assert workplace.segexport("run", workplace.recipe(), "-o", "out").code in (0, 1)
    for file in (workplace.root / "out").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for path in (str(workplace.root), str(workplace.cache), str(Path.home()) + "/", sys.prefix):
                assert path.encode() not in content, f"{file.name} names {path}"


def start(workplace, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        workplace.command(*arguments),
        cwd=workplace.root,
        env=workplace.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(workplace, reached, stage: str) -> None:
    """Starts the run and kills it as soon as `reached()`; its workers have to end as well."""
    process = start(workplace, "run", "recipe.yaml", "-o", "out")
    try:
        assert wait_until(lambda: reached() or process.poll() is not None, 60), stage
        assert process.poll() is None, f"the run ended before it was killed in: {stage}"
        time.sleep(0.05)
        workers = children_of(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5), stage


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_with_the_same_bytes(workplace, fresh):
    undisturbed = workplace.segexport("run", workplace.recipe(), "-o", "out")
    assert undisturbed.code in (0, 1)
    fresh.recipe()
    store = fresh.cache / "1"

    def kept() -> int:
        return len(list(store.glob("objects/??/*")))

    def at_work() -> bool:
        return any(store.glob("unfinished/*/*"))

    stages = {
        "import or conversion": lambda: kept() <= 1 and at_work(),
        "calibration": lambda: kept() == 2 and at_work(),
        "Paddle-Lite": lambda: kept() == 3 and at_work(),
        "check": lambda: kept() == 4 and any(fresh.root.glob(".out.unfinished-*")),
    }
    for name, reached in stages.items():
        kill_when(fresh, reached, name)
        assert not (fresh.root / "out").exists()
        if name == "import or conversion":  # or the next stage is never reached
            kill_when(fresh, lambda: kept() == 2, "after the conversion")

    resumed = fresh.segexport("run", "recipe.yaml", "-o", "out")
    assert resumed.code == undisturbed.code
    assert "onnx-fp32: to_onnx found in the cache" in resumed.stderr
    assert digests(fresh.root / "out" / "exports") == digests(workplace.root / "out" / "exports")
    assert sorted(path.name for path in fresh.root.iterdir()) == ["data", "model", "out", "recipe.yaml"]
    fresh.segexport("cache", "gc")
    assert list(store.glob("unfinished/*")) == []


@pytest.mark.slow
def test_threads_do_not_change_the_bytes(workplace, fresh):
    """They are no part of the content key, so they must not."""
    exports = [{"to": "onnx", "precision": "int8", "calibration": {"images": 4}}]
    check = {"latency_seconds": 0, "worst_images": 0}
    workplace.segexport("run", workplace.recipe(exports=exports, check=check), "-o", "out")
    fresh.segexport("run", fresh.recipe(exports=exports, check={**check, "threads": 2}), "-o", "out")
    assert digests(fresh.root / "out/exports") == digests(workplace.root / "out/exports")


def test_an_export_that_fails_is_an_error_row_and_the_others_go_on(workplace):
    recipe = workplace.recipe(
        exports=[
            {"to": "onnx", "name": "impossible", "opset": 3},
            {"to": "onnx"},
            {"to": "paddle-lite", "precision": "w8"},
        ]
    )
    done = workplace.segexport("run", recipe, "-o", "out")
    assert done.code == 2
    assert "error: impossible: paddle2onnx cannot convert this program (opset 3 tried)" in done.stderr
    assert "Traceback" not in done.stderr
    impossible, sound, lite = workplace.report()["exports"]
    assert (impossible["verdict"], sound["verdict"]) == ("ERROR", "PASS")
    assert impossible["error"].startswith("paddle2onnx cannot convert this program (opset 3 tried)")
    assert lite["agreement"] > 0.98
    assert not (workplace.root / "out/exports/impossible").exists()
    assert "impossible" in done.stdout


def test_a_tool_that_is_missing_fails_its_exports_only(workplace, tmp_path):
    source = "import sys; sys.modules['paddlelite'] = None; from segexport.cli.main import main; main()"
    recipe = workplace.recipe(exports=[{"to": "onnx"}, {"to": "paddle-lite"}])
    nothing = tmp_path / "nothing"
    done = subprocess.run(
        [sys.executable, "-c", source, "run", str(recipe), "-o", "out"],
        cwd=workplace.root,
        env={**workplace.environment, "PATH": str(nothing), "PYENV_ROOT": str(nothing), "UV_PYTHON_INSTALL_DIR": "/-"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    sound, missing = workplace.report()["exports"]
    assert (sound["verdict"], missing["verdict"]) == ("PASS", "ERROR")
    assert missing["error"].startswith("the toolchain paddle-lite is not installed")
    assert "no Python here can import 'paddlelite'" in done.stderr


@pytest.mark.parametrize(
    ("limits", "code", "verdict"),
    [({}, 0, "PASS"), ({"agreement_min": 1.0, "size_ratio_max": 0.01}, 1, "FAIL")],
)
def test_exit_codes_of_verdicts(workplace, limits, code, verdict):
    recipe = workplace.recipe(exports=[{"to": "onnx", "limits": limits}])
    done = workplace.segexport("run", recipe, "-o", "out")
    assert (done.code, workplace.report()["verdict"]) == (code, verdict)


def test_times_are_taken_in_the_time_that_was_given(workplace):
    recipe = workplace.recipe(
        exports=[{"to": "onnx"}, {"to": "paddle-lite", "precision": "w8"}],
        check={"latency_seconds": 0.2, "worst_images": 0},
    )
    workplace.segexport("run", recipe, "-o", "out", timeout=300)
    for export in workplace.report()["exports"]:
        latency = export["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
        assert export["latency_ratio"] > 0
        assert export["latency"]["threads"] == 1


def test_an_interrupted_run_says_nothing_is_passed_and_leaves_nothing(fresh):
    """Ctrl-C reaches the whole group, workers too."""
    process = subprocess.Popen(
        fresh.command("run", fresh.recipe(), "-o", "out"),
        cwd=fresh.root,
        env=fresh.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has it ignored
    )
    assert wait_until(lambda: any(fresh.cache.glob("1/unfinished/*/*")), 60)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (fresh.root / "out").exists()
    assert list(fresh.cache.glob("1/unfinished/*")) == []


def test_images_without_labels_are_compared_with_the_reference(workplace):
    """A folder of images is a data set; the check measures agreement only."""
    import shutil

    for name in ("labels", "labels.txt", "all.txt", "train.txt", "val.txt", "test.txt"):
        path = workplace.root / "data" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    recipe = workplace.recipe(exports=[{"to": "onnx"}], data={"path": "data", "limit": 3})
    done = workplace.segexport("run", recipe, "-o", "out")
    assert done.code == 0, done.stderr
    report = workplace.report()
    assert report["dataset"]["labelled"] is False
    assert report["reference"]["miou"] is None
    assert report["exports"][0]["agreement"] == 1.0
