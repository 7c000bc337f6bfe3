"""The check and the split of a data set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from segexport.data.check import check
from segexport.data.dataset import Dataset
from segexport.data.split import split
from segexport.errors import InputError


def make(root: Path, split_name: str, labels: list[np.ndarray], names: tuple[str, ...] | None = None) -> Path:
    """A data set whose image k has labels[k]; every image is another one."""
    lines = []
    for k, label in enumerate(labels):
        image, target = f"images/{split_name}{k:03}.png", f"labels/{split_name}{k:03}.png"
        for folder in ("images", "labels"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        pixels = np.full((*label.shape, 3), k, np.uint8)
        pixels[0, 0] = len(split_name)
        Image.fromarray(pixels).save(root / image)
        Image.fromarray(label.astype(np.uint8)).save(root / target)
        lines.append(f"{image} {target}\n")
    (root / f"{split_name}.txt").write_text("".join(lines))
    if names:
        (root / "labels.txt").write_text("\n".join(names) + "\n")
    return root


def test_counts_pictures_and_the_keys_of_paddlex(tmp_path):
    one = np.array([[0, 0, 1, 255], [2, 2, 2, 2]])
    two = np.array([[0, 0, 0, 0], [0, 0, 0, 1]])
    root = make(tmp_path / "data", "train", [one, two], ("sky", "a<b", "车"))
    make(root, "val", [one])
    report = check(root, tmp_path / "out", samples=1)
    assert report.passed
    assert report.faults == ()
    train = report.splits["train"]
    assert train.pixels.tolist() == [9, 2, 4]
    assert train.images_with.tolist() == [2, 2, 1]
    assert (train.ignored, train.images, train.sizes) == (1, 2, {(4, 2): 2})
    result = json.loads((tmp_path / "out/check_dataset_result.json").read_text())
    assert (result["done_flag"], result["check_pass"], result["dataset_type"]) == (True, True, "SegDataset")
    attributes = result["attributes"]
    assert (attributes["num_classes"], attributes["train_samples"], attributes["val_samples"]) == (3, 2, 1)
    assert len(attributes["train_sample_paths"]) == 1
    for path in attributes["train_sample_paths"] + attributes["val_sample_paths"]:
        assert Image.open(tmp_path / "out" / path).size == (4, 2)
    assert result["analysis"]["classes"][2] == {
        "id": 2,
        "name": "车",
        "train_pixels": 4,
        "val_pixels": 4,
        "train_images": 1,
        "val_images": 1,
    }
    text = "".join(ElementTree.parse(tmp_path / "out" / result["analysis"]["histogram"]).getroot().itertext())
    assert "1 a<b" in text
    assert "60.00%" in text  # 9 of 15 pixels of train are sky


def test_every_fault_is_reported_and_the_rest_is_counted(tmp_path):
    good = np.zeros((4, 4), int)
    root = make(tmp_path / "data", "val", [good, good, good + 7, good], ("a", "b"))
    (root / "images/val000.png").write_bytes(b"nothing")
    Image.new("L", (5, 4)).save(root / "labels/val001.png")
    report = check(root, tmp_path / "out")
    assert not report.passed
    assert len(report.faults) == 3
    assert "val000.png: not an image (val.txt, line 1)" in report.faults[0]
    assert "the label is 5x4, its image images/val001.png is 4x4" in report.faults[1]
    assert "label values out of range: 7 there are 2 classes" in report.faults[2]
    assert report.splits["val"].pixels.tolist() == [16]
    assert json.loads((tmp_path / "out/check_dataset_result.json").read_text())["check_pass"] is False


def test_a_broken_list_is_a_fault_beside_a_good_one(tmp_path):
    root = make(tmp_path / "data", "train", [np.zeros((2, 2), int)])
    (root / "val.txt").write_text("images/none.png labels/none.png\n")
    report = check(root)
    assert report.faults == (f"{root / 'val.txt'}: line 1: images/none.png: no such file",)
    assert report.splits["train"].images == 1
    with pytest.raises(InputError, match=r"line 1: images/none.png: no such file"):
        check(root, splits=("val",))
    with pytest.raises(InputError, match="no such folder"):
        check(tmp_path / "gone")


def test_what_is_seldom_meant_is_warned_of(tmp_path):
    root = make(tmp_path / "data", "train", [np.array([[0, 255], [255, 0]])], ("background", "cell"))
    make(root, "val", [np.full((2, 2), 255)])
    (root / "images/val000.png").write_bytes((root / "images/train000.png").read_bytes())
    report = check(root)
    assert report.passed
    assert report.warnings == (
        "train: no pixel of cell",
        "train: labels are 0 and 255 only; if 255 is meant as a class, it has to be 1",
        "val: no pixel of background, cell",
        "val: all pixels are 255, which is ignored",
        "1 images are in train and in val: images/train000.png is images/val000.png",
    )


def test_images_without_labels_are_checked_too(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    report = check(tmp_path)
    assert report.warnings == ("val: there are no labels",)
    assert report.splits["val"].sizes == {(3, 2): 1}


def read_lists(root: Path) -> dict[str, list[str]]:
    return {path.stem: path.read_text().splitlines() for path in sorted(root.glob("*.txt")) if path.stem != "labels"}


def test_a_split_is_complete_repeatable_and_keeps_the_old_lists(tmp_path):
    root = make(tmp_path, "train", [np.zeros((2, 2), int)] * 17)
    make(root, "val", [np.zeros((2, 2), int)] * 3)
    before = read_lists(root)
    assert split(root, 90, 10) == {"train": 18, "val": 2}
    after = read_lists(root)
    assert sorted(after["train"] + after["val"]) == sorted(before["train"] + before["val"])
    assert (root / "train.txt.bak").read_text().splitlines() == before["train"]
    assert (root / "val.txt.bak").read_text().splitlines() == before["val"]
    assert split(root, 90, 10) == {"train": 18, "val": 2}  # from the new lists to the same ones
    assert read_lists(root) == after
    assert (root / "train.txt.bak").read_text().splitlines() == before["train"]
    assert (root / "train.txt.bak2").read_text().splitlines() == after["train"]
    split(root, 90, 10, seed=1)
    assert read_lists(root)["val"] != after["val"]
    assert split(root, 60, 20, 20) == {"train": 12, "val": 4, "test": 4}
    assert len(Dataset.open(root, "test")) == 4
    assert split(root, 50, 50) == {"train": 10, "val": 10}
    assert "test" not in read_lists(root)
    assert not list(root.glob(".*"))


def test_a_split_of_folders_without_lists(tmp_path):
    make(tmp_path, "train", [np.zeros((2, 2), int)] * 4)
    (tmp_path / "train.txt").unlink()
    assert split(tmp_path, 50, 50) == {"train": 2, "val": 2}
    assert Dataset.open(tmp_path, "val").labelled
    for name in ("train.txt", "val.txt"):
        (tmp_path / name).unlink()
    (tmp_path / "labels/train002.png").unlink()
    with pytest.raises(InputError, match=r"train002.png: has no label labels/train002.png"):
        split(tmp_path, 50, 50)


def test_a_stratified_split_shares_the_rare_class(tmp_path):
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 2, (4, 4)) for _ in range(40)]
    for label in labels[:10]:
        label[0, 0] = 2
    make(tmp_path, "train", labels)
    for seed in range(3):
        assert split(tmp_path, 80, 20, seed=seed, stratify=True) == {"train": 32, "val": 8}
        rare = Counter(
            name for name in ("train", "val") for sample in Dataset.open(tmp_path, name) if (sample.label == 2).any()
        )
        assert rare == {"train": 8, "val": 2}


@pytest.mark.parametrize(
    ("percents", "message"),
    [
        ((90, 20, 0), "train 90 %, val 20 %, test 0 %\ncause: .*together they are 100"),
        ((100, 0, 0), "train and val get more than 0"),
        ((110, -10, 0), "train and val get more than 0"),
        ((60, 30, 10), "2 images are too few for 10 % test"),
    ],
)
def test_percentages_that_cannot_be(tmp_path, percents, message):
    make(tmp_path, "train", [np.zeros((2, 2), int)] * 2)
    with pytest.raises(InputError, match=message):
        split(tmp_path, *percents)
    assert list(read_lists(tmp_path)) == ["train"]


def test_a_split_needs_images_and_stratifying_needs_labels(tmp_path):
    with pytest.raises(InputError, match="no images to split"):
        split(tmp_path, 50, 50)
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / "images" / name)
    with pytest.raises(InputError, match="there are no labels to stratify by"):
        split(tmp_path, 50, 50, stratify=True)
    assert split(tmp_path, 50, 50) == {"train": 1, "val": 1}
