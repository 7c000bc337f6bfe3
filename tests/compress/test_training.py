from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import paddle
import programs
import pytest
from bands import write_data

from segexport.artifact import read_artifact, write_artifact
from segexport.compress import checkpoint
from segexport.compress.batches import Augmentation, Batches, augment, place_label
from segexport.compress.finetune import Finetune
from segexport.compress.logits import logits_of
from segexport.compress.prune import prune
from segexport.compress.prune_step import Prune
from segexport.compress.training import Trainer
from segexport.compress.training_options import Losses, TrainingOptions, learning_rate
from segexport.data.dataset import Dataset
from segexport.errors import InputError, UnsupportedModelError, WorkerFailed
from segexport.exporter.program import Program, read
from segexport.pipeline.step import StepContext
from segexport.preprocess import Placement
from segexport.spec import Preprocess, Resize

_PLAIN = Augmentation(flip=0, zoom=1, brightness=0, contrast=0)


def batches(data: Dataset, **changes) -> Batches:
    return Batches(**{"data": data, "preprocess": Preprocess(), "size": 2, "seed": 5, **changes})


def same(first: Program, second: Program) -> bool:
    return all(np.array_equal(value, second.params[name]) for name, value in first.params.items())


# -- learning rate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "step", "rate"),
    [
        ({}, 0, 0.1),
        ({"lr_decay_power": 1.0}, 5, 0.05),
        ({"lr_decay_power": 2.0}, 5, 0.025),
        ({"lr_decay": "cosine"}, 5, 0.05),
        ({"lr_decay": "cosine"}, 0, 0.1),
        ({"warmup_steps": 4}, 0, 0.025),
        ({"warmup_steps": 4}, 3, 0.1),
        ({"warmup_steps": 4, "lr_decay_power": 1.0}, 7, 0.05),
    ],
)
def test_learning_rate(changes, step, rate):
    options = TrainingOptions(steps=10, learning_rate=0.1, **changes)
    assert learning_rate(options, step) == pytest.approx(rate)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_batch_depends_on_seed_and_step_alone(data):
    first, again = batches(data).at(7), batches(data).at(7)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, batches(data).at(4).images)  # the same place in the next epoch
    assert not np.array_equal(first.images, batches(data, seed=6).at(7).images)


def test_batches_ahead_are_the_batches_asked_for(data):
    source = batches(data)
    for step, batch in zip(range(3, 9), source.following(3), strict=False):
        np.testing.assert_array_equal(batch.images, source.at(step).images)


def test_every_epoch_shows_every_image_once(data):
    plain = batches(data, augmentation=_PLAIN)
    for epoch in range(2):
        shown = [image for step in range(3) for image in plain.at(3 * epoch + step).images]
        assert len({image.tobytes() for image in shown}) == 6


def test_image_without_augmentation_is_the_preprocessed_one(data):
    plain = batches(data, augmentation=_PLAIN, size=6).at(0)
    expected = [(data.read(index).image / 127.5 - 1).transpose(2, 0, 1) for index in range(6)]
    for image in plain.images:
        assert min(np.abs(image - other).max() for other in expected) < 1e-6


def test_label_moves_with_its_image():
    label = np.zeros((40, 60), np.uint8)
    label[5:25, 30:50] = 1
    image = np.repeat(label[..., None] * 200, 3, axis=2).astype(np.uint8)
    moved = 0
    for seed in range(20):
        options = Augmentation(flip=0.5, zoom=2, brightness=0, contrast=0)
        seen, told = augment(image, label, options, np.random.default_rng(seed))
        assert seen.shape == image.shape
        assert ((seen[..., 0] > 100) == (told == 1)).mean() > 0.98
        moved += not np.array_equal(told, label)
    assert moved == 20


def test_padding_under_a_label_is_ignored():
    label = np.array([[1, 2]], np.uint8)
    placed = place_label(label, Placement(((2, 1), (4, 2), (5, 3)), (False, True)), 255)
    assert placed.tolist() == [[1, 1, 2, 2, 255], [1, 1, 2, 2, 255], [255, 255, 255, 255, 255]]


def test_images_of_different_sizes_do_not_make_a_batch(tmp_path):
    for index, side in enumerate((16, 24)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((side, side, 3), np.uint8))
    (tmp_path / "train.txt").write_text("0.png\n1.png\n")
    with pytest.raises(InputError, match=r"png and .*png become tensors of different sizes"):
        batches(Dataset.open(tmp_path, "train")).at(0)
    resized = Preprocess(geometry=(Resize(width=16, height=16),))
    assert batches(Dataset.open(tmp_path, "train"), preprocess=resized).at(0).images.shape == (2, 3, 16, 16)


# -- logits ------------------------------------------------------------------------------------------------------------


class Headed(paddle.nn.Layer):
    def __init__(self, head):
        super().__init__()
        self.kind, self.net = head, programs.SmallSegmenter()

    def forward(self, x):
        logits = self.net(x)
        if self.kind == "softmax":
            return paddle.nn.functional.softmax(logits, axis=1)
        if self.kind == "argmax":
            return paddle.argmax(logits, axis=1).astype("int32")
        return paddle.argmax(paddle.nn.functional.softmax(logits.transpose([0, 2, 3, 1]), axis=3), axis=3)


@pytest.mark.parametrize(("head", "axis"), [("softmax", 1), ("argmax", 1), ("last", 3)])
def test_logits_are_found_behind_every_head(head, axis, tmp_path):
    program = programs.export(Headed(head), tmp_path, [1, 3, 32, 32])
    name, found = logits_of(program)
    assert found == axis
    assert program.shape(name)[axis] == 3
    assert program.producers()[name].type == ("transpose2" if head == "last" else "bilinear_interp_v2")


def test_a_classifier_has_no_logits_to_train_on(tmp_path):
    program = programs.export(
        paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(12, 2)), tmp_path, [1, 3, 2, 2]
    )
    with pytest.raises(UnsupportedModelError, match="no logits to train on"):
        logits_of(program)


# -- training ----------------------------------------------------------------------------------------------------------


def test_training_on_labels_lowers_the_loss(segmenter, data, tmp_path):
    trainer = Trainer(segmenter, None, TrainingOptions(steps=30, learning_rate=1e-2), tmp_path)
    source = batches(data).following(0)
    first, last = trainer.advance(source, 5), None
    last = trainer.advance(itertools.islice(source, 25), 30)
    assert last["loss"] < 0.7 * first["loss"]
    assert trainer.step == 30
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 31))


def test_pruned_student_learns_from_its_teacher_without_labels(segmenter, tmp_path):
    data = write_data(tmp_path, labelled=False)
    student = prune(segmenter, 0.5).program
    losses = Losses(cross_entropy=0, kl=1, cwd=0.5, dist=0.5, attention=10)
    feature = next(op for op in student.ops if op.type == "concat").output("Out")
    options = TrainingOptions(steps=30, learning_rate=1e-2, losses=losses, features=(feature,))
    trainer = Trainer(student, segmenter, options, tmp_path / "work")
    source = batches(data).following(0)
    first = trainer.advance(source, 3)
    last = trainer.advance(source, 30)
    assert set(first) == {"loss", "kl", "cwd", "dist", "attention"}
    assert last["loss"] < first["loss"]


@pytest.mark.parametrize(
    "changes", [{"optimizer": "adamw"}, {"optimizer": "momentum", "ema": 0.9, "lr_decay": "cosine", "warmup_steps": 2}]
)
def test_killed_training_ends_with_the_same_weights(changes, segmenter, data, tmp_path):
    options = TrainingOptions(steps=10, learning_rate=5e-3, save_every=4, **changes)
    whole = Trainer(segmenter, None, options, tmp_path / "whole")
    whole.advance(batches(data).following(0), 10)

    killed = Trainer(segmenter, None, options, tmp_path / "killed")
    killed.advance(batches(data).following(0), 7)  # checkpoint at 4; what came after it is lost
    resumed = Trainer(segmenter, None, options, tmp_path / "killed")
    assert resumed.step == 4
    resumed.advance(batches(data).following(resumed.step), 10)
    assert same(whole.program(), resumed.program())
    assert not same(whole.program(), segmenter)
    assert (tmp_path / "whole/training.jsonl").read_text() == (tmp_path / "killed/training.jsonl").read_text()


def test_a_slow_training_is_saved_by_the_clock(segmenter, data, tmp_path, monkeypatch):
    monkeypatch.setattr("segexport.compress.training._SAVE_AFTER_S", 0.0)
    options = TrainingOptions(steps=9, save_every=100)
    Trainer(segmenter, None, options, tmp_path).advance(batches(data).following(0), 3)
    assert Trainer(segmenter, None, options, tmp_path).step == 3


def test_average_is_kept_in_place_of_the_last_weights(segmenter, data, tmp_path):
    options = TrainingOptions(steps=4, learning_rate=1e-2, ema=0.9)
    trainer = Trainer(segmenter, None, options, tmp_path)
    trainer.advance(batches(data).following(0), 4)
    last, averaged = trainer.net.program(), trainer.program()
    name = trainer.net.trained_names()[0]
    assert not np.array_equal(last.params[name], averaged.params[name])
    assert np.abs(averaged.params[name] - segmenter.params[name]).max() > 0


def test_unreadable_image_in_a_later_epoch_costs_no_step(segmenter, tmp_path):
    data = write_data(tmp_path)
    options = TrainingOptions(steps=20, save_every=100)
    trainer = Trainer(segmenter, None, options, tmp_path / "work")
    source = (batches(data).at(step) for step in itertools.count())
    trainer.advance(source, 4)
    (tmp_path / "image3.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"image3\.png"):
        trainer.advance(source, 20)
    assert trainer.step >= 4
    assert Trainer(segmenter, None, options, tmp_path / "work").step == trainer.step


def test_diverged_training_is_an_error_and_the_checkpoint_stays(segmenter, data, tmp_path):
    options = TrainingOptions(steps=50, learning_rate=1e30, optimizer="momentum", save_every=1)
    trainer = Trainer(segmenter, None, options, tmp_path)
    with pytest.raises(InputError, match=r"the loss is (nan|inf) at step"):
        trainer.advance(batches(data).following(0), 50)


def test_a_checkpoint_with_the_names_of_version_0_1_goes_on(segmenter, tmp_path):
    options = TrainingOptions(steps=5, lr_decay="cosine", warmup_steps=2)
    Trainer(segmenter, None, options, tmp_path).save()
    found = checkpoint.load(tmp_path)
    values = json.loads(found.options)
    for name, old in (("lr_decay", "schedule"), ("lr_decay_power", "power"), ("warmup_steps", "warmup")):
        values[old] = values.pop(name)
    for more, fault in (({}, None), ({"warmup": 3}, "other options"), ({"unknown": 1}, "other options")):
        checkpoint.save(tmp_path, replace(found, step=4, options=json.dumps({**values, **more})))
        if fault is None:
            assert Trainer(segmenter, None, options, tmp_path).step == 4
        else:
            with pytest.raises(InputError, match=fault):
                Trainer(segmenter, None, options, tmp_path)


def test_checkpoint_of_another_training_is_refused(segmenter, data, tmp_path):
    Trainer(segmenter, None, TrainingOptions(steps=5), tmp_path).save()
    with pytest.raises(InputError, match="other options"):
        Trainer(segmenter, None, TrainingOptions(steps=6), tmp_path)
    narrower = prune(segmenter, 0.5).program
    with pytest.raises(InputError, match="another model"):
        Trainer(narrower, None, TrainingOptions(steps=5), tmp_path)
    whole = (tmp_path / "checkpoint.npz").read_bytes()
    for damaged in (b"", b"nothing", whole[: len(whole) // 2]):
        (tmp_path / "checkpoint.npz").write_bytes(damaged)
        with pytest.raises(InputError, match="not a checkpoint"):
            Trainer(segmenter, None, TrainingOptions(steps=5), tmp_path)


def test_teacher_must_fit(segmenter, tmp_path):
    other = programs.export(programs.SmallSegmenter(classes=4), tmp_path, [-1, 3, 32, 32])
    options = TrainingOptions(steps=5, losses=Losses(kl=1))
    with pytest.raises(InputError, match="the student has 3 classes, its teacher 4"):
        Trainer(segmenter, other, options, tmp_path / "work")
    with pytest.raises(InputError, match="there is no teacher"):
        Trainer(segmenter, None, options, tmp_path / "work")


# -- steps of the pipe -------------------------------------------------------------------------------------------------


def test_prune_then_finetune_as_steps(artifact, data, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pruned").mkdir()
    manifest = Prune(Prune.Params(keep_macs=0.5)).run(artifact, tmp_path / "pruned", StepContext(key="a"))
    write_artifact(tmp_path / "pruned", manifest)
    pruned = read_artifact(tmp_path / "pruned")
    assert "multiply-accumulates" in pruned.manifest.lineage[-1].notes[0]

    step = Finetune(Finetune.Params(steps=6, batch_size=2, teacher=str(artifact.path), losses=Losses(kl=1)))
    (tmp_path / "tuned").mkdir()
    manifest = step.run(pruned, tmp_path / "tuned", StepContext(key="b", data=data, timeout_s=120))
    write_artifact(tmp_path / "tuned", manifest)
    tuned = read_artifact(tmp_path / "tuned")
    assert str(tmp_path) not in (tmp_path / "tuned/manifest.json").read_text()
    before = read(pruned.file("model"), pruned.file("params"))
    after = read(tuned.file("model"), tuned.file("params"))
    assert before.to_bytes() == after.to_bytes()
    assert not same(before, after)

    for file in (tmp_path / "tuned").iterdir():
        file.unlink()
    again = step.run(pruned, tmp_path / "tuned", StepContext(key="b", data=data, timeout_s=120))
    assert again == manifest
    assert len((tmp_path / "tuned/training.jsonl").read_text().splitlines()) == 6
    assert not (tmp_path / "cache/training/b").exists()


_RUN = """
import sys
from pathlib import Path
from segexport.artifact import read_artifact
from segexport.compress.finetune import Finetune
from segexport.data.dataset import Dataset
from segexport.pipeline.step import StepContext
source, data, out = map(Path, sys.argv[1:])
step = Finetune(Finetune.Params(steps=40, batch_size=2, save_every=5))
step.run(read_artifact(source), out, StepContext(key="k", data=Dataset.open(data, "train"), timeout_s=120))
"""


@pytest.mark.slow
def test_step_killed_with_its_process_ends_with_the_same_bytes(artifact, data, tmp_path):
    def start(name: str) -> subprocess.Popen:
        (tmp_path / name).mkdir(exist_ok=True)
        cache = {**os.environ, "SEGEXPORT_CACHE": str(tmp_path / f"cache of {name}")}
        command = [sys.executable, "-c", _RUN, str(artifact.path), str(data.root), str(tmp_path / name)]
        return subprocess.Popen(command, env=cache)

    assert start("whole").wait(300) == 0
    killed = start("killed")
    checkpoint = tmp_path / "cache of killed/training/k/checkpoint.npz"
    while not checkpoint.is_file() and killed.poll() is None:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "killed/model.pdiparams").exists()
    assert start("killed").wait(300) == 0
    for file in ("model.pdmodel", "model.pdiparams", "training.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_finetune_says_why_it_cannot(artifact, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    unlabelled = write_data(tmp_path / "images", labelled=False)
    with pytest.raises(InputError, match="no labels, and no distillation loss"):
        Finetune(Finetune.Params(steps=2)).run(artifact, tmp_path, StepContext(data=unlabelled))
    with pytest.raises(InputError, match="fine-tuning needs images"):
        Finetune(Finetune.Params(steps=2)).run(artifact, tmp_path, StepContext())
    params = Finetune.Params(steps=2, losses=Losses(kl=1))
    with pytest.raises(WorkerFailed, match="there is no teacher"):
        Finetune(params).run(artifact, tmp_path, StepContext(data=unlabelled, timeout_s=120))
