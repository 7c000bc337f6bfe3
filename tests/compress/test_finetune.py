"""The fine-tune step: epochs, measurements, the best weights, heads, teachers, and what is refused before it begins."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import programs
import pytest
from bands import write_data, write_model

from segexport import preprocess
from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.cli.train import finetune as finetune_command
from segexport.commands.finetune import FinetuneOptions
from segexport.compress.batches import Batches
from segexport.compress.finetune import Finetune
from segexport.compress.training import Trainer
from segexport.compress.training_job import DatasetSpec
from segexport.compress.training_options import Losses, TrainingOptions
from segexport.compress.validation import Validation
from segexport.errors import InputError, SegexportError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.program import read
from segexport.files.store import Store
from segexport.measure import metrics
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import Step, StepContext, content_key
from segexport.recipe.reader import read_recipe
from segexport.spec import Preprocess


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))


def tune(source: ModelArtifact, folder, context: StepContext, **params) -> ModelArtifact:
    folder.mkdir(parents=True)
    step = Finetune(Finetune.Params(**{"batch_size": 2, "learning_rate": 1e-2, **params}))
    write_artifact(folder, step.run(source, folder, context))
    return read_artifact(folder)


def lines(artifact: ModelArtifact, name: str) -> list[dict]:
    return [json.loads(line) for line in (artifact.path / name).read_text().splitlines()]


def context(data, **more) -> StepContext:
    return StepContext(**{"key": "k", "data": data, "timeout_s": 120, **more})


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["finetune", "qat"])
def test_a_recipe_with_the_names_of_version_0_1_is_the_same_training(kind, tmp_path):
    def read_step(params: str) -> Step:
        path = tmp_path / "recipe.yaml"
        steps = f"steps: [{{step: {kind}, params: {params}}}]\n"
        path.write_text("model: {path: m}\ndata: {path: d}\nexports: [{to: onnx}]\n" + steps)
        (step,) = read_recipe(path).steps
        return make_step(step.step, step.params)

    old = read_step("{steps: 9, batch: 3, schedule: cosine, power: 0.5, warmup: 2}")
    new = read_step("{steps: 9, batch_size: 3, lr_decay: cosine, lr_decay_power: 0.5, warmup_steps: 2}")
    assert old.params == new.params
    named = ("batch_size", "lr_decay", "lr_decay_power", "warmup_steps")
    assert [old.key_params()[name] for name in named] == [3, "cosine", 0.5, 2]
    assert not {"batch", "schedule", "power", "warmup"} & set(old.key_params())
    assert content_key(old, "model", "data", 0) == content_key(new, "model", "data", 0)


def test_both_names_of_a_parameter_are_refused():
    with pytest.raises(InputError, match="step 'finetune' does not take these parameters") as caught:
        make_step("finetune", {"steps": 9, "batch": 3, "batch_size": 3})
    assert "batch: Extra inputs are not permitted" in caught.value.cause


def test_the_command_the_library_and_recipes_use_the_same_names():
    of_the_command = {"data", "split", "val_split", "resume_checkpoint", "threads", "timeout_s", "seed"}
    options = set(inspect.signature(FinetuneOptions).parameters)
    assert options - of_the_command - {"log"} <= set(Finetune.Params.model_fields)
    assert options <= {parameter.name for parameter in finetune_command.params}


# -- epochs ------------------------------------------------------------------------------------------------------------


def test_the_model_is_measured_between_epochs_and_the_best_weights_are_kept(artifact, data, tmp_path):
    said = []
    tuned = tune(artifact, tmp_path / "tuned", context(data, validation=data, say=said.append), num_epochs=4, ema=0.5)
    found = lines(tuned, "evaluations.jsonl")
    assert [(entry["step"], entry["epoch"]) for entry in found] == [(0, 0), (3, 1), (6, 2), (9, 3), (12, 4)]
    steps = lines(tuned, "training.jsonl")
    assert found[0]["loss"] is None
    assert found[2]["loss"] == pytest.approx(np.mean([entry["loss"] for entry in steps[3:6]]))
    best = max(entry["miou"] for entry in found)
    assert found[0]["best"]
    assert measured(tuned, data) == pytest.approx(best, abs=1e-9)
    assert f"mIoU {best:.4f}" in tuned.manifest.lineage[-1].notes[-1]
    assert any(line.startswith("epoch 1: loss ") for line in said)
    assert said[-1].endswith("of the time for data")


def measured(model: ModelArtifact, data) -> float:
    """mIoU by Paddle Inference."""
    program = read(model.file("model"), model.file("params"))
    total = np.zeros((3, 3), np.int64)
    for sample in data:
        tensor, placement = preprocess.apply(model.manifest.preprocess, sample.image)
        (scores,) = programs.infer(program, model.path.parent, {program.feed_names[0]: tensor})
        mask = preprocess.restore_mask(scores[0].argmax(0).astype(np.uint8), placement)
        total += metrics.confusion_matrix(sample.label, mask, 3)
    return metrics.scores(total).miou


def test_training_stops_when_it_gets_no_better(artifact, data, tmp_path):
    """With a learning rate of next to nothing the first measurement stays the best; two more are waited for."""
    stop = {"early_stop": True, "early_stop_patience": 2, "learning_rate": 1e-30, "weight_decay": 0}
    losses = Losses(cross_entropy=0, kl=1)
    flat = tune(
        artifact,
        tmp_path / "tuned",
        context(data, validation=data),
        num_epochs=50,
        teacher=str(artifact.path),
        losses=losses,
        optimizer="momentum",
        **stop,
    )
    found = [entry["miou"] for entry in lines(flat, "evaluations.jsonl")]
    best = found.index(max(found))
    assert len(found) == best + 3 < 50
    assert flat.manifest.lineage[-1].notes[0] == f"{3 * len(found) - 3} of 150 steps"


def test_weights_that_training_made_worse_are_not_kept(artifact, data, tmp_path):
    good = tune(artifact, tmp_path / "good", context(data, validation=data), num_epochs=8)
    assert measured(good, data) > 0.5
    spoil = {"num_epochs": 2, "learning_rate": 1.0, "optimizer": "momentum"}
    kept = tune(good, tmp_path / "kept", context(data, key="b", validation=data), **spoil)
    before = read(good.file("model"), good.file("params")).params
    after = read(kept.file("model"), kept.file("params")).params
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
    assert kept.manifest.lineage[-1].notes[-1].startswith("kept: the initial weights, which training made worse")


def test_without_validation_the_last_weights_are_kept(artifact, data, tmp_path):
    tuned = tune(artifact, tmp_path / "tuned", context(data), num_epochs=1, save_interval_epochs=1)
    assert lines(tuned, "evaluations.jsonl") == []
    assert len(lines(tuned, "training.jsonl")) == 3


def test_save_dir_keeps_all_and_a_run_goes_on_from_there(artifact, data, tmp_path):
    same = {"num_epochs": 2, "save_dir": str(tmp_path / "kept"), "log_dir": str(tmp_path / "curves")}
    first = tune(artifact, tmp_path / "first", context(data, validation=data), **same)
    assert {file.name for file in (tmp_path / "kept").iterdir()} >= {"checkpoint.npz", "best.npz", "training.jsonl"}
    said = []
    again = tune(artifact, tmp_path / "again", context(data, validation=data, say=said.append), **same)
    assert said[0] == "fine-tuning resumes from step 6"
    assert (again.path / "model.pdiparams").read_bytes() == (first.path / "model.pdiparams").read_bytes()
    with pytest.raises(SegexportError, match="the checkpoint of a training on other images, batches or classes"):
        tune(artifact, tmp_path / "other", context(data.subset(3)), steps=6, save_dir=same["save_dir"])
    assert str(tmp_path) not in (again.path / "manifest.json").read_text()


def test_tensorboard_files_are_written(artifact, data, tmp_path):
    pytest.importorskip("tensorboardX")
    options = {"num_epochs": 2, "log_dir": str(tmp_path / "curves"), "log_interval_steps": 2}
    tune(artifact, tmp_path / "tuned", context(data, validation=data), **options)
    (file,) = (tmp_path / "curves").iterdir()
    content = file.read_bytes()
    for tag in (b"training/loss", b"training/cross_entropy", b"training/learning_rate", b"validation/miou"):
        assert tag in content


# -- classes -----------------------------------------------------------------------------------------------------------


def test_other_classes_get_a_new_head(artifact, tmp_path):
    data = write_data(tmp_path / "data", names=("high", "low", "higher", "highest"))
    tuned = tune(artifact, tmp_path / "tuned", context(data, validation=data), num_epochs=15)
    assert [label.name for label in tuned.manifest.labels] == ["high", "low", "higher", "highest"]
    assert tuned.manifest.lineage[-1].notes[0] == "new head: 3 -> 4 classes; high, low kept their weights"
    assert tuned.manifest.outputs[0].shape[1] == 4
    found = [entry["miou"] for entry in lines(tuned, "evaluations.jsonl")]
    assert max(found) > 0.5 > found[0]


def test_other_names_of_as_many_classes_keep_the_head(artifact, tmp_path):
    data = write_data(tmp_path / "data", names=("a", "b", "c"))
    tuned = tune(artifact, tmp_path / "tuned", context(data), steps=1)
    assert [label.name for label in tuned.manifest.labels] == ["low", "middle", "high"]
    renewed = tune(artifact, tmp_path / "renewed", context(data), steps=1, new_head=True)
    assert [label.name for label in renewed.manifest.labels] == ["a", "b", "c"]


# -- teacher -----------------------------------------------------------------------------------------------------------


def test_the_teacher_counts_by_its_content(artifact, tmp_path):
    def key(path) -> str:
        step = Finetune(Finetune.Params(steps=2, teacher=str(path), losses=Losses(kl=1)))
        return content_key(step, "source", "data", 0)

    shutil.copytree(artifact.path, tmp_path / "copy")
    assert key(artifact.path) == key(tmp_path / "copy")
    params = tmp_path / "copy" / "model.pdiparams"
    content = bytearray(params.read_bytes())
    content[-1] ^= 1
    (tmp_path / "plain").mkdir()
    shutil.copy(tmp_path / "copy" / "model.pdmodel", tmp_path / "plain")
    shutil.copy(params, tmp_path / "plain")
    before = key(tmp_path / "plain")
    (tmp_path / "plain" / "model.pdiparams").write_bytes(content)
    assert key(tmp_path / "plain") != before


def test_a_teacher_that_does_not_fit_is_refused_before_the_first_step(artifact, data, tmp_path):
    teach = {"steps": 2, "losses": Losses(kl=1)}
    four = write_model(
        programs.export(programs.SmallSegmenter(classes=4), tmp_path, [-1, 3, 32, 32]), tmp_path / "four", "abcd"
    )
    with pytest.raises(SegexportError, match="the student has 3 classes, its teacher 4"):
        tune(artifact, tmp_path / "one", context(data), teacher=str(four.path), **teach)
    large = write_model(programs.export(programs.SmallSegmenter(), tmp_path, [-1, 3, 64, 64]), tmp_path / "large")
    with pytest.raises(SegexportError, match=r"the student takes images of \[-1, 3, 32, 32\], its teacher of"):
        tune(artifact, tmp_path / "two", context(data), teacher=str(large.path), **teach)

    net = programs.nn.Sequential(programs.SmallSegmenter(), programs.nn.AvgPool2D(2))
    coarse = write_model(programs.export(net, tmp_path, [-1, 3, 32, 32]), tmp_path / "coarse")
    with pytest.raises(SegexportError, match="the student's scores are 32x32, its teacher's 16x16"):
        tune(artifact, tmp_path / "three", context(data), teacher=str(coarse.path), **teach)
    (tmp_path / "onnx.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match="a model for onnx, not a Paddle export"):
        tune(artifact, tmp_path / "four_", context(data), teacher=str(tmp_path / "onnx.onnx"), **teach)


def test_paddle_3s_json_can_teach_and_be_trained(tmp_path):
    path = Path(__file__).resolve().parents[1] / "exporter" / "pir_cases.py"
    spec = importlib.util.spec_from_file_location("pir_cases", path)
    pir_cases = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("pir_cases", pir_cases)
    spec.loader.exec_module(pir_cases)
    cases = pir_cases.read(path.parents[1] / "golden" / "pir" / "cases.zip")
    (tmp_path / "export").mkdir()
    teacher, _ = cases["segmentation_dynamic"].write(tmp_path / "export")
    assert teacher.suffix == ".json"
    data = write_data(tmp_path / "data", names="abcd")
    source = import_model(tmp_path / "export", ImportOptions(fallback_labels=data.labels), Store())
    losses = Losses(cross_entropy=1, kl=1)
    tuned = tune(source, tmp_path / "tuned", context(data), steps=3, teacher=str(tmp_path / "export"), losses=losses)
    assert all(np.isfinite(entry["kl"]) for entry in lines(tuned, "training.jsonl"))


# -- data --------------------------------------------------------------------------------------------------------------


def test_a_subset_trains_on_the_subset(artifact, tmp_path):
    """The image that is left out cannot even be read."""
    data = write_data(tmp_path / "data")
    part = data.shard(0, 2)
    assert DatasetSpec.of(part, 3).open().entries == part.entries
    (tmp_path / "data/image1.png").write_bytes(b"no image")
    tuned = tune(artifact, tmp_path / "tuned", context(part, validation=data.shard(1, 2).shard(1, 2)), num_epochs=2)
    assert len(lines(tuned, "training.jsonl")) == 3


def test_bad_labels_are_told_before_the_work_starts(artifact, tmp_path):
    data = write_data(tmp_path / "data")
    label = cv2.imread(str(tmp_path / "data/label4.png"), cv2.IMREAD_UNCHANGED)
    label[0, 0] = 9
    cv2.imwrite(str(tmp_path / "data/label4.png"), label)
    with pytest.raises(InputError, match=r"label4\.png \(train\.txt, line 5\): label values out of range: 9"):
        tune(artifact, tmp_path / "tuned", context(data), steps=2)
    assert not (tmp_path / "cache" / "training").exists()
    cv2.imwrite(str(tmp_path / "data/label4.png"), label[1:])
    with pytest.raises(InputError, match=r"the label is 32x31, its image image4\.png is 32x32"):
        tune(artifact, tmp_path / "tuned2", context(data), steps=2)
    for index in range(6):
        cv2.imwrite(str(tmp_path / f"data/label{index}.png"), np.full((32, 32), 255, np.uint8))
    with pytest.raises(InputError, match="every pixel of train's 6 labels is ignored"):
        tune(artifact, tmp_path / "tuned3", context(data), steps=2)


@pytest.mark.parametrize("kind", ["one image", "constant images"])
def test_hardly_any_data_trains(kind, artifact, tmp_path):
    data = write_data(tmp_path / "data")
    if kind == "one image":
        data = data.subset(1)
    else:
        for index in range(6):
            cv2.imwrite(str(tmp_path / f"data/image{index}.png"), np.full((32, 32, 3), 7, np.uint8))
    tuned = tune(artifact, tmp_path / "tuned", context(data, validation=data), steps=6)
    params = read(tuned.file("model"), tuned.file("params")).params
    assert all(np.isfinite(value).all() for value in params.values())


def test_an_image_that_goes_bad_in_a_later_epoch_costs_no_checkpoint(artifact, tmp_path):
    data = write_data(tmp_path / "data")

    def spoil(line: str) -> None:
        if line.startswith("epoch 2"):
            (tmp_path / "data/image3.png").write_bytes(b"no image")

    same = {"num_epochs": 20, "save_dir": str(tmp_path / "kept"), "save_every": 100}
    said = []
    with pytest.raises(SegexportError, match=r"image3\.png: not an image \(train\.txt, line 4\)"):
        tune(
            artifact,
            tmp_path / "one",
            context(data, validation=data.subset(1), say=lambda line: (said.append(line), spoil(line))),
            **same,
        )
    assert said[-1].startswith(f"the training so far is kept in {tmp_path}/kept")
    write_data(tmp_path / "data")
    tune(artifact, tmp_path / "two", context(data, validation=data.subset(1), say=said.append), **same)
    (resumes,) = (line for line in said if line.startswith("fine-tuning resumes from step"))
    assert int(resumes.rpartition(" ")[2]) >= 6


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"class_weight": (1.0, 2.0)}, "class_weight has 2 weights, the model 3 classes"),
        ({"class_weight": (0.0, 0.0, 0.0)}, "class_weight is 0 for every class"),
        ({"precision": "fp16"}, "precision fp16: mixed precision trains on a GPU only"),
        ({"device": "gpu:0"}, "device 'gpu:0': this paddlepaddle 2.6.2 has no GPU here"),
        ({"device": "npu"}, "device 'npu': a training runs on cpu or gpu:N"),
    ],
)
def test_what_cannot_be_is_told_in_the_first_second(params, message, artifact, data, tmp_path):
    with pytest.raises(SegexportError, match=message):
        tune(artifact, tmp_path / "tuned", context(data), steps=2, **params)


def test_class_weights_are_checked_before_the_labels_are_counted(artifact, tmp_path):
    data = write_data(tmp_path / "data")
    (tmp_path / "data" / "label0.png").write_bytes(b"no image")
    with pytest.raises(SegexportError, match="class_weight has 2 weights"):
        tune(artifact, tmp_path / "tuned", context(data), steps=2, class_weight=(1.0, 2.0))


@pytest.mark.parametrize(("warmup", "told"), [(1, 0), (2, 1), (8, 1)])
def test_a_warmup_that_outlasts_the_training_is_told(warmup, told, artifact, data, tmp_path):
    said: list[str] = []
    tuned = tune(artifact, tmp_path / "tuned", context(data, say=said.append), steps=2, warmup_steps=warmup)
    notes = tuned.manifest.lineage[-1].notes
    for lines_ in (said, notes):
        assert len([line for line in lines_ if line.startswith(f"the warmup of {warmup} steps does not end")]) == told


@pytest.mark.parametrize("class_weight", [None, "dynamic", (0.5, 1.0, 2.0)])
@pytest.mark.parametrize("losses", [{"bce": 1}, {"dice": 1}, {"lovasz": 1}, {"cross_entropy": 1, "dice": 0.5}])
def test_every_loss_lowers_itself(losses, class_weight, segmenter, data, tmp_path):
    wanted = Losses(**{"cross_entropy": 0, **losses})
    options = TrainingOptions(steps=24, learning_rate=1e-2, losses=wanted, class_weight=class_weight)
    trainer = Trainer(segmenter, None, options, tmp_path)
    source = (Batches(data, Preprocess(), 2, 0).at(step) for step in range(24))
    first = trainer.advance(source, 6)
    trainer.advance(source, 18)
    assert set(first) == {"loss", *losses}
    assert trainer.advance(source, 24)["loss"] < first["loss"]


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "dice", "lovasz"])
def test_one_channel_of_two_classes_is_trained_and_measured(loss, tmp_path):
    """A sigmoid at the end: the mask is where it is above a half, and the measurement agrees with Paddle Inference."""
    nn = programs.nn
    net = nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2D(8, 1, 1), nn.Sigmoid())
    program = programs.export(net, tmp_path, [1, 3, 32, 32])
    data = write_data(tmp_path / "data", names=("low", "high"))
    options = TrainingOptions(steps=60, learning_rate=2e-2, losses=Losses(**{"cross_entropy": 0, loss: 1}))
    trainer = Trainer(program, None, options, tmp_path / "work")
    trainer.advance((Batches(data, Preprocess(), 2, 0).at(step) for step in range(60)), 60)
    found = Validation(data, Preprocess(), 2).measure(trainer)
    assert found["miou"] > 0.9
    trained, total = trainer.program(), np.zeros((2, 2), np.int64)
    for sample in data:
        tensor, _ = preprocess.apply(Preprocess(), sample.image)
        (likely,) = programs.infer(trained, tmp_path, {trained.feed_names[0]: tensor})
        total += metrics.confusion_matrix(sample.label, (likely[0, 0] > 0.5).astype(np.uint8), 2)
    assert found["miou"] == pytest.approx(metrics.scores(total).miou, abs=1e-9)


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_one_model(artifact, data, tmp_path):
    """They share the batch; the weights stay the same in both, and a bad image ends both with its name."""
    options = {"num_epochs": 6, "processes": 2, "batch_size": 2, "save_dir": str(tmp_path / "kept")}
    tuned = tune(artifact, tmp_path / "tuned", context(data, validation=data), **options)
    assert [entry["step"] for entry in lines(tuned, "evaluations.jsonl")] == [0, 3, 6, 9, 12, 15, 18]
    losses = [entry["loss"] for entry in lines(tuned, "training.jsonl")]
    assert len(losses) == 18
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    best = max(entry["miou"] for entry in lines(tuned, "evaluations.jsonl"))
    assert measured(tuned, data) == pytest.approx(best, abs=1e-9)

    spoiled = write_data(tmp_path / "spoiled")
    (tmp_path / "spoiled/image3.png").write_bytes(cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1][:60])
    with pytest.raises(SegexportError, match=r"image3\.png"):
        tune(artifact, tmp_path / "other", context(spoiled, key="b"), steps=6, processes=2)


# -- killed ------------------------------------------------------------------------------------------------------------

_RUN = """
import sys
from pathlib import Path
from segexport.artifact import read_artifact
from segexport.cli.train import finetune as finetune_command
from segexport.commands.finetune import FinetuneOptions
from segexport.compress.batches import Batches
from segexport.compress.finetune import Finetune
from segexport.data.dataset import Dataset
from segexport.pipeline.step import StepContext
source, data, out = map(Path, sys.argv[1:])
data = Dataset.open(data, "train")
step = Finetune(Finetune.Params(num_epochs=12, batch_size=2, save_every=5, ema=0.9, optimizer="momentum"))
step.run(read_artifact(source), out, StepContext(key="k", data=data, validation=data, timeout_s=120))
"""


@pytest.mark.slow
def test_killed_at_any_time_it_ends_with_the_same_bytes(artifact, data, tmp_path):
    """Four kills at random moments of one training, measurements and checkpoints included."""

    def start(name: str) -> subprocess.Popen:
        (tmp_path / name).mkdir(exist_ok=True)
        cache = {**os.environ, "SEGEXPORT_CACHE": str(tmp_path / f"cache of {name}")}
        command = [sys.executable, "-c", _RUN, str(artifact.path), str(data.root), str(tmp_path / name)]
        return subprocess.Popen(command, env=cache)

    assert start("whole").wait(300) == 0
    log = tmp_path / "cache of killed/training/k/training.jsonl"
    for goal in sorted(random.Random(1).sample(range(4, 36), 4)):
        killed = start("killed")
        while killed.poll() is None and (not log.is_file() or log.read_bytes().count(b"\n") < goal):
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.wait(60)
    assert start("killed").wait(300) == 0
    for file in ("model.pdmodel", "model.pdiparams", "training.jsonl", "evaluations.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
