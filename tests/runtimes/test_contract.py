"""What every runtime owes: the same masks, margins and errors, whichever library is behind it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from heads import (
    HEADS,
    HEIGHT,
    WIDTH,
    Head,
    make_litert,
    make_mnn,
    make_ncnn,
    make_onnx,
    make_openvino,
    make_paddle,
    make_paddle_lite,
    tensor,
)
from installed import require_worker

from segexport.artifact import ModelArtifact
from segexport.errors import InputError, SegexportError, WorkerCrashed, WorkerError
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions, Runtime, Session
from segexport.spec import Format

SLOW = pytest.mark.slow  # a process each, and Paddle takes seconds to start


@pytest.fixture(scope="class")
def runtime(request) -> Runtime:
    require_worker(request.cls.module)
    return runtime_for(request.cls.format, name=request.cls.name)


@pytest.fixture(scope="class")
def artifacts(request, runtime, tmp_path_factory) -> Callable[[str], ModelArtifact]:
    """Makes the artifact of a head once."""
    made: dict[str, ModelArtifact] = {}

    def artifact(name: str) -> ModelArtifact:
        if name not in made:
            made[name] = request.cls.make(HEADS[name], tmp_path_factory.mktemp(name.replace(" ", "_")))
        return made[name]

    return artifact


@pytest.fixture(scope="class")
def session(runtime, artifacts) -> Session:
    opened = runtime.open(artifacts("logits"), RunOptions(timeout_s=60))
    yield opened
    opened.close()


class RuntimeContract:
    """Subclassed once for each runtime.

    Attributes:
        format: What it runs.
        module: What has to be installed.
        name: Of the runtime, where it is not the format's first.
        make: Makes an artifact of a head in an empty folder.
        lacks: Heads that it does not run, each with the operator that the error names.
    """

    format: Format
    module: str
    name: str = ""
    make: Callable[[Head, Path], ModelArtifact]
    lacks: ClassVar[Mapping[str, str]] = {}

    def test_it_is_there_and_says_its_version(self, runtime):
        found = runtime.probe()
        assert (found.ok, found.reason) == (True, "")
        assert found.version[0].isdigit()
        assert "cpu" in found.devices

    def test_it_says_what_really_runs(self, session, runtime):
        info = session.info
        assert info.runtime == runtime.name
        assert (info.threads, bool(info.provider), bool(info.device)) == (1, True, True)
        assert info.load_ms > 0
        assert session.peak_rss_bytes() > 10 << 20

    @pytest.mark.parametrize("name", [name for name in HEADS if name != "infinite"])
    def test_masks_and_margins_of_every_head(self, runtime, artifacts, name):
        head = HEADS[name]
        if name in self.lacks:
            with pytest.raises(WorkerError) as caught:
                runtime.open(artifacts(name), RunOptions(timeout_s=60))
            assert self.lacks[name] in caught.value.cause
            return
        with runtime.open(artifacts(name), RunOptions(timeout_s=60)) as opened:
            for seed in (0, 1):
                x = tensor(seed)
                found = opened.infer([x], margin=True)
                assert found.finite
                assert found.mask.dtype == np.uint8
                np.testing.assert_array_equal(found.mask, head.mask(x))
                expected = head.margin(x)
                if expected is None:
                    assert found.margin is None
                else:
                    assert found.margin.shape == (HEIGHT, WIDTH)
                    np.testing.assert_allclose(found.margin, expected, atol=1e-5)
                assert found.inference_ms > 0
                assert found.postprocess_ms > 0
                assert opened.infer([x]).margin is None
                (raw,) = opened.outputs([x])
                assert raw.shape == head.shape
                if head.semantics == "class_index":
                    np.testing.assert_array_equal(raw[0], head.mask(x))
                else:
                    order = [1, 2, 0] if head.layout == "NHWC" else [0, 1, 2]
                    np.testing.assert_allclose(raw[0], head.scores(x).transpose(order), atol=1e-5)

    def test_nan_and_infinity_are_seen(self, runtime, artifacts):
        with runtime.open(artifacts("infinite"), RunOptions(timeout_s=60)) as opened:
            assert not opened.infer([tensor()]).finite
            assert not opened.infer([np.zeros_like(tensor())]).finite  # 0 / 0

    def test_runs_can_be_timed(self, session):
        times = session.bench([tensor()], 7)
        assert times.shape == (7,)
        assert (times > 0).all()
        assert (times < 1000).all()

    def test_a_run_is_started_and_fetched_later(self, session):
        for seed in range(5):
            session.submit([tensor(seed)], margin=True)
            np.testing.assert_array_equal(session.result().mask, HEADS["logits"].mask(tensor(seed)))

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ([np.zeros((1, 3, 5, 6), np.float32)], r"takes float32 \[1, 3, 4, 6\], got float32 \[1, 3, 5, 6\]"),
            ([np.zeros((3, 4, 6), np.float32)], r"got float32 \[3, 4, 6\]"),
            ([np.zeros((1, 3, 4, 6), np.float64)], r"got float64 \[1, 3, 4, 6\]"),
            ([np.zeros((1, 3, 4, 6), np.uint8)], r"got uint8 \[1, 3, 4, 6\]"),
            ([], "the model takes 1 inputs, got 0"),
            ([np.zeros((1, 3, 4, 6), np.float32)] * 2, "the model takes 1 inputs, got 2"),
        ],
    )
    def test_a_wrong_tensor_is_refused_and_the_session_goes_on(self, session, tensors, message):
        for call in (session.infer, session.outputs, lambda given: session.bench(given, 1)):
            with pytest.raises(InputError, match=message):
                call(tensors)
        np.testing.assert_array_equal(session.infer([tensor()]).mask, HEADS["logits"].mask(tensor()))

    @pytest.mark.parametrize(
        "device", ["gpu:99", "npu:0", *(pytest.param(d, marks=SLOW) for d in ("", "CPU!", "gpu:x"))]
    )
    def test_a_device_that_is_not_here_is_an_error_with_a_hint(self, runtime, artifacts, device):
        """gpu:99 is nowhere; on a machine without a GPU it must not become the CPU either."""
        with pytest.raises(SegexportError) as caught:
            runtime.open(artifacts("logits"), RunOptions(device=device, timeout_s=60))
        assert repr(device) in caught.value.what
        assert caught.value.hint

    @pytest.mark.parametrize(
        "damage", ["truncated", *(pytest.param(d, marks=SLOW) for d in ("empty", "random", "missing"))]
    )
    def test_a_damaged_file_is_an_error_and_no_hang(self, runtime, artifacts, tmp_path, damage):
        whole = artifacts("logits")
        for entry in whole.manifest.files:
            content = (whole.path / entry.path).read_bytes()
            broken = {
                "truncated": content[: len(content) // 2],
                "empty": b"",
                "random": np.random.default_rng(0).bytes(len(content)),
            }
            if damage in broken:
                (tmp_path / entry.path).write_bytes(broken[damage])
        with pytest.raises(WorkerError) as caught:
            runtime.open(ModelArtifact(tmp_path, whole.manifest), RunOptions(timeout_s=240))
        assert len(caught.value.what.splitlines()) == 1

    def test_a_killed_process_is_a_crash_and_close_is_safe(self, runtime, artifacts):
        opened = runtime.open(artifacts("logits"), RunOptions(timeout_s=60))
        os.kill(opened.pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match=f"{runtime.name}: the process was killed by SIGKILL during 'infer'"):
            opened.infer([tensor()])
        opened.close()
        opened.close()
        assert not Path(f"/proc/{opened.pid}").exists()

    def test_closing_ends_the_process(self, runtime, artifacts):
        opened = runtime.open(artifacts("logits"), RunOptions(timeout_s=60))
        assert Path(f"/proc/{opened.pid}").exists()
        opened.close()
        assert not Path(f"/proc/{opened.pid}").exists()

    def test_threads_do_not_change_the_mask(self, runtime, artifacts):
        with runtime.open(artifacts("logits"), RunOptions(threads=2, timeout_s=60)) as opened:
            assert opened.info.threads == 2
            np.testing.assert_array_equal(opened.infer([tensor()]).mask, HEADS["logits"].mask(tensor()))


class TestPaddle(RuntimeContract):
    format, module, make = Format.PADDLE, "paddle", staticmethod(make_paddle)


class TestOnnxRuntime(RuntimeContract):
    format, module, make = Format.ONNX, "onnxruntime", staticmethod(make_onnx)


class TestPaddleLite(RuntimeContract):
    format, module, make = Format.PADDLE_LITE, "paddlelite", staticmethod(make_paddle_lite)


class TestLiteRt(RuntimeContract):
    """Its images have the channels last; the session takes them as every other."""

    format, module, make = Format.LITERT, "ai_edge_litert", staticmethod(make_litert)


class TestMnn(RuntimeContract):
    format, module, make = Format.MNN, "MNN", staticmethod(make_mnn)


class TestOpenVino(RuntimeContract):
    format, module, make = Format.OPENVINO, "openvino", staticmethod(make_openvino)


class TestOpenVinoWithOnnx(RuntimeContract):
    format, module, name, make = Format.ONNX, "openvino", "openvino", staticmethod(make_onnx)


class TestNcnn(RuntimeContract):
    format, module, make = Format.NCNN, "ncnn", staticmethod(make_ncnn)
    lacks: ClassVar = {"argmax": "ArgMax"}
