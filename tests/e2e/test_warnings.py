"""What had to be assumed is said in yellow by every command that meets the model, not in its lineage alone."""

from __future__ import annotations

import pytest

ASSUMED = "warning: model: no deploy.yaml, inference.yml, model.yml beside the model: PaddleSeg's defaults are assumed"
ADDED = "warning: model: the export names no resize, but the program takes 128x128 only: a resize was added"


@pytest.fixture
def bare_program(workplace):
    (workplace.root / "model" / "deploy.yaml").unlink()
    return workplace


@pytest.mark.parametrize(
    "command",
    [
        ("import", "model", "-o", "new"),
        ("export", "model", "--to", "onnx", "-o", "new"),
        ("evaluate", "model", "--data", "data"),
        ("predict", "model", "data/images/tile_00.png"),
        ("golden", "make", "model", "--data", "data", "--images", "1", "-o", "new"),
    ],
)
def test_assumed_preprocessing_and_an_added_resize(bare_program, command):
    done = bare_program.segexport("--quiet", *command)
    assert done.code == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sum(line.startswith(ASSUMED) for line in lines) == 1
    assert lines.count(ADDED) == 1


def test_inspect_shows_them_in_its_table(bare_program):
    done = bare_program.segexport("inspect", "model", COLUMNS="300")
    assert "warning       the export names no resize" in done.stdout


def test_they_are_yellow(bare_program):
    done = bare_program.segexport("--color", "always", "import", "model", "-o", "new", NO_COLOR="")
    assert "\x1b[33mwarning:\x1b[0m model: the export names no resize" in done.stderr


def test_a_poor_calibration_is_said_and_is_in_the_report(workplace):
    recipe = workplace.recipe(exports=[{"to": "onnx", "precision": "int8", "calibration": {"images": 1}}])
    done = workplace.segexport("run", recipe, "-o", "out")
    poor = "calibrated on one image, so the stability of the scales is unknown"
    assert f"warning: model: {poor}" in done.stderr.splitlines()
    assert f"warning: {poor}" in workplace.report()["exports"][0]["notes"]
    again = workplace.segexport("check", "out/exports/onnx-int8", "--reference", "model", "--data", "data", "--split",
                                "all", "--limit", "1", "--latency-seconds", "0")  # fmt: skip
    assert f"warning: model: {poor}" in again.stderr.splitlines()


def test_nothing_is_said_where_nothing_was_assumed(workplace):
    assert "warning" not in workplace.segexport("import", "model", "-o", "new").stderr
