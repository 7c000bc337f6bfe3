"""`segexport data check`, `convert` and `split` as a person meets them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image


def test_check_of_sound_data(bare):
    done = bare.segexport("data", "check", "data", "-o", "checked", "--samples", "2")
    assert done.code == 0
    assert done.stdout.splitlines()[0] == "data: 2 classes; images: train 10, val 3, test 3"
    assert done.stdout.endswith("Check dataset passed !\n")
    found = json.loads((bare.root / "checked/check_dataset_result.json").read_text())
    assert found["check_pass"] is True
    assert found["attributes"]["train_samples"] == 10
    assert len(found["attributes"]["val_sample_paths"]) == 2
    for name in (*found["attributes"]["val_sample_paths"], found["analysis"]["histogram"]):
        assert (bare.root / "checked" / name).is_file()


def test_check_as_json_is_the_file(bare):
    done = bare.segexport("data", "check", "data", "--split", "val", "--format", "json", "-o", "checked")
    assert done.code == 0
    assert json.loads(done.stdout) == json.loads((bare.root / "checked/check_dataset_result.json").read_text())
    assert "train_samples" not in json.loads(done.stdout)["attributes"]


def test_check_of_broken_data_is_exit_code_1(bare):
    (bare.root / "data/images/tile_00.png").write_bytes(b"broken")
    label = bare.root / "data/labels/tile_01.png"
    Image.fromarray(np.full_like(np.asarray(Image.open(label)), 7)).save(label)
    done = bare.segexport("data", "check", "data")
    assert done.code == 1
    assert "tile_00.png" in done.stdout
    assert "label values out of range: 7" in done.stdout
    assert done.stdout.endswith("Check dataset failed: 2 faults\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "gone"], "gone: no such folder"),
        (["check", "data", "--split", "nights"], "nights"),
        (["check", "data", "-o", "data"], "data: the output folder exists and is not empty"),
        (["convert", "data", "-o", "new"], "data: its form is not recognised"),
        (["convert", "gone", "-o", "new"], "gone: no such folder"),
        (["convert", "data", "--labels", "gone.txt", "-o", "new"], "gone.txt: no such file"),
        (["split", "gone"], "gone"),
        (["split", "data", "--train-percent", "80"], "train 80 %, val 10 %, test 0 %"),
        (["split", "data", "--train-percent", "nan"], "train nan %, val 10 %, test 0 %"),
        (["split", "data", "--train-percent", "99", "--val-percent", "0.5", "--test-percent", "0.6"], "train 99 %"),
    ],
)
def test_bad_input(bare, arguments, said):
    done = bare.segexport("data", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.error
    assert "Traceback" not in done.stderr
    assert not (bare.root / "new").exists()
    assert sorted(path.name for path in (bare.root / "data").glob("*.bak")) == []


def test_misused_options(bare):
    for arguments in (["split", "data", "--seed", "-1"], ["convert", "data"], ["check", "data", "--samples", "x"]):
        done = bare.segexport("data", *arguments)
        assert done.code == 2
        assert "Error: " in done.stderr


def test_split_keeps_the_old_lists_and_is_repeatable(bare):
    before = (bare.root / "data/train.txt").read_text()
    done = bare.segexport("data", "split", "data", "--train-percent", "75", "--val-percent", "25", "--stratify")
    assert (done.code, done.stderr) == (0, "data: train 12, val 4\n")
    assert (bare.root / "data/train.txt.bak").read_text() == before
    assert not (bare.root / "data/test.txt").exists()  # it got no part; it is kept as .bak
    assert (bare.root / "data/test.txt.bak").exists()
    first = [(bare.root / f"data/{name}.txt").read_text() for name in ("train", "val")]
    bare.segexport("data", "split", "data", "--train-percent", "75", "--val-percent", "25", "--stratify")
    assert [(bare.root / f"data/{name}.txt").read_text() for name in ("train", "val")] == first
    bare.segexport("data", "split", "data", "--train-percent", "75", "--val-percent", "25", "--seed", "1")
    assert [(bare.root / f"data/{name}.txt").read_text() for name in ("train", "val")] != first
    assert bare.segexport("data", "check", "data").code == 0


def test_convert_of_labelme(bare):
    """A square of class 1 in the corners that LabelMe's polygons name."""
    source = bare.root / "labelme"
    source.mkdir()
    Image.new("RGB", (20, 10)).save(source / "a.png")
    shape = {"label": "car", "shape_type": "polygon", "points": [[2, 3], [7, 3], [7, 8], [2, 8]]}
    content = {"version": "5.0", "imagePath": "a.png", "imageHeight": 10, "imageWidth": 20, "shapes": [shape]}
    (source / "a.json").write_text(json.dumps(content))
    (bare.root / "names.txt").write_text("_background_\nbus\ncar\n")
    done = bare.segexport("data", "convert", "labelme", "--labels", "names.txt", "-o", "converted")
    assert done.code == 0, done.stderr
    assert "converted: from LabelMe, 3 classes; images: train 1" in done.stderr
    mask = np.asarray(Image.open(bare.root / "converted/labels/a.png"))
    assert (mask[3:9, 2:8] == 2).all()
    assert np.count_nonzero(mask) == 36
    assert (bare.root / "converted/labels.txt").read_text().split() == ["_background_", "bus", "car"]
    again = bare.segexport("data", "convert", "labelme", "-o", "converted")
    assert (again.code, again.error) == (2, "converted: the output folder exists and is not empty")


def test_an_interrupted_conversion_leaves_nothing(bare):
    source = bare.root / "labelme"
    source.mkdir()
    for name in "ab":
        Image.new("RGB", (20, 10)).save(source / f"{name}.png")
        shape = {"label": "car", "shape_type": "polygon", "points": [[2, 3], [7, 3], [7, 8]]}
        content = {"imagePath": f"{name}.png", "imageHeight": 10, "imageWidth": 20, "shapes": [shape]}
        (source / f"{name}.json").write_text(json.dumps(content))
    shutil.copyfile(source / "b.json", source / "b.png")  # no image
    done = bare.segexport("data", "convert", "labelme", "-o", "converted")
    assert done.code == 2
    assert "b.png" in done.error
    assert sorted(path.name for path in bare.root.iterdir()) == ["data", "labelme", "model"]
