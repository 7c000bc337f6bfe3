"""A small detector, exports of it, and data with shapes that it finds: made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from detector_export import written
from installed import require
from shapes import write_coco, write_voc

from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.files.store import Store
from segexport.pipeline.step import Step, StepContext


def made(step: Step, source: ModelArtifact, folder: Path) -> ModelArtifact:
    """What a step makes of a model."""
    folder.mkdir(parents=True)
    write_artifact(folder, step.run(source, folder, StepContext()))
    return read_artifact(folder)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes 128x128 only."""
    return written(tmp_path_factory.mktemp("models") / "detector", "128x128")


@pytest.fixture(scope="session")
def free_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes any size."""
    return written(tmp_path_factory.mktemp("models") / "free", "free")


@pytest.fixture(scope="session")
def imported(detector: Path, store: Store) -> ModelArtifact:
    return import_model(detector, ImportOptions(), store)


@pytest.fixture(scope="session")
def onnx(imported: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    require("paddle2onnx", "onnx", "onnxruntime")
    return made(ToOnnx(), imported, tmp_path_factory.mktemp("exports") / "onnx")


@pytest.fixture(scope="session")
def lite(imported: ModelArtifact, tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    require("paddlelite")
    return made(ToPaddleLite(), imported, tmp_path_factory.mktemp("exports") / "lite")


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 annotated images of 128x128."""
    require("pycocotools")
    root = tmp_path_factory.mktemp("data") / "coco"
    write_coco(root, 12, size=(128, 128))
    return root


@pytest.fixture(scope="session")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("pycocotools")
    root = tmp_path_factory.mktemp("data") / "voc"
    write_voc(root, 4, size=(128, 128))
    return root
