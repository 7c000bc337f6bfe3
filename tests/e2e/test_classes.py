"""Classes that do not fit are told before any work, maps are taken, and a file of an export is the export."""

from __future__ import annotations

import json

import pytest
from workplace import make_workplace


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, shared_cache):
    return make_workplace(tmp_path_factory.mktemp("classes") / "work", shared_cache)


@pytest.fixture(scope="module")
def export(workplace):
    assert workplace.segexport("export", "model", "--to", "onnx", "-o", "onnx").code == 0
    return workplace.root / "onnx"


def test_evaluate_takes_a_map_by_ids(workplace, export):
    (workplace.root / "swap.yaml").write_text("0: 1\n1: 0\n")
    plain, swapped = (
        workplace.segexport("evaluate", export, "--data", "data", "--details", "--format", "json", *more)
        for more in ((), ("--label-map", "swap.yaml"))
    )
    assert (plain.code, swapped.code) == (0, 0), swapped.stderr
    before, after = (json.loads(done.stdout) for done in (plain, swapped))
    assert after["confusion_matrix"] == [row[::-1] for row in before["confusion_matrix"]]
    assert after["miou"] < before["miou"]


def test_a_class_that_the_data_has_not_is_a_further_column(workplace, export):
    (workplace.root / "one.yaml").write_text("1: 1\nclass_0: 0\n")
    (workplace.root / "data/labels.txt").write_text("a\nb\nc\n")
    try:
        command = ("evaluate", export, "--data", "data", "--details", "--format", "json")
        refused = workplace.segexport(*command)
        assert (refused.code, refused.error) == (2, "the model has 2 classes, data has 3")
        assert "0: ?  # class_0" in refused.stderr
        taken = workplace.segexport(*command, "--label-map", "one.yaml")
        assert taken.code == 0, taken.stderr
        assert [len(row) for row in json.loads(taken.stdout)["confusion_matrix"]] == [3, 3, 3]
    finally:
        (workplace.root / "data/labels.txt").write_text("background\nnucleus\n")


def test_a_recipe_is_refused_before_anything_is_exported(workplace):
    (workplace.root / "data/labels.txt").write_text("a\nb\nc\n")
    recipe = workplace.recipe(exports=[{"to": "onnx"}], model={"path": "model", "labels": ["x", "y"]})
    done = workplace.segexport("run", recipe, "-o", "out")
    (workplace.root / "data/labels.txt").write_text("background\nnucleus\n")
    assert (done.code, done.stdout) == (2, "")
    assert done.error.startswith("the model has 2 classes, ")
    assert "to_onnx" not in done.stderr
    recipe = workplace.recipe(data={"path": "data", "split": "all", "calibration_split": "holdout"})
    done = workplace.segexport("run", recipe, "-o", "out")
    assert (done.code, "holdout.txt: no such list" in done.error) == (2, True)
    assert "to_onnx" not in done.stderr


@pytest.mark.parametrize("file", ["model.onnx", "manifest.json"])
def test_a_file_of_an_export_is_taken_as_its_folder(workplace, export, file):
    assert workplace.segexport("inspect", export / file) == workplace.segexport("inspect", export)
    common = ("--reference", "model", "--data", "data", "--limit", "2", "--latency-seconds", "0", "--format", "json")
    done = workplace.segexport("check", export / file, *common)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["exports"][0]["format"] == "onnx"
    assert workplace.segexport("bench", export / file, "--latency-seconds", "0.1").code == 0


def test_check_takes_what_the_reference_does_not_state(workplace, export):
    (workplace.root / "names.txt").write_text("sky\nground\n")
    (workplace.root / "how.yaml").write_text("color: rgb\nmean: [0.5, 0.5, 0.5]\nstd: [0.5, 0.5, 0.5]\n")
    common = ("--reference", "model", "--data", "data", "--limit", "2", "--latency-seconds", "0", "--format", "json")
    for more in (("--labels", "names.txt"), ("--preprocess", "how.yaml")):
        done = workplace.segexport("check", export, *common, *more)
        assert done.code in (0, 1), done.stderr
    done = workplace.segexport("check", export, *common, "--labels", "swap.txt")
    assert (done.code, done.error) == (2, "swap.txt: no such file")


def test_a_name_as_long_as_the_file_system_takes(workplace, export):
    photos = workplace.root / "photos"
    photos.mkdir()
    source = (workplace.root / "data/images/tile_00.png").read_bytes()
    for name in ("n" * 251 + ".png", "n" * 250 + "m.png", "é" * 125 + ".png"):
        (photos / name).write_bytes(source)
    done = workplace.segexport("predict", export, "photos", "--json", "-o", "long")
    assert done.code == 0, done.stderr
    assert len(list((workplace.root / "long").iterdir())) == 6
