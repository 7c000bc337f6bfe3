"""A diagnosis of OpenVINO exports: good ones have no fault, a planted one is found and named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from installed import require, require_worker

from segexport.artifact import ModelArtifact, file_entry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.diagnose.diagnose import diagnose
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.targets.openvino import OpenVinoExport
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, plan
from segexport.pipeline.step import StepContext
from segexport.recipe.schema import Recipe
from segexport.spec import Precision

DEMO = Path(__file__).resolve().parents[2] / "src/segexport/demo"
IMAGE = cv2.cvtColor(cv2.imread(str(DEMO / "data/images/tile_03.png")), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> dict[str, ModelArtifact]:
    """`fp32`, `fp16`, `int8`, and their `source`."""
    require("paddle", "paddle2onnx")
    require_worker("openvino")
    store = Store(tmp_path_factory.mktemp("store"))
    source = import_model(DEMO / "model", ImportOptions(), store)
    wanted = [OpenVinoExport(to="openvino", precision=one) for one in (Precision.FP32, Precision.FP16, Precision.INT8)]
    recipe = Recipe.model_construct(model=None, data=None, exports=tuple(wanted))
    data = Dataset.open(DEMO / "data", "train")
    runner, found = PlanRunner(store, StepContext(data=data)), {"source": source}
    for name, chain in plan(recipe, source, data.fingerprint).chains.items():
        found[name.removeprefix("openvino-")] = runner.build(name, source, chain)
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_nothing_is_wrong_with_a_good_export(exports, precision):
    found = diagnose(exports[precision], exports["source"], IMAGE)
    assert found.findings == ()
    assert len(found.layers) >= 40
    assert all(layer.local is not None for layer in found.layers)
    assert found.layers[-1].variable == exports["source"].manifest.outputs[0].name
    assert any(layer.quantized for layer in found.layers) == (precision == "int8")


def planted(export: ModelArtifact, folder: Path) -> tuple[ModelArtifact, str]:
    """The export with the weights of the tenth convolution halved, and the name of that convolution's tensor."""
    shutil.copytree(export.path, folder)
    layers = ElementTree.parse(folder / "model.xml").getroot().find("layers")
    weights = [layer for layer in layers if layer.get("type") == "Const" and "_weight" in layer.get("name")]
    chosen, data = weights[9], bytearray((folder / "model.bin").read_bytes())
    where = chosen.find("data")
    start, size = int(where.get("offset")), int(where.get("size"))
    values = np.frombuffer(data, where.get("element_type").replace("f", "float"), size // 4, start)
    data[start : start + size] = (values * 0.5).tobytes()
    (folder / "model.bin").write_bytes(data)
    files = tuple(file_entry(folder, entry.path, entry.role) for entry in export.manifest.files)
    write_artifact(folder, export.manifest.model_copy(update={"files": files}))
    return read_artifact(folder), chosen.get("name").removesuffix("_weight")


def test_a_planted_fault_is_found_named_and_reproduced(exports, tmp_path):
    export, tensor = planted(exports["fp32"], tmp_path / "planted")
    (out := tmp_path / "out").mkdir()
    found = diagnose(export, exports["source"], IMAGE, out=out)
    first = found.findings[0]
    assert (first.kind, first.layer) == ("operator", tensor)
    assert "conv2d" in " ".join(first.operators)
    assert "in the export Conv is off by" in first.message
    python = require_worker("openvino")
    done = subprocess.run([str(python), str(out / "reproduce.py")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "largest difference" in done.stdout
