"""A diagnosis of LiteRT exports: good ones have no fault, a planted one is found and named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from installed import require, require_worker

from segexport.artifact import ModelArtifact, file_entry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.diagnose.diagnose import diagnose
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.targets.litert import LiteRtExport
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, plan
from segexport.pipeline.step import StepContext
from segexport.recipe.schema import Recipe
from segexport.spec import Precision

DEMO = Path(__file__).resolve().parents[2] / "src/segexport/demo"
IMAGE = cv2.cvtColor(cv2.imread(str(DEMO / "data/images/tile_03.png")), cv2.COLOR_BGR2RGB)
PRECISIONS = (Precision.FP32, Precision.FP16, Precision.W8, Precision.INT8)


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> dict[str, ModelArtifact]:
    """One of each precision, the ONNX export `onnx`, and their `source`."""
    require("paddle", "paddle2onnx", "onnx")
    require_worker("ai_edge_litert", "onnx")
    store = Store(tmp_path_factory.mktemp("store"))
    source = import_model(DEMO / "model", ImportOptions(), store)
    wanted = [LiteRtExport(to="litert", precision=one) for one in PRECISIONS]
    recipe = Recipe.model_construct(model=None, data=None, exports=tuple(wanted))
    data = Dataset.open(DEMO / "data", "train")
    runner, found = PlanRunner(store, StepContext(data=data)), {"source": source}
    for name, chain in plan(recipe, source, data.fingerprint).chains.items():
        found[name.removeprefix("litert-")] = runner.build(name, source, chain)
        if name == "litert-fp32":
            found["onnx"] = runner.build("onnx", source, chain[:-1])
    return found


@pytest.mark.parametrize("precision", [one.value for one in PRECISIONS])
def test_nothing_is_wrong_with_a_good_export(exports, precision):
    found = diagnose(exports[precision], exports["source"], IMAGE)
    assert found.findings == ()
    assert len(found.layers) >= 40
    assert all(layer.local is not None for layer in found.layers)
    assert found.layers[-1].variable == exports["source"].manifest.outputs[0].name
    assert any(layer.quantized for layer in found.layers) == (precision == "int8")


def planted(export: ModelArtifact, onnx_file: Path, folder: Path) -> tuple[ModelArtifact, str]:
    """The export with the weights of the tenth dense convolution halved, and the name of that convolution's tensor."""
    import onnx
    from onnx import numpy_helper

    shutil.copytree(export.path, folder)
    graph = onnx.load(onnx_file).graph
    weights = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    dense = [node for node in graph.node if node.op_type == "Conv" and weights[node.input[1]].shape[1] > 1]
    chosen = weights[dense[9].input[1]].transpose(0, 2, 3, 1)
    content = (folder / "model.tflite").read_bytes()
    assert content.count(chosen.tobytes()) == 1
    (folder / "model.tflite").write_bytes(content.replace(chosen.tobytes(), (chosen * np.float32(0.5)).tobytes()))
    files = tuple(file_entry(folder, entry.path, entry.role) for entry in export.manifest.files)
    write_artifact(folder, export.manifest.model_copy(update={"files": files}))
    return read_artifact(folder), dense[9].output[0]


def test_a_planted_fault_is_found_named_and_reproduced(exports, tmp_path):
    export, tensor = planted(exports["fp32"], exports["onnx"].file("model"), tmp_path / "planted")
    (out := tmp_path / "out").mkdir()
    found = diagnose(export, exports["source"], IMAGE, out=out)
    first = found.findings[0]
    assert (first.kind, first.layer) == ("operator", tensor)
    assert "conv2d" in " ".join(first.operators)
    assert "in the export Conv is off by" in first.message
    python = require_worker("ai_edge_litert")
    done = subprocess.run([str(python), str(out / "reproduce.py")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "largest difference" in done.stdout
