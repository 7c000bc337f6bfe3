"""From nothing to an export that is signed off, by PaddleX's own lines and by a name of PaddleSeg."""

from __future__ import annotations

from pathlib import Path

import pytest
from installed import require_worker

import segexport
from segexport import seg
from segexport.verdict import Verdict

DATA = Path(segexport.__file__).parent / "demo" / "data"  # 16 images of nuclei, 128x128

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))


def signed_off(trained: Path, target: str, tmp_path: Path) -> None:
    segexport.export(trained, tmp_path / "exported", to=target)
    report = segexport.check(
        tmp_path / "exported", reference=trained, data=DATA, split="all", latency_seconds=0, output=tmp_path / "report"
    )
    open_ones = [one.message for one in report.exports[0].checks if one.gated and one.verdict is not Verdict.PASS]
    assert report.verdict is Verdict.PASS, open_ones


def test_a_deeplabv3p_by_paddlexs_lines(tmp_path):
    require_worker("paddleseg")
    model = seg.DeepLabv3p(num_classes=2, backbone="MobileNetV2_x0.25")
    model.train(
        num_epochs=30,
        train_dataset=DATA,
        train_batch_size=5,
        eval_dataset=DATA,
        learning_rate=0.05,
        save_interval_epochs=10,
        save_dir=tmp_path / "output",
        early_stop=True,
        early_stop_patience=3,
        image_size=(128, 128),
    )
    metrics = model.evaluate(DATA)
    assert isinstance(metrics, dict)
    assert metrics["miou"] > 0.5
    signed_off(tmp_path / "output" / "best_model", "paddle-lite", tmp_path)


def test_a_pp_liteseg_by_its_name(tmp_path):
    require_worker("paddleseg")
    course = {"data": DATA, "num_epochs": 40, "batch_size": 5, "learning_rate": 4e-3, "save_interval_epochs": 10}
    segexport.train("PPLiteSeg", tmp_path / "trained", backbone="STDC1", image_size=(128, 128), **course)
    signed_off(tmp_path / "trained", "onnx", tmp_path)
