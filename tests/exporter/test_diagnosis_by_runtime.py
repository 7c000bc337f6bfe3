"""A diagnosis of MNN, ncnn and int8 OpenVINO exports: good ones have no fault, a planted one is found and named."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest
from installed import require, require_worker

from segexport.artifact import ModelArtifact, file_entry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.diagnose.diagnose import diagnose
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, planned
from segexport.pipeline.registry import target_named
from segexport.pipeline.step import StepContext

DEMO = Path(__file__).resolve().parents[2] / "src/segexport/demo"
IMAGE = cv2.cvtColor(cv2.imread(str(DEMO / "data/images/tile_03.png")), cv2.COLOR_BGR2RGB)
EXPORTS = [("mnn", "fp32"), ("mnn", "int8"), ("ncnn", "fp32"), ("ncnn", "int8"), ("openvino", "int8")]
MODULES = {"mnn": ("MNN",), "ncnn": ("ncnn", "pnnx"), "openvino": ("openvino",)}


class Made:
    """Exports of the demo's model, each made when it is first wanted."""

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder)
        self.source = import_model(DEMO / "model", ImportOptions(), self._store)
        self._runner = PlanRunner(self._store, StepContext(data=Dataset.open(DEMO / "data", "train")))

    def export(self, name: str, precision: str) -> tuple[ModelArtifact, ModelArtifact]:
        """The export, and the ONNX model that it was converted from."""
        target = target_named(name)
        steps = target.steps(target.Recipe(to=name, precision=precision))
        onnx, made = (self._runner.build(name, self.source, planned(part, self.source)) for part in (steps[:-1], steps))
        return made, onnx


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    require("paddle", "paddle2onnx")
    return Made(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize(("name", "precision"), EXPORTS)
def test_nothing_is_wrong_with_a_good_export(made, name, precision):
    require_worker(*MODULES[name])
    found = diagnose(made.export(name, precision)[0], made.source, IMAGE)
    assert found.findings == ()
    assert len(found.layers) >= 30
    assert all(layer.local is not None for layer in found.layers)
    assert found.layers[-1].variable == made.source.manifest.outputs[0].name
    assert any(layer.quantized for layer in found.layers) == (precision == "int8")


def planted(export: ModelArtifact, onnx: ModelArtifact, folder: Path) -> tuple[ModelArtifact, set[str]]:
    """The export with a convolution's weights or their scales halved, and the names that its tensor may have."""
    import onnx as onnx_package
    from onnx import numpy_helper

    graph = onnx_package.load(onnx.file("model")).graph
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    rounded = {node.output[0]: node.input for node in graph.node if node.op_type == "DequantizeLinear"}
    readers = {name: node for node in graph.node for name in node.input}
    shutil.copytree(export.path, folder)
    file = next(folder / entry.path for entry in export.manifest.files if entry.path.endswith((".bin", ".mnn")))
    content = file.read_bytes()
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for node in convolutions[len(convolutions) // 2 :]:
        held = [constants[name] for name in rounded.get(node.input[1], node.input[1:2])[:2]]  # weights, their scales
        found = [value for value in held if value.size > 20 and content.count(value.tobytes()) == 1]
        if found:
            break
    else:
        pytest.fail("no convolution's weights are in the file as they are in the ONNX model")
    file.write_bytes(content.replace(found[0].tobytes(), (found[0] / 2).astype(found[0].dtype).tobytes()))
    files = tuple(file_entry(folder, entry.path, entry.role) for entry in export.manifest.files)
    write_artifact(folder, export.manifest.model_copy(update={"files": files}))
    names, reader = {node.output[0]}, readers.get(node.output[0])
    while reader is not None and reader.op_type in ("Relu", "Clip", "QuantizeLinear", "DequantizeLinear"):
        names.add(reader.output[0])
        reader = readers.get(reader.output[0])
    return read_artifact(folder), names


@pytest.mark.parametrize(("name", "precision"), EXPORTS)
def test_a_planted_fault_is_found_named_and_reproduced(made, tmp_path, name, precision):
    python = require_worker(*MODULES[name])
    export, names = planted(*made.export(name, precision), tmp_path / "planted")
    (out := tmp_path / "out").mkdir()
    found = diagnose(export, made.source, IMAGE, out=out)
    first = found.findings[0]
    assert (first.kind, first.layer in names) == ("operator", True), first.message
    assert "conv2d" in " ".join(first.operators)
    if precision == "fp32":
        done = subprocess.run([str(python), str(out / "reproduce.py")], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "largest difference" in done.stdout
        if name != "openvino":
            assert json.loads((out / "export.json").read_text())["output"]
