"""`segexport finetune` as a person meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from installed import require
from workplace import make_workplace

from segexport.commands.run import DEMO_RECIPE

DATA = DEMO_RECIPE.parent / "data"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A workplace in which the built-in model was trained for two epochs; and what that command said."""
    require("paddle", "onnxruntime", "paddle2onnx", "onnx")
    root = tmp_path_factory.mktemp("finetune")
    work = make_workplace(root / "work", root / "cache")
    command = ["finetune", "model", "--data", "data", "-o", "tuned", "--num-epochs", "2", "--batch-size", "5"]
    command += ["--learning-rate", "1e-5", "--loss", "cross_entropy", "--loss", "dice=0.5", "--class-weight", "dynamic"]
    command += ["--early-stop", "--early-stop-patience", "2", "--ema", "0.9", "--log-interval-steps", "2"]
    return work, command, work.segexport(*command)


def test_it_says_how_far_it_is_and_what_came_of_it(tuned):
    _, _, done = tuned
    assert done.code == 0, done.stderr
    for part in ("looking at the labels: 10 in", "epoch 1: loss ", "epoch 2: loss ", "4 of 4 steps", "tuned: model, 2"):
        assert part in done.stderr


def test_the_same_command_finds_what_is_done(tuned):
    work, command, _ = tuned
    again = work.segexport(*[part if part != "tuned" else "again" for part in command])
    assert again.code == 0
    assert "finetune found in the cache" in again.stderr
    assert (work.root / "again/model.pdiparams").read_bytes() == (work.root / "tuned/model.pdiparams").read_bytes()


def test_the_measurement_is_that_of_evaluate(tuned):
    work, _, _ = tuned
    done = work.segexport("evaluate", "tuned", "--data", "data", "--format", "json")
    found = [json.loads(line) for line in (work.root / "tuned/evaluations.jsonl").read_text().splitlines()]
    best = max(found, key=lambda entry: entry["miou"])
    assert json.loads(done.stdout)["miou"] == pytest.approx(best["miou"], abs=2e-4)


def test_what_comes_out_is_exported_like_any_model(tuned):
    work, _, _ = tuned
    assert work.segexport("export", "tuned", "--to", "onnx", "-o", "onnx").code == 0
    before = work.segexport("evaluate", "tuned", "--data", "data", "--format", "json")
    after = work.segexport("evaluate", "onnx", "--data", "data", "--format", "json")
    assert json.loads(after.stdout)["miou"] == pytest.approx(json.loads(before.stdout)["miou"], abs=1e-3)
    lineage = json.loads((work.root / "onnx/manifest.json").read_text())["lineage"]
    assert [entry["step"] for entry in lineage] == ["import", "finetune", "to_onnx"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no training length"),
        (["--steps", "2", "--num-epochs", "2"], "--steps and --num-epochs: both are the length of the training"),
        (["--steps", "2", "--loss", "tversky"], "--loss tversky: there is no loss 'tversky'"),
        (["--steps", "2", "--loss", "dice=much"], "--loss dice=much: 'much' is not a number"),
        (["--steps", "2", "--class-weight", "one"], "--class-weight one: not numbers"),
        (["--steps", "2", "--val-split", "train"], "'train' is the training list"),
        (["--steps", "2", "--val-split", "none", "--early-stop"], "--early-stop needs images to measure the model on"),
        (["--steps", "2", "--resume-checkpoint", "data"], "data: no checkpoint.npz to resume"),
        (["--steps", "2", "--precision", "fp16"], "precision fp16: mixed precision trains on a GPU only"),
        (["--steps", "2", "--processes", "8", "--batch-size", "4"], "8 processes share a batch of 4 images"),
        (["--steps", "2", "--split", "nights"], "data/nights.txt: no such list"),
    ],
)
def test_what_cannot_be_is_said_at_once(bare, arguments, said):
    done = bare.segexport("finetune", "model", "--data", "data", "-o", "tuned", *arguments)
    assert done.code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bare.root / "tuned").exists()


def test_a_bad_label_is_said_before_the_training(bare):
    shutil.copy(DATA / "images" / "tile_00.png", next(Path(bare.root / "data/labels").glob("*.png")))
    done = bare.segexport("finetune", "model", "--data", "data", "-o", "tuned", "--steps", "2")
    assert done.code == 2
    assert "not a label image" in done.stderr
    assert "fine-tuning" not in done.stderr


def test_an_augmentation_of_albumentations(tuned):
    library = pytest.importorskip("albumentations")
    work, _, _ = tuned
    more = library.Compose([library.Rotate(limit=15, p=0.5), library.GaussNoise(p=0.3)])
    library.save(more, work.root / "more.yaml", data_format="yaml")
    command = ["finetune", "model", "--data", "data", "-o", "varied", "--steps", "2", "--val-split", "none"]
    done = work.segexport(*command, "--augmentation", "more.yaml")
    assert done.code == 0, done.stderr
    (work.root / "other.yaml").write_text("flip: 1\n")
    done = work.segexport(*command[:4], "-o", "other", "--steps", "2", "--augmentation", "other.yaml")
    assert done.code == 2
    assert "other.yaml: no pipeline of albumentations" in done.stderr
