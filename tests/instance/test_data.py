"""Annotations from files: what they say, and what is refused with its place named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shapes import write_coco, write_voc

pytest.importorskip("pycocotools")

from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.task.instance.data import InstanceData
from segexport.task.open_data import open_data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco(tmp_path / "coco", 3)
    return tmp_path / "coco"


def changed(root: Path, change) -> Path:
    """The annotation file after `change(content)`."""
    file = root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return root


def test_coco(root: Path) -> None:
    data = open_data(root)
    assert isinstance(data, InstanceData)
    assert (data.form, data.labels, data.category_ids) == ("COCO", ("red", "green"), (1, 2))
    assert len(data) == 3
    assert data.labelled
    assert data.has_masks
    stated = json.loads((root / "annotations/instances_val.json").read_text())["annotations"]
    first = [one for one in stated if one["image_id"] == 10]
    assert [(one.class_id + 1, list(one.bbox)) for one in data.of("images/000.png")] == [
        (one["category_id"], one["bbox"]) for one in first
    ]
    assert open_data(root / "annotations/instances_val.json").entries == data.entries
    assert len(data.subset(2)) == 2
    assert data.fingerprint == open_data(root).fingerprint


def test_other_annotations_are_another_fingerprint(root: Path) -> None:
    before = open_data(root).fingerprint
    changed(root, lambda content: content["annotations"].pop())
    assert open_data(root).fingerprint != before


def test_a_split_has_its_own_file(root: Path) -> None:
    file = root / "annotations/instances_val.json"
    (root / "annotations/instances_train.json").write_text(file.read_text())
    assert open_data(root, "train").source.name == "instances_train.json"
    with pytest.raises(InputError, match="no COCO file of the split 'test'"):
        open_data(root, "test")


def test_lists_of_label_images_and_plain_folders_stay_what_they_are(tmp_path: Path, root: Path) -> None:
    assert not isinstance(open_data(root / "images"), InstanceData)
    (root / "val.txt").write_text("images/000.png\n")
    assert type(open_data(root)) is Dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=9), "annotation 1: its category_id is 9\ncause: .* are 1, 2"),
        (lambda c: c["annotations"][0].update(category_id=[1]), r"annotation 1: its category_id is \[1\]"),
        (lambda c: c["annotations"][0].update(image_id=99), "annotation 1: its image_id is 99, and no image"),
        (lambda c: c["annotations"].insert(0, 5), "annotation 0: its category_id is 5"),
        (lambda c: c["annotations"][0].update(bbox=[0, 0, -3, 4]), r"annotation 1: its bbox is \[0, 0, -3, 4\]"),
        (lambda c: c["annotations"][0].update(bbox=[0, 0, float("nan"), 4]), "annotation 1: its bbox is"),
        (lambda c: c["annotations"][0].pop("bbox"), "annotation 1: its bbox is None"),
        (
            lambda c: c["annotations"][0].update(segmentation={"size": [7, 7], "counts": [49]}),
            r"annotation 1: its run-length code is of size \[7, 7\]\ncause: its image is \[100, 120\]",
        ),
        (
            lambda c: c["annotations"][0].update(segmentation={"size": [100, 120], "counts": [49]}),
            "annotation 1: its run-length code does not fill an image of 120x100",
        ),
        (
            lambda c: c["annotations"][0].update(segmentation={"size": [100, 120], "counts": "0:<script>"}),
            "annotation 1: its run-length code",
        ),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]]), "annotation 1: a polygon is not a list"),
        (lambda c: c["annotations"][0].update(segmentation=[[1e9] * 6]), "annotation 1: a polygon is not a list"),
        (lambda c: c["annotations"][0].update(area="big"), "annotation 1: its area is 'big'"),
        (lambda c: c["annotations"][0].pop("segmentation"), "some annotations have a segmentation and some have none"),
        (lambda c: c["images"][0].update(file_name="gone.png"), "1 of 3 images are not there: gone.png"),
        (lambda c: c["images"][0].update(file_name="../../etc/passwd"), "images are not there: ../../etc/passwd"),
        (lambda c: c["images"][1].update(id=10), "image 1: its id 10 is taken"),
        (lambda c: c["images"][1].update(file_name="000.png"), "two images have the same file"),
        (lambda c: c["images"][0].pop("file_name"), "image 0 has no `id` or no `file_name`"),
        (lambda c: c["images"].clear(), "annotation 1: its image_id is 10"),
        (lambda c: (c["images"].clear(), c["annotations"].clear()), "no images in it"),
        (lambda c: c["categories"].clear(), "no categories in it"),
        (lambda c: c["categories"][1].update(name="red"), "two categories have the same name"),
    ],
)
def test_broken_annotations(root: Path, change, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_data(changed(root, change))
    assert "instances_val.json" in str(caught.value)


def test_a_file_that_is_no_json(root: Path) -> None:
    (root / "annotations/instances_val.json").write_text('{"images": [')
    with pytest.raises(InputError, match="not JSON"):
        open_data(root)


def test_an_image_of_another_size(root: Path) -> None:
    data = open_data(
        changed(root, lambda content: (content["images"][1].update(width=130), content["annotations"].clear()))
    )
    data.read(0)
    with pytest.raises(InputError, match="is 130x100 there, and 120x100 on disk"):
        data.read(1)


def test_boxes_alone(root: Path) -> None:
    data = open_data(changed(root, lambda content: [one.pop("segmentation") for one in content["annotations"]]))
    assert not data.has_masks


# -- Pascal VOC ------------------------------------------------------------------------------------------------------


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    write_voc(tmp_path / "voc", 2)
    return tmp_path / "voc"


def test_voc_is_what_coco_is(tmp_path: Path, voc_root: Path) -> None:
    write_coco(tmp_path / "coco", 2)
    coco, voc = open_data(tmp_path / "coco"), open_data(voc_root)
    assert (voc.form, voc.labels) == ("VOC", ("red", "green"))
    for number in range(2):
        boxes = [[(one.class_id, one.bbox) for one in data.of(data.entries[number].image)] for data in (coco, voc)]
        assert boxes[0] == boxes[1]
    assert not voc.has_masks


def test_voc_in_the_form_of_paddlex(voc_root: Path) -> None:
    (voc_root / "ImageSets/Main/val.txt").unlink()
    (voc_root / "val_list.txt").write_text("JPEGImages/001.png Annotations/001.xml\n")
    data = open_data(voc_root)
    assert [entry.image for entry in data.entries] == ["JPEGImages/001.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "000.xml: not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "000.xml: a document type in it"),
        ("<annotation><object><name>red</name></object></annotation>", "object 1 has no name, or no box"),
        (
            "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></annotation>",
            "objects of 'cat'\ncause: labels.txt names red, green",
        ),
    ],
)
def test_broken_voc(voc_root: Path, text: str, message: str) -> None:
    (voc_root / "Annotations/000.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        open_data(voc_root)


def test_voc_lists_that_name_nothing(voc_root: Path) -> None:
    (voc_root / "ImageSets/Main/val.txt").write_text("../../x\n")
    with pytest.raises(InputError, match="x' has no annotation"):
        open_data(voc_root)
    (voc_root / "ImageSets/Main/val.txt").write_text("000\n")
    (voc_root / "JPEGImages/000.png").unlink()
    with pytest.raises(InputError, match="'000' has no image"):
        open_data(voc_root)
