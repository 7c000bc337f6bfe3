"""A model that finds objects as its user calls it, in every format; metrics are those of pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from detector_export import written
from PIL import Image

import segexport
from segexport.artifact import ModelArtifact
from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.from_onnx import adopt_onnx
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.spec import Pad, Resize
from segexport.task.instance.data import InstanceData
from segexport.task.instance.model import InstanceModel
from segexport.task.open_data import open_data

KEYS = {"bbox", "mask", "category", "category_id", "score"}


@pytest.fixture(scope="module")
def model(imported: ModelArtifact) -> Iterator[InstanceModel]:
    with InstanceModel(imported) as opened:
        yield opened


def test_what_an_export_of_paddledetection_says(imported: ModelArtifact) -> None:
    manifest = imported.manifest
    assert manifest.task == "instance"
    assert [spec.semantics for spec in manifest.inputs] == ["image_size", "image", "scale_factor"]
    assert [spec.semantics for spec in manifest.outputs] == ["boxes", "box_count", "instance_masks"]
    assert [(label.id, label.name) for label in manifest.labels] == [(0, "red"), (1, "green")]
    assert all(label.rgb != (0, 0, 0) for label in manifest.labels)  # no background among them
    assert manifest.preprocess.geometry == (
        Resize(width=128, height=128, keep_ratio=True),
        Pad(width=128, height=128, value=(127.5, 127.5, 127.5)),
    )


def test_boxes_without_masks_are_no_instances(tmp_path: Path, store: Store) -> None:
    with pytest.raises(UnsupportedModelError, match="it finds boxes, but gives no mask of each"):
        import_model(written(tmp_path / "boxes", "128x128", "boxes"), ImportOptions(), store)


def test_predict_gives_paddlexs_dicts(model: InstanceModel, coco: Path) -> None:
    image = coco / "images/001.png"
    found = model.predict(str(image))
    assert len(found) >= 2
    assert all(set(one) == KEYS for one in found)
    for one in found:
        assert one["mask"].shape == (128, 128)
        assert one["mask"].dtype == np.uint8
        assert set(np.unique(one["mask"])) <= {0, 1}
        left, top, width, height = one["bbox"]
        rows, columns = np.nonzero(one["mask"])
        inside = (columns >= left - 2) & (columns < left + width + 2) & (rows >= top - 2) & (rows < top + height + 2)
        assert inside.all()
        assert one["category"] == ("red", "green")[one["category_id"]]
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    sure = model.predict(str(image), score_threshold=0.5)
    assert 0 < len(sure) < len(found)
    assert all(one["score"] >= 0.5 for one in sure)


def test_what_is_found_is_what_is_there(model: InstanceModel, coco: Path) -> None:
    """The best object of each image overlaps an annotated one of its class."""
    data = open_data(coco)
    for sample in data:
        best = model.predict(sample.image[:, :, ::-1].copy())[0]
        left, top, width, height = best["bbox"]
        centre = (left + width / 2, top + height / 2)
        around = [
            one.class_id
            for one in data.of(sample.name)
            if one.bbox[0] <= centre[0] <= one.bbox[0] + one.bbox[2]
            and one.bbox[1] <= centre[1] <= one.bbox[1] + one.bbox[3]
        ]
        assert around == [best["category_id"]]


def test_batch_predict_is_predict_for_each(model: InstanceModel, coco: Path) -> None:
    names = [str(coco / f"images/00{index}.png") for index in range(3)]
    found = model.batch_predict(names)
    assert [one.input_path for one in found] == names
    for name, many in zip(names, found, strict=True):
        assert many.objects.same_as(model.predict(name).objects)
    arrays = [np.asarray(Image.open(name))[:, :, ::-1].copy() for name in names]
    assert [len(one) for one in model.batch_predict(arrays)] == [len(one) for one in found]
    assert len(model.batch_predict(coco / "images")) == 12
    with pytest.raises(InputError, match="predict takes one image\nhint: batch_predict"):
        model.predict(names)


def test_an_image_in_which_nothing_is(model: InstanceModel) -> None:
    found = model.predict(np.zeros((50, 70, 3), np.uint8))
    assert len(found) == 0
    assert list(found) == []
    assert found.json["res"]["objects"] == []
    assert found.picture("mask").getextrema() == (0, 0)
    assert found.summary == "nothing"


def test_masks_have_the_images_own_size(free_detector: Path, coco: Path, store: Store) -> None:
    """Sizes that the resize rounds, in both directions."""
    image = Image.open(coco / "images/003.png")
    artifact = import_model(free_detector, ImportOptions(), store)
    with InstanceModel(artifact) as opened:
        for size in ((97, 131), (131, 97), (333, 128), (64, 61)):
            found = opened.predict(np.asarray(image.resize(size)))
            assert (found.objects.size if len(found) else size) == size


def test_saved_as_picture_and_json(model: InstanceModel, coco: Path, tmp_path: Path) -> None:
    found = model.predict(str(coco / "images/001.png"))
    json_file, picture = found.save_to_json(tmp_path), found.save_to_img(tmp_path)
    assert (json_file.name, picture.name) == ("001.json", "001.png")
    content = json.loads(json_file.read_text())
    assert content == json.loads(json.dumps(found.json["res"]))
    assert set(content["objects"][0]) == KEYS
    from segexport.task.instance.detections import decoded

    assert (decoded(content["objects"][0]["mask"], (128, 128)) == found[0]["mask"]).all()
    assert np.asarray(Image.open(picture)).shape == (128, 128, 3)
    assert (np.asarray(Image.open(picture)) != found.image).any()
    numbers = np.asarray(Image.open(found.save_to_img(tmp_path / "n.png", kind="mask", threshold=0.0)))
    assert set(np.unique(numbers)) <= set(range(len(found) + 1))
    assert ((numbers == 1) == (found[0]["mask"] == 1)).all()  # the best one is on top
    with pytest.raises(InputError, match="this is the image itself"):
        found.save_to_img(coco / "images/001.png")
    with pytest.raises(InputError, match="not a kind of picture"):
        found.picture("blue")


def test_print_leaves_masks_out(model: InstanceModel, coco: Path, capsys) -> None:
    model.predict(str(coco / "images/001.png")).print()
    shown = json.loads(capsys.readouterr().out)
    assert shown["res"]["objects"][0]["mask"] == "..."


def test_every_format_finds_the_same(
    imported: ModelArtifact, onnx: ModelArtifact, lite: ModelArtifact, coco: Path
) -> None:
    found = []
    for artifact in (imported, onnx, lite):
        with segexport.load(str(artifact.path)) as opened:
            assert isinstance(opened, InstanceModel)
            found.append(opened.batch_predict(coco / "images"))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert len(one) == len(two)
            assert np.abs(one.objects.boxes - two.objects.boxes).max(initial=0) < 1e-3
            assert np.abs(one.objects.scores - two.objects.scores).max(initial=0) < 1e-4
            assert all((a["mask"] != b["mask"]).mean() < 1e-3 for a, b in zip(one, two, strict=True))


def test_one_object_and_none_in_onnx(onnx: ModelArtifact) -> None:
    """A single box that survives a suppression stays a list of boxes."""
    image = np.zeros((128, 128, 3), np.uint8)
    with InstanceModel(onnx) as opened:
        assert len(opened.predict(image)) == 0
        image[30:50, 38:58, 2] = 225  # BGR
        assert "red" in {one["category"] for one in opened.predict(image)}


def directly(model: InstanceModel, data: InstanceData, kind: str) -> float:
    """pycocotools on the annotation file itself and on what `predict` gives."""
    from pycocotools import mask as mask_tools
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data.source))
        results = []
        for entry in data.entries:
            for one in model.predict(str(data.root / entry.image)):
                results.append(
                    {
                        "image_id": data.image_ids[entry.image],
                        "category_id": one["category_id"] + 1,
                        "score": one["score"],
                        **(
                            {"bbox": one["bbox"]}
                            if kind == "bbox"
                            else {"segmentation": mask_tools.encode(np.asfortranarray(one["mask"]))}
                        ),
                    }
                )
        evaluation = COCOeval(truth, truth.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def test_evaluate_is_pycocotools(model: InstanceModel, coco: Path) -> None:
    metrics, details = model.evaluate(str(coco), batch_size=1, return_details=True)
    data = open_data(coco)
    assert metrics["bbox_mmap"] == pytest.approx(directly(model, data, "bbox"), abs=1e-9)
    assert metrics["segm_mmap"] == pytest.approx(directly(model, data, "segm"), abs=1e-9)
    assert 0.2 < metrics["segm_mmap"] < 1
    assert np.mean(metrics["category_segm_ap"]) == pytest.approx(metrics["segm_mmap"])
    assert set(details) == {"bbox", "mask", "gt"}
    image_id, category_id, box, score = details["bbox"][0]
    assert image_id in data.image_ids.values()
    assert category_id in (1, 2)
    assert len(box) == 4
    assert 0 < score <= 1
    assert len(details["mask"]) == len(details["bbox"])
    stated = json.loads(data.source.read_text())["annotations"]
    assert [(one["image_id"], one["bbox"]) for one in details["gt"]] == [(o["image_id"], o["bbox"]) for o in stated]


def test_evaluate_as_voc_does(model: InstanceModel, coco: Path, voc: Path) -> None:
    """Held against the rule of VOC 2007, counted anew from the detections and annotations that `evaluate` returns."""
    for data, options in ((voc, {}), (coco, {"metric": "VOC"})):
        metrics, details = model.evaluate(str(data), return_details=True, **options)
        aps = []
        for category in sorted({one["category_id"] for one in details["gt"]}):
            truth = [(one["image_id"], one["bbox"]) for one in details["gt"] if one["category_id"] == category]
            found = [(image, box, score) for image, of, box, score in details["bbox"] if of == category]
            aps.append(ap_of_11_points(truth, found))
        assert 0.2 < metrics["bbox_map"] < 1
        assert metrics["bbox_map"] == pytest.approx(np.mean(aps), abs=1e-6)
    assert model.evaluate(str(voc))["segm_map"] is None  # VOC's XML holds boxes only
    assert 0.2 < metrics["segm_map"] < 1


def ap_of_11_points(truth: list[tuple], found: list[tuple]) -> float:
    """Everingham et al. 2010, section 4.2, one detection at a time; boxes are (left, top, width, height)."""

    def iou(one, two) -> float:
        width = min(one[0] + one[2], two[0] + two[2]) - max(one[0], two[0])
        height = min(one[1] + one[3], two[1] + two[3]) - max(one[1], two[1])
        shared = max(width, 0) * max(height, 0)
        return shared / (one[2] * one[3] + two[2] * two[3] - shared)

    taken, points, right = set(), [], 0
    for number, (image, box, _) in enumerate(sorted(found, key=lambda one: -one[2]), start=1):
        rivals = [(iou(box, other), place) for place, (where, other) in enumerate(truth) if where == image]
        best, place = max(rivals, default=(0.0, -1))
        if best >= 0.5 and place not in taken:
            taken.add(place)
            right += 1
        points.append((right / len(truth), right / number))
    return sum(max((p for recall, p in points if recall >= level / 10 - 1e-9), default=0) for level in range(11)) / 11


def test_classes_are_matched_by_their_names(model: InstanceModel, coco: Path, tmp_path: Path) -> None:
    """Categories the other way round, with other numbers, and one that the model does not know."""
    content = json.loads((coco / "annotations/instances_val.json").read_text())
    content["categories"] = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    numbers = {1: 70, 2: 30}
    for one in content["annotations"]:
        one["category_id"] = numbers[one["category_id"]]
    content["categories"] = [{"id": 30, "name": "green"}, {"id": 70, "name": "red"}]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/val.json").write_text(json.dumps(content))
    (tmp_path / "data/images").symlink_to(coco / "images")
    one, two = model.evaluate(coco), model.evaluate(tmp_path / "data")
    assert two["segm_mmap"] == pytest.approx(one["segm_mmap"])
    assert two["category_segm_ap"] == pytest.approx(one["category_segm_ap"][::-1])
    content["categories"].append({"id": 99, "name": "blue"})
    (tmp_path / "data/val.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="the model has 2 classes"):
        model.evaluate(tmp_path / "data")


def test_evaluate_wants_objects(model: InstanceModel, coco: Path) -> None:
    with pytest.raises(InputError, match="no annotated objects"):
        model.evaluate(coco / "images")
    with pytest.raises(InputError, match="metric is 'MAP'\ncause: it is COCO or VOC"):
        model.evaluate(coco, metric="MAP")


def test_target_size_is_not_for_objects(detector: Path) -> None:
    with pytest.raises(InputError, match="target_size\ncause: instance segmentation models have"):
        segexport.load(str(detector), target_size=64)


def test_a_bare_onnx_file_is_adopted(imported: ModelArtifact, onnx: ModelArtifact, store: Store) -> None:
    adopted = adopt_onnx(onnx.file("model"), imported, store)
    assert adopted.manifest.task == "instance"
    assert [spec.semantics for spec in adopted.manifest.outputs] == ["boxes", "box_count", "instance_masks"]
