"""Two int8 exports of a network and its images are the same file, whatever else the machine does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from installed import require
from test_mnn import network
from workshop import Workshop

from segexport.exporter import onnx_quantize
from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker

_SPIN = "while True: pass"


@pytest.fixture
def busy():
    """Two processes that take what time they get."""
    others = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(2)]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.fixture
def blas_threads(monkeypatch) -> list[str]:
    """Of each worker that quantizes."""
    found = []

    class Seen(Worker):
        def call(self, command, *given, **options):
            answer = super().call(command, *given, **options)
            if command == "begin":
                environment = Path(f"/proc/{self.pid}/environ").read_text().split("\0")
                found.extend(value for value in environment if value.startswith("OPENBLAS_NUM_THREADS="))
            return answer

    monkeypatch.setattr(onnx_quantize, "Worker", Seen)
    return found


def test_another_load_and_other_threads_give_the_same_file(tmp_path, busy, blas_threads):
    require("paddle2onnx", "onnx", "onnxruntime")
    workshop = Workshop(tmp_path)
    source = workshop.made(make_step("to_onnx", {}), workshop.imported(network(classes=12)))
    context = StepContext(data=workshop.data)

    def exported(name: str, context: StepContext):
        (tmp_path / name).mkdir()
        options = QuantizeOnnx.Params(images=8, agreement=0.9999)  # which costs some operators
        manifest = QuantizeOnnx(options).run(source, tmp_path / name, context)
        return (tmp_path / name / "model.onnx").read_bytes(), manifest.lineage[-1].notes

    first = exported("first", context)
    assert any("operators stay float" in note for note in first[1])
    assert exported("second", context) == first
    assert exported("third", replace(context, threads=3)) == first
    assert blas_threads == ["OPENBLAS_NUM_THREADS=1"] * 3  # by more, wide layers' sums would differ in the last bits
