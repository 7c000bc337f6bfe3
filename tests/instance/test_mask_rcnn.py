"""PaddleX's MaskRCNN: its parameters, its batches, and a training from nothing to objects."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from installed import require, require_worker
from shapes import write_coco

import segexport
from segexport import det
from segexport.det import mask_rcnn
from segexport.det.training import DetectorCourse, Examples, batches
from segexport.errors import DataError, EnvironmentMissingError, InputError, MismatchError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.progress import Silence
from segexport.spec import Pad, Preprocess, Resize
from segexport.task.open_data import open_data

PARAMETERS = """
num_classes backbone with_fpn aspect_ratios anchor_sizes with_dcn rpn_cls_loss rpn_focal_loss_alpha rpn_focal_loss_gamma
rcnn_bbox_loss rcnn_nms keep_top_k nms_threshold score_threshold softnms_sigma bbox_assigner fpn_num_channels
input_channel rpn_batch_size_per_im rpn_fg_fraction test_pre_nms_top_n test_post_nms_top_n
"""
TRAIN = """
self num_epochs train_dataset train_batch_size eval_dataset save_interval_epochs log_interval_steps save_dir
pretrain_weights optimizer learning_rate warmup_steps warmup_start_lr lr_decay_epochs lr_decay_gamma metric use_vdl
early_stop early_stop_patience resume_checkpoint
"""
SMALL = {"TwoFCHead": {"out_channel": 32}, "MaskFeat": {"num_convs": 1, "out_channel": 16}} | {
    "BBoxAssigner": {"batch_size_per_im": 32}
}


class Said(Silence):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four annotated images of 96x64 with red and green shapes."""
    require("pycocotools")
    root = tmp_path_factory.mktemp("shapes") / "data"
    file = write_coco(root, 4, size=(96, 64))
    file.with_name("instances_train.json").write_bytes(file.read_bytes())
    return root


CONTRACT = Preprocess(
    geometry=(
        Resize(width=64, height=64, keep_ratio=True),
        Pad(width=64, height=64, value=(0.0, 0.0, 0.0)),
    ),
    scale=1 / 255,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


@pytest.mark.parametrize(("method", "names"), [(det.MaskRCNN, PARAMETERS), (det.MaskRCNN.train, TRAIN)])
def test_parameters_have_paddlexs_names_and_order(method, names):
    found = inspect.signature(method).parameters
    assert [name for name in found if found[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD] == names.split()


# -- batches ---------------------------------------------------------------------------------------------------------


def test_boxes_and_masks_lie_where_the_network_sees_the_objects(data):
    read = open_data(data, "train")
    example = Examples(read, CONTRACT)[0]
    assert example.tensor.shape == (3, 64, 64)
    assert example.size == (43, 64)  # 96x64 fitted into 64x64
    assert example.masks.shape == (len(example.boxes), 64, 64)
    for box, mask, (label,) in zip(example.boxes, example.masks, example.classes, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        around = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(box, around, atol=1)
        inside = example.tensor[:, mask > 0].mean(axis=1)
        assert inside[label] > 0.5 > inside[1 - label]  # red or green


def test_a_mirrored_image_has_its_objects_where_they_are_mirrored(data):
    example = Examples(open_data(data, "train"), CONTRACT)[0]
    width = example.size[1]
    other = example.mirrored()
    np.testing.assert_array_equal(other.tensor[..., :width], example.tensor[..., :width][..., ::-1])
    np.testing.assert_allclose(other.mirrored().boxes, example.boxes, atol=1e-4)
    for box, mask in zip(other.boxes, other.masks, strict=True):
        columns = np.flatnonzero(mask.any(0))
        np.testing.assert_allclose(box[[0, 2]], [columns[0], columns[-1] + 1], atol=1)


def test_batches_depend_on_seed_and_epoch_only(data):
    examples = Examples(open_data(data, "train"), CONTRACT)
    course = DetectorCourse(num_epochs=2, batch_size=3)

    def drawn(epoch: int) -> list[list[bytes]]:
        return [[one.tensor.tobytes() for one in batch] for batch in batches(examples, course, epoch)]

    assert [len(batch) for batch in drawn(0)] == [3, 1]
    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_the_rate_rises_then_falls():
    course = DetectorCourse(
        num_epochs=12, learning_rate=1.0, warmup_steps=10, warmup_start_lr=0.5, lr_decay_epochs=(2, 3)
    )
    rates = [course.rate(step, 20) for step in (0, 5, 10, 39, 40, 60)]
    np.testing.assert_allclose(rates, [0.5, 0.75, 1, 1, 0.1, 0.01])


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"with_dcn": True}, "with_dcn=True: False is the only one here"),
        ({"rcnn_nms": "MultiClassSoftNMS"}, "rcnn_nms='MultiClassSoftNMS': 'MultiClassNMS' is the only one here"),
        ({"backbone": "HRNet_W18"}, "backbone='HRNet_W18': unknown"),
        ({"anchor_sizes": [32, 64]}, "anchor_sizes: 2 of them"),
        ({"num_classes": 1}, "num_classes=1: the background and a class are 2"),
    ],
)
def test_networks_that_are_refused(given, what):
    with pytest.raises(InputError) as caught:
        det.MaskRCNN(**given)
    assert caught.value.what == what


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"pretrain_weights": "IMAGENET"}, "pretrain_weights='IMAGENET': no weights are known by a name"),
        ({"optimizer": "adam"}, "optimizer='adam': a detector is trained by momentum"),
        ({"use_vdl": True}, "use_vdl=True: the losses of a detector are not written as curves"),
        ({"resume_checkpoint": "output"}, "resume_checkpoint='output': a detector's training does not resume"),
        ({"image_size": (100, 64)}, "image_size=(100, 64): both sides have to be multiples of 32"),
    ],
)
def test_trainings_that_are_refused(data, tmp_path, given, what):
    with pytest.raises(InputError) as caught:
        det.MaskRCNN(3).train(1, data, save_dir=tmp_path / "output", **given)
    assert caught.value.what == what
    assert not (tmp_path / "output").exists()


def test_data_of_other_classes_or_without_masks(data, tmp_path):
    with pytest.raises(MismatchError, match="2 classes, num_classes=81 means 80"):
        det.MaskRCNN().train(1, data, save_dir=tmp_path / "output")
    bare = tmp_path / "bare"
    file = write_coco(bare, 1)
    content = json.loads(file.read_text())
    for one in content["annotations"]:
        del one["segmentation"]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="objects without a mask"):
        Examples(open_data(bare), CONTRACT)


# -- which weights are kept ------------------------------------------------------------------------------------------


class Untrained:
    """A training whose weights are the number of its steps."""

    notes = ()

    def __init__(self, *_: object) -> None:
        self.steps = 0

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, batch, rate) -> dict[str, float]:
        self.steps += 1
        return {"loss": 1.0}

    def weights(self) -> dict[str, np.ndarray]:
        return {"steps": np.array([self.steps])}


@pytest.mark.parametrize(
    ("scores", "early_stop", "kept"),
    [([0.1, 0.3, 0.2, 0.2, 0.9], True, 2), ([0.1, 0.3, 0.2, 0.2, 0.9], False, 5), (None, True, 5)],
)
def test_the_best_weights_are_kept_and_early_stop_ends(data, tmp_path, monkeypatch, scores, early_stop, kept):
    imported: list[int] = []

    def import_model(file, options, store):
        imported.append(int(pickle.loads(file.read_bytes())["steps"][0]) // 4)
        return imported[-1]

    monkeypatch.setattr(mask_rcnn, "DetectorTraining", Untrained)
    monkeypatch.setattr(mask_rcnn, "import_model", import_model)
    monkeypatch.setattr(mask_rcnn, "_score", lambda trained, *_: scores[trained - 1])
    monkeypatch.setattr(mask_rcnn, "place_artifact", lambda made, _output: made)
    made = det.MaskRCNN(3).train(
        5,
        data,
        eval_dataset=data if scores else None,
        save_dir=tmp_path / "output",
        early_stop=early_stop,
        early_stop_patience=2,
    )
    assert made == kept
    assert imported == list(range(1, 5 if early_stop and scores else 6))
    assert pickle.loads((tmp_path / "output" / "model.pdparams").read_bytes())["steps"] == 4 * kept


def test_a_training_that_cannot_start_leaves_no_folder(data, tmp_path, monkeypatch):
    def missing(*_: object) -> None:
        raise EnvironmentMissingError("no Python here has ppdet")

    monkeypatch.setattr(mask_rcnn, "DetectorTraining", missing)
    with pytest.raises(EnvironmentMissingError):
        det.MaskRCNN(3).train(1, data, save_dir=tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_before_it_is_trained():
    with pytest.raises(InputError, match="MaskRCNN: not trained yet"):
        segexport.det.MaskRCNN().predict("a.png")


# -- from nothing to objects -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_evaluate_predict(data, tmp_path, monkeypatch):
    require_worker("ppdet", optional=True)
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    model = det.MaskRCNN(
        3, "ResNet18", anchor_sizes=[8, 16, 32, 64, 128], fpn_num_channels=16, score_threshold=0.0, sections=SMALL
    )
    said = Said()
    made = model.train(
        2, data, 2, data, log_interval_steps=1, save_interval_epochs=2, save_dir=tmp_path / "output",
        learning_rate=0.005, warmup_steps=1, feedback=said,
    )  # fmt: skip
    assert made.path == tmp_path / "output" / "best_model"
    losses = [float(re.search(r"\bloss ([\d.]+)", line)[1]) for line in said.lines if line.startswith("step ")]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    metrics = model.evaluate(data)
    assert 0 <= metrics["segm_mmap"] <= 1
    found = model.predict(str(data / "images" / "000.png"))
    assert {one["category"] for one in found} <= {"red", "green"}
    assert all(one["mask"].shape == (64, 96) for one in found)
    again = import_model(
        tmp_path / "output" / "model.pdparams",
        ImportOptions(config=tmp_path / "output" / "mask_rcnn.yml", input_size=(96, 64), labels=("red", "green")),
        Store(tmp_path / "store"),
    )
    assert again.manifest.preprocess == made.manifest.preprocess
    assert again.manifest.files[1].sha256 == made.manifest.files[1].sha256
