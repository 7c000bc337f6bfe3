"""A worker that is started before its model is read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from segexport.pipeline import entry_points
from segexport.runtimes import ahead
from segexport.runtimes.ort import OnnxRuntime


@pytest.fixture
def started(monkeypatch):
    """The threads of the workers of ONNX Runtime that were started."""
    threads: list[int] = []
    monkeypatch.setattr(
        entry_points.instance("runtime", "onnxruntime").__class__,
        "start",
        lambda _self, n: threads.append(n) or f"worker {n}",
    )
    monkeypatch.setattr(ahead, "_started", {})
    return threads


def artifact(folder, **manifest):
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_worker_of_an_artifact_is_taken_once(tmp_path, started):
    ahead.start_ahead(artifact(tmp_path, format="onnx"), device="cpu", threads=2)
    assert started == [2]
    assert ahead.taken("onnxruntime", 1) is None  # other threads, another process
    assert ahead.taken("onnxruntime", 2) == "worker 2"
    assert ahead.taken("onnxruntime", 2) is None


@pytest.mark.parametrize(
    ("manifest", "options"),
    [
        ({"format": "onnx"}, {"device": "adb:1234"}),
        ({"format": "onnx"}, {"runtime": "fastest"}),
        ({"format": ["onnx"]}, {}),
        ({"format": "nothing of this name"}, {}),
        ({}, {}),
    ],
)
def test_what_is_no_reason_to_start_one(tmp_path, started, manifest, options):
    ahead.start_ahead(artifact(tmp_path, **manifest), **{"device": "cpu", "threads": 1, **options})
    assert started == []


@pytest.mark.parametrize("text", [None, b"", b"{", b"\xff\xfe", b"[1]", b'{"format": "onnx"' + b" " * (1 << 20) + b"}"])
def test_a_manifest_that_cannot_be_read_is_the_readers_to_tell(tmp_path, started, text):
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text)
    ahead.start_ahead(tmp_path, device="cpu", threads=1)
    assert started == []


def imported_by(code: str) -> set[str]:
    code += "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_worker_starts_before_what_takes_long_to_import():
    modules = imported_by("import segexport.runtimes.ahead, segexport.runtimes.ort")
    assert not modules & {"numpy", "pydantic", "cv2", "PIL"}


def test_a_prediction_imports_what_it_needs():
    modules = imported_by("import segexport.commands.predict, segexport.predict.model, segexport.cli.main")
    assert "cv2" in modules
    unneeded = {"rich", "ssl", "yaml", "onnxruntime", "segexport.report.schema", "segexport.measure.latency"}
    assert not modules & {*unneeded, "segexport.data.dataset", "segexport.video.run", "segexport.runtimes.openvino"}


def test_only_the_runtime_of_the_format_is_imported():
    code = "from segexport.pipeline.registry import runtime_for; print(runtime_for('onnx').name)"
    modules = imported_by(code)
    assert "onnxruntime" in modules  # the name that was printed
    assert not modules & {"segexport.runtimes.openvino", "segexport.runtimes.paddle", "segexport.exporter.targets.mnn"}
    assert OnnxRuntime.name == "onnxruntime"
