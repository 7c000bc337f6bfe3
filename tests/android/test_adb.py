"""The adb runtime against an adb that behaves like the real one, for every way in which a phone can fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from segexport.artifact import ModelArtifact
from segexport.errors import (
    DeviceMissingError,
    EnvironmentMissingError,
    InputError,
    OptionError,
    SegexportError,
    StorageError,
    UnreadableError,
    WorkerCrashed,
    WorkerFailed,
    WorkerTimeout,
)
from segexport.runtimes import adb_client
from segexport.runtimes.adb import Adb, AdbSession
from segexport.runtimes.base import RunOptions, Runtime
from segexport.runtimes.device_job import JobItem, read_result

from .conftest import CI, Jvm
from .models import convolution

TENSOR = np.random.default_rng(2).normal(size=(1, 3, 24, 32)).astype(np.float32)


class Phone:
    """A fake adb and its phone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executable = folder / "adb"
        fake = Path(__file__).with_name("fake_adb.py")
        self.executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{fake}" "$@"\n')
        self.executable.chmod(0o755)
        self.set()

    def set(self, **state: object) -> Adb:
        """The phone is as `state` says, otherwise well."""
        full = {"devices": {"R58M": "device"}, "app": "answers", **state}
        (self.folder / "state.json").write_text(json.dumps(full))
        (self.folder / "calls.log").write_text("")
        return Adb(executable=str(self.executable))

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls.log").read_text().splitlines()

    @property
    def files(self) -> list[str]:
        return sorted(file.name for file in (self.folder / "phone").rglob("*") if file.is_file())


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Phone:
    folder = tmp_path / "phone"
    folder.mkdir()
    monkeypatch.setenv("FAKE_ADB", str(folder))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return Phone(folder)


@pytest.fixture
def model(tmp_path: Path) -> ModelArtifact:
    return convolution(tmp_path / "model")


def _open(runtime: Adb, model: ModelArtifact, timeout_s: float = 20) -> AdbSession:
    return runtime.open(model, RunOptions(threads=2, timeout_s=timeout_s))


def test_it_is_a_runtime(phone: Phone) -> None:
    runtime = phone.set()
    assert isinstance(runtime, Runtime)
    found = runtime.probe()
    assert found.ok
    assert found.version == "1.0.41"
    assert found.devices == ("R58M",)


def test_infer_and_bench(phone: Phone, model: ModelArtifact) -> None:
    with _open(phone.set(), model) as session:
        assert session.info.device == "Fairphone FP5 (Android 14)"
        prediction = session.infer([TENSOR])
        assert prediction.mask.shape == (24, 32)
        assert prediction.mask.dtype == np.uint8
        assert prediction.inference_ms == 5.0
        np.testing.assert_array_equal(session.bench([TENSOR], 7), np.full(7, 5.0))
        assert session.info.version == "1.26.0"
        assert session.info.runtime == "adb (ONNX Runtime)"
        pushed = [call for call in phone.calls if "push" in call]
        assert sum("model.onnx" in call for call in pushed) == 1  # the model travels once
        assert sum("job.json" in call for call in pushed) == 2
    assert phone.files == []  # nothing stays on the phone
    assert any("am force-stop dev.segexport.demo" in call for call in phone.calls)


@pytest.mark.parametrize("options", [{}, {"provider": "xnnpack"}])
def test_the_provider_is_part_of_the_job(phone: Phone, model: ModelArtifact, options: dict[str, object]) -> None:
    with phone.set().open(model, RunOptions(options=options, timeout_s=20)) as session:
        session.infer([TENSOR])
        (job,) = (json.loads(file.read_text()) for file in (phone.folder / "phone").rglob("job.json"))
        assert job.get("providers") == ([options["provider"]] if options else None)


@pytest.mark.slow
def test_the_real_code_behind_a_fake_cable(phone: Phone, jvm: Jvm, model: ModelArtifact, tmp_path: Path) -> None:
    """adb is a fake, the app's code is not: the same masks as this machine's runtime."""
    from segexport.runtimes.ort import OnnxRuntime

    runner = tmp_path / "app.sh"
    runner.write_text(
        f'#!/bin/sh\nSEGEXPORT_ANDROID_BUILD={jvm.build} exec {CI}/java.sh x86_64 dev.segexport.ort.RunJob "$1"\n'
    )
    with OnnxRuntime().open(model, RunOptions()) as here:
        expected = here.infer([TENSOR]).mask
    with _open(phone.set(app=["sh", str(runner)]), model, timeout_s=60) as session:
        result, masks = session.run([JobItem(TENSOR, runs=4), JobItem(TENSOR)])
    for mask in masks:
        np.testing.assert_array_equal(mask, expected)
    assert [len(item.inference_ms) for item in result.items] == [4, 1]
    assert result.device["abi"] == "amd64"


@pytest.mark.parametrize(
    ("state", "kind", "what", "hint"),
    [
        ({"devices": {}}, DeviceMissingError, "no phone is connected", "USB debugging"),
        (
            {"devices": {"R58M": "unauthorized"}},
            DeviceMissingError,
            "R58M: the phone has not allowed this computer",
            "Allow",
        ),
        ({"devices": {"R58M": "offline"}}, DeviceMissingError, "R58M: the phone is offline", "kill-server"),
        (
            {"devices": {"A1": "device", "B2": "device"}},
            OptionError,
            "2 phones are connected: A1, B2",
            "ANDROID_SERIAL=A1",
        ),
        ({"installed": False}, EnvironmentMissingError, "dev.segexport.demo is not installed", "adb install"),
        ({"full": 100}, StorageError, "R58M: the phone's storage is full", "free some space"),
        ({"app": "old"}, EnvironmentMissingError, "the app cannot be started", "an older one"),
        ({"app": "crashes"}, WorkerCrashed, "the app ended without a result", "logcat"),
        ({"app": "refuses"}, WorkerFailed, "the app could not run the model", ""),
        ({"app": "cuts"}, UnreadableError, "bytes are not a mask of 32x24", ""),
        ({"app": "stale"}, WorkerFailed, "the result belongs to another job", ""),
        ({"unplug_after": 6}, DeviceMissingError, "R58M: the phone was disconnected", "cable"),
    ],
)
def test_failures(
    phone: Phone, model: ModelArtifact, state: dict, kind: type[SegexportError], what: str, hint: str
) -> None:
    runtime = phone.set(**state)
    with pytest.raises(kind) as caught, _open(runtime, model) as session:
        session.infer([TENSOR])
    assert type(caught.value) is kind
    assert what in caught.value.what
    assert hint in caught.value.hint
    if state.get("app") == "crashes":
        assert "UnsatisfiedLinkError: dlopen failed" in caught.value.cause
    if state.get("app") == "refuses":
        assert caught.value.cause == "not enough memory for this model (OUT_OF_MEMORY)"


def test_another_model(phone: Phone, model: ModelArtifact) -> None:
    """The job's id is right, and yet the phone ran something else: its answer is not an answer about this export."""
    message = r"Fairphone FP5 \(Android 14\) ran another model"
    with _open(phone.set(app="other model"), model) as session, pytest.raises(InputError, match=message) as caught:
        session.infer([TENSOR])
    assert model.manifest.files[0].sha256[:12] in caught.value.cause


def test_an_app_that_hangs_is_stopped(phone: Phone, model: ModelArtifact) -> None:
    session = _open(phone.set(app="hangs"), model, timeout_s=1)
    with pytest.raises(WorkerTimeout, match="no answer in 1 s; the app was stopped") as caught:
        session.infer([TENSOR])
    assert "screen on" in caught.value.hint
    assert "force-stop" in phone.calls[-1]


def test_an_adb_that_hangs(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    phone.set(hang=True)
    client = adb_client.AdbClient(str(phone.executable), "R58M")
    with pytest.raises(WorkerTimeout, match="no answer in 1 s"):
        client.shell("true", timeout_s=1)


def test_no_adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    found = Adb(executable=str(tmp_path / "absent")).probe()
    assert not found.ok
    assert "adb was not found" in found.reason
    assert "apt install adb" in found.hint


def test_the_phone_that_is_named(phone: Phone, model: ModelArtifact) -> None:
    phone.set(devices={"A1": "unauthorized", "B2": "device"})
    assert Adb(executable=str(phone.executable), serial="B2").probe().devices == ("B2",)
    assert Adb(executable=str(phone.executable)).probe().devices == ("B2",)  # the only one that is ready
    with pytest.raises(EnvironmentMissingError, match="no phone 'C3' is connected") as caught:
        _open(Adb(executable=str(phone.executable), serial="C3"), model)
    assert caught.value.cause == "connected are: A1, B2"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not a device result"),
        ("[]", "not a device result"),
        ('{"schema_version": 2, "device": {}}', "not a device result"),
        ('{"schema_version": 1, "device": {}}', "nothing was run"),
        ("[" * 100_000, "not a device result"),
    ],
)
def test_a_result_file_that_is_none(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "result.json"
    file.write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        read_result(file)
    assert str(file) in caught.value.what


def test_a_result_that_points_elsewhere(tmp_path: Path) -> None:
    item = {"input": "x", "mask": "../../etc/passwd", "width": 1, "height": 1}
    item |= {"preprocess_ms": [], "inference_ms": [1.0], "postprocess_ms": []}
    (tmp_path / "result.json").write_text(json.dumps({"schema_version": 1, "device": {}, "items": [item]}))
    with pytest.raises(InputError, match="not a device result") as caught:
        read_result(tmp_path / "result.json")
    assert "must be in the result's folder" in caught.value.cause
