"""int8 by NNCF: computes in int8, is deterministic, and sends no telemetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from installed import require, require_worker

from segexport.artifact import ModelArtifact, write_artifact
from segexport.check.audit import audit
from segexport.data.dataset import Dataset
from segexport.errors import UnsupportedModelError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.openvino_nncf import QuantizeWithNncf
from segexport.exporter.targets.openvino import OpenVinoExport
from segexport.files.store import Store
from segexport.pipeline.registry import runtime_for, target_named
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker
from segexport.runtimes.base import RunOptions
from segexport.spec import Precision
from segexport.verdict import Verdict

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "src/segexport/demo"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> list[ModelArtifact]:
    """What each step of an int8 export by NNCF makes of the demo's model, and the last one's once more."""
    require("paddle2onnx")
    require_worker("nncf", "openvino", optional=True)
    root = tmp_path_factory.mktemp("nncf")
    context = StepContext(data=Dataset.open(DEMO / "data", "train"))
    recipe = OpenVinoExport(to="openvino", precision=Precision.INT8, quantizer="nncf")
    steps = target_named("openvino").steps(recipe)
    assert [step.kind for step in steps] == ["to_onnx", "to_openvino", "openvino_nncf"]
    found = [import_model(DEMO / "model", ImportOptions(), Store(root / "store"))]
    for number, step in enumerate([*steps, steps[-1]]):
        (folder := root / str(number)).mkdir()
        source = found[2] if number == len(steps) else found[-1]
        found.append(write_artifact(folder, step.run(source, folder, context)))
    return found


def test_every_convolution_computes_in_int8_and_most_pixels_stay_what_they_are(made):
    *_, floats, int8, _ = made
    image = [np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32)]
    found = audit(int8, [image], RunOptions())
    assert (found.check.verdict, found.check.details["products"]) == (Verdict.PASS, {"int8": 33})
    masks = []
    for artifact in (floats, int8):
        with runtime_for(artifact.manifest.format).open(artifact, RunOptions()) as session:
            masks.append(session.infer(image).mask)
    assert 0.9 < (masks[0] == masks[1]).mean() < 1
    assert int8.manifest.target.precision is Precision.INT8
    assert "roundings by NNCF 3.4.0, 10 images" in int8.manifest.lineage[-1].notes[0]


def test_two_runs_give_the_same_bytes(made):
    *_, first, second = made
    assert [one.sha256 for one in first.manifest.files] == [one.sha256 for one in second.manifest.files]


def test_what_is_int8_already_is_refused(made, tmp_path):
    with pytest.raises(UnsupportedModelError, match="quantized to int8 already: NNCF takes float models"):
        QuantizeWithNncf().run(made[-1], tmp_path, StepContext())


SPY = """
import sys
sockets = []
sys.addaudithook(lambda event, _: sockets.append(event) if event.startswith("socket.") else None)
import nncf_worker

def events(_arguments, _arrays):
    return {"sockets": sockets}, []

COMMANDS = {**nncf_worker.COMMANDS, "events": events}
"""


def test_nothing_is_sent_and_nothing_is_written_home(made, tmp_path):
    """OpenVINO and NNCF left to themselves open sockets and write an identity into ~/intel."""
    folder = REPOSITORY / "exporter/workers"
    (spy := tmp_path / "spy.py").write_text(f"import sys\nsys.path.insert(0, {str(folder)!r})\n{SPY}")
    (home := tmp_path / "home").mkdir()
    image = np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32)
    with Worker(spy, needs=("nncf", "openvino"), environment={"HOME": str(home), "CI": ""}) as worker:
        begun = {"model": str(made[-3].file("model")), "scratch": str(tmp_path)}
        worker.call("begin", begun, timeout_s=300)
        worker.call("observe", {}, [image], timeout_s=300)
        worker.call("quantize", {"out": str(tmp_path / "model.xml"), "fast_bias_correction": True}, timeout_s=300)
        assert worker.call("events", timeout_s=300)[0]["sockets"] == []
    assert (tmp_path / "model.xml").is_file()
    assert list(home.iterdir()) == []
