"""The app reads the packs that segexport writes: they are written in Python and run in Java."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segexport.android.assets import write_assets
from segexport.artifact import read_artifact, write_artifact
from segexport.errors import InputError, UnsupportedModelError
from segexport.runtimes.device_job import read_result
from segexport.spec import Format

from .conftest import Jvm
from .models import CLASSES, convolution


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    small = Image.fromarray(np.random.default_rng(5).integers(0, 256, (8, 10, 3), np.uint8))
    small.resize((90, 60), Image.Resampling.BICUBIC).save(file)
    return file


def test_packs(tmp_path: Path, image: Path) -> None:
    first, second = convolution(tmp_path / "a"), convolution(tmp_path / "b", semantics="class_index", dtype="int64")
    out = tmp_path / "assets" / "model"
    out.parent.mkdir()
    folders = write_assets([first, second], out, sample=image)
    assert [folder.name for folder in folders] == ["convolution-onnx-fp32", "convolution-onnx-fp32-2"]
    for folder in folders:
        pack = read_artifact(folder)  # every file is there with its digest
        assert pack.manifest.sample is not None
        names = {
            "manifest.json",
            "README.md",
            "model.onnx",
            "labels.txt",
            "palette.txt",
            "sample.png",
            "sample-mask.png",
        }
        assert {file.name for file in folder.iterdir()} == names
        readme = (folder / "README.md").read_text()
        assert readme.startswith("# convolution\n")
        assert "Segmenter.open(backend, model, manifest, 4)" in readme
        assert "| input | " in readme
        assert (folder / "labels.txt").read_text().splitlines() == [f"class {i}" for i in range(CLASSES)]
        assert (folder / "palette.txt").read_text().splitlines()[1] == "#28D714"
        mask = np.asarray(Image.open(folder / "sample-mask.png"))
        assert mask.shape == (60, 90)
        assert len(np.unique(mask)) > 1
    write_assets([first], out, sample=image)  # packs of an earlier call make room
    assert [folder.name for folder in out.iterdir()] == ["convolution-onnx-fp32"]
    kept = write_assets([read_artifact(folders[0])], tmp_path / "again")[0]
    assert (kept / "sample-mask.png").read_bytes() == (folders[0] / "sample-mask.png").read_bytes()


def test_the_self_test_passes_in_java(jvm: Jvm, tmp_path: Path, image: Path) -> None:
    """What the self-test screen does with the pack, on a JVM."""
    (folder,) = write_assets([convolution(tmp_path / "a")], tmp_path / "model", sample=image)
    item = {"input": "sample.png", "expected_mask": "sample-mask.png", "runs": 3}
    job = {"schema_version": 1, "id": "self-test", "threads": 1, "warmup": 1, "items": [item]}
    (folder / "job.json").write_text(json.dumps(job))
    jvm("dev.segexport.ort.RunJob", folder)
    result = read_result(folder / "result.json")
    assert result.agreement == 1.0
    assert result.device_name.startswith("JVM")


@pytest.fixture
def bands(tmp_path: Path) -> Path:
    """Six smooth channels of 16 bits."""
    random = np.random.default_rng(3)
    planes = [Image.fromarray(random.integers(0, 256, (6, 8), np.uint8)).resize((50, 40)) for _ in range(6)]
    np.save(tmp_path / "bands.npy", np.stack([np.asarray(plane) for plane in planes], axis=2).astype(np.uint16) * 257)
    return tmp_path / "bands.npy"


def test_a_model_that_no_picture_is_enough_for(tmp_path: Path, bands: Path) -> None:
    (folder,) = write_assets([convolution(tmp_path / "a", channels=6)], tmp_path / "model", sample=bands)
    assert read_artifact(folder).manifest.sample.input == "sample.f32"
    tensor = np.fromfile(folder / "sample.f32", "<f4")
    assert tensor.size == 6 * 24 * 32
    assert np.asarray(Image.open(folder / "sample-mask.png")).shape == (24, 32)
    assert not {file.name for file in folder.iterdir()} & {"sample.png"}


def test_weights_beside_the_model_go_with_it(tmp_path: Path, image: Path) -> None:
    source = convolution(tmp_path / "a", weights="w.bin")
    (folder,) = write_assets([source], tmp_path / "model", sample=image)
    assert (folder / "w.bin").read_bytes() == (source.path / "w.bin").read_bytes()
    assert [entry.role for entry in read_artifact(folder).manifest.files] == ["model", "params", "sample", "sample"]


def test_java_runs_six_channels_with_weights_beside_the_model(jvm: Jvm, tmp_path: Path, bands: Path) -> None:
    model = convolution(tmp_path / "a", channels=6, weights="w.bin")
    (folder,) = write_assets([model], tmp_path / "model", sample=bands)
    item = {"input": "sample.f32", "tensor_size": [24, 32], "expected_mask": "sample-mask.png"}
    job = {"schema_version": 1, "id": "self-test", "threads": 1, "items": [item]}
    (folder / "job.json").write_text(json.dumps(job))
    jvm("dev.segexport.ort.RunJob", folder)
    assert read_result(folder / "result.json").agreement == 1.0


def test_refusals(tmp_path: Path, image: Path) -> None:
    with pytest.raises(InputError, match="no exports"):
        write_assets([], tmp_path / "model")
    artifact = convolution(tmp_path / "a")
    paddle = write_artifact(artifact.path, artifact.manifest.model_copy(update={"format": Format.PADDLE}))
    with pytest.raises(UnsupportedModelError, match="runs LiteRT, MNN, ncnn, ONNX and Paddle-Lite, this is paddle"):
        write_assets([paddle], tmp_path / "model")
    target = artifact.manifest.target.model_copy(update={"hints": {"WINOGRAD_MEMORY_LEVEL": 0}})
    hinted = artifact.manifest.model_copy(update={"format": Format.MNN, "target": target})
    with pytest.raises(UnsupportedModelError, match="without the session hint WINOGRAD_MEMORY_LEVEL 0"):
        write_assets([write_artifact(artifact.path, hinted)], tmp_path / "model")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("keep me")
    with pytest.raises(InputError, match="not empty"):
        write_assets([artifact], mine, sample=image)
    assert (mine / "thesis.txt").exists()
    image.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"photo\.jpg: not an image"):
        write_assets([artifact], tmp_path / "model", sample=image)
    assert not (tmp_path / "model").exists()
