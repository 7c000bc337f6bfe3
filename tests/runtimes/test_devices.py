"""A device that is not here: the error says what is, and how to get the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HOMES = [Path(__file__).resolve().parents[2] / place for place in ("runtimes/workers", "src/segexport/process")]


@pytest.fixture
def devices(monkeypatch):
    """The worker's module, which finds its siblings as a worker does."""
    for home in HOMES:
        monkeypatch.syspath_prepend(str(home))
    import devices

    yield devices
    for name in ("devices", "worker_host"):
        sys.modules.pop(name, None)


def test_names(devices):
    assert devices.parsed("cpu", "X") == ("cpu", 0)
    assert devices.parsed("gpu", "X") == ("gpu", 0)
    assert devices.parsed("gpu:3", "X") == ("gpu", 3)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu:", "gpu:x", "gpu:-1", "CPU", "cpu:0", "npu:0", ""])
def test_other_names(devices, name):
    with pytest.raises(Exception, match=f"device '{name}': X runs on cpu and gpu:N") as caught:
        devices.parsed(name, "X")
    assert caught.value.hint == "gpu:0 is the first GPU"


def test_what_is_said_where_there_is_no_gpu(devices, monkeypatch):
    monkeypatch.setattr(devices.os.path, "exists", lambda _path: False)
    error = devices.absent(
        "gpu:0", "ONNX Runtime 1.2.3", "its providers are A, B", "onnxruntime", "onnxruntime-gpu==1.2.3"
    )
    assert str(error) == "device 'gpu:0': ONNX Runtime 1.2.3 here runs on the CPU only"
    assert error.cause == "its providers are A, B; the machine has no NVIDIA driver"
    assert "pip uninstall onnxruntime, pip install onnxruntime-gpu==1.2.3" in error.hint
    monkeypatch.undo()
