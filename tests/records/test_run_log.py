"""`--log`: MLflow and TensorBoard have what the report has; a tracker that fails changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from installed import require
from report_sample import EVIL_NAME, full_report, passing_report

from segexport import report as reports
from segexport.errors import EnvironmentMissingError, OptionError
from segexport.records.run_log import open_logs, plain, record_of
from segexport.report.schema import ShownImage


class Told:
    """Collects what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)


@pytest.fixture
def record(tmp_path):
    """A report in a folder, with a picture."""
    folder = tmp_path / "report"
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images/a.png"), np.full((4, 6, 3), (0, 0, 255), np.uint8))
    image = ShownImage(image="a.jpg", agreement=0.5, picture="images/a.png")
    report = passing_report()
    export = report.exports[0].model_copy(update={"worst_images": (image,)})
    report = report.model_copy(update={"exports": (export,)})
    reports.write(report, folder)
    return record_of(report, folder)


def test_tensorboard_has_figures_tables_and_the_picture(tmp_path, record):
    require("tensorboardX")
    told = Told()
    write = open_logs([f"tensorboard:{tmp_path / 'tb'}"])
    write(record, told)
    write(record, told)
    assert told.said == [f"logged: step {step} in {tmp_path / 'tb'}" for step in (0, 1)]
    values = list(events(tmp_path / "tb"))
    figures = {(value.tag, step): value.simple_value for step, value in values if value.HasField("simple_value")}
    assert figures["onnx-fp32/miou", 1] == pytest.approx(record.figures["onnx-fp32/miou"])
    assert {"onnx-fp32/worst_image", "verdict/text_summary", "run/text_summary"} <= {value.tag for _, value in values}
    picture = next(value.image for _, value in values if value.HasField("image"))
    decoded = cv2.imdecode(np.frombuffer(picture.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert decoded[0, 0].tolist() == [0, 0, 255]  # red stays red


def events(folder: Path):
    """(step, value) of every event; a file is a list of length, checksum, bytes, checksum."""
    import struct

    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            yield from ((event.step, value) for value in event.summary.value)
            data = data[16 + size :]


@pytest.mark.slow
def test_mlflow_has_params_figures_tables_and_files(tmp_path, record, monkeypatch):
    require("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    told = Told()
    open_logs([f"mlflow:{tmp_path / 'runs'}"])(record, told)
    assert told.warned == []
    client = MlflowClient(tracking_uri=(tmp_path / "runs").as_uri())
    experiment = client.get_experiment_by_name("segexport")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["onnx-fp32/miou"] == record.figures["onnx-fp32/miou"]
    assert run.data.params["verdict"] == run.data.params["onnx-fp32.verdict"] == "PASS"
    found = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert found == {"files", "verdict.md", "pictures"}
    assert "files/report.json" in {file.path for file in client.list_artifacts(run.info.run_id, "files")}
    hostile = record_of(full_report(), tmp_path / "report")
    open_logs([f"mlflow:{tmp_path / 'runs'}"])(hostile, told)
    assert told.warned == []


def test_a_tracker_that_fails_is_a_warning(tmp_path, record):
    require("tensorboardX")
    (tmp_path / "file").write_text("")
    told = Told()
    open_logs([f"tensorboard:{tmp_path / 'file'}"])(record, told)
    assert told.said == []
    assert told.warned[0].startswith(f"--log tensorboard:{tmp_path / 'file'}: not written: ")


@pytest.mark.parametrize("text", ["wandb:x", "mlflow", "tensorboard:", ""])
def test_an_unknown_tracker_is_an_error_before_any_work(text):
    with pytest.raises(OptionError, match="no tracker") as caught:
        open_logs([text])
    assert caught.value.hint == "--log mlflow:URI, or --log tensorboard:DIR"


@pytest.mark.parametrize(("kind", "package"), [("mlflow", "mlflow"), ("tensorboard", "tensorboardX")])
def test_a_missing_package_is_told_with_its_command(monkeypatch, kind, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EnvironmentMissingError) as caught:
        open_logs([f"{kind}:x"])
    assert caught.value.hint == f"pip install 'segexport[{kind}]'"


def test_names_are_plain():
    assert plain("移动端模型-fp16") == "移动端模型-fp16"
    assert set("<>|`@[]()&;'\x1b") & set(plain(EVIL_NAME)) == set()
