"""Scales of two halves of the calibration images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segexport.measure.calibration_stability import compare_halves, stability_note

WORKERS = Path(__file__).resolve().parents[2] / "exporter/workers"


def test_differences_are_relative_to_the_smaller_scale_and_sorted():
    scales = {"a": (1.0, 1.2), "b": (0.5, 0.25), "c": (2.0, 2.0), "d": (0.0, 1.0), "e": (0.0, 0.0), "f": (1.21, 1.0)}
    found = compare_halves(scales)
    assert found.tensors == 6
    assert list(found.unstable) == ["d", "b", "f"]
    assert found.unstable["b"] == 1.0
    assert found.unstable["f"] == pytest.approx(0.21)


def test_the_note_names_the_worst():
    note = stability_note({"x": (1.0, 1.5), "y": (1.0, 1.0)}, images=8)
    assert note.startswith("warning: two halves of the 8 calibration images")
    assert "1 of 2 tensors (x by 50%)" in note
    assert stability_note({"x": (1.0, 1.1)}, images=8).startswith("calibration is stable")
    assert stability_note({}, images=1).startswith("warning: calibrated on one image")


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_two_halves_make_the_histogram_of_all(method, monkeypatch):
    monkeypatch.syspath_prepend(str(WORKERS))
    from histogram import Histogram

    random = np.random.default_rng(0)
    parts = [random.normal(size=5000).astype(np.float32) * scale for scale in (0.1, 3.0, 1.0, 40.0)]
    whole, halves = Histogram(), (Histogram(), Histogram())
    for index, part in enumerate(parts):
        whole.add(part)
        halves[index % 2].add(part)
    merged = Histogram.merged(*halves)
    assert merged.range(method, 99.9) == pytest.approx(whole.range(method, 99.9), rel=1e-12)


def test_an_empty_half_changes_nothing(monkeypatch):
    monkeypatch.syspath_prepend(str(WORKERS))
    from histogram import Histogram

    one = Histogram()
    one.add(np.linspace(-1, 3, 100, dtype=np.float32))
    assert Histogram.merged(one, Histogram()).range("mse", 99.9) == one.range("mse", 99.9)


def test_the_lineage_of_an_int8_export_says_it(tmp_path):
    pytest.importorskip("paddle2onnx")
    from segexport.artifact import write_artifact
    from segexport.data.dataset import Dataset
    from segexport.exporter.from_paddle import ImportOptions, import_model
    from segexport.exporter.onnx_quantize import QuantizeOnnx
    from segexport.exporter.to_onnx import ToOnnx
    from segexport.files.store import Store
    from segexport.pipeline.step import StepContext

    demo = Path(__file__).resolve().parents[2] / "src/segexport/demo"
    source = import_model(demo / "model", ImportOptions(), Store(tmp_path / "store"))
    (tmp_path / "fp32").mkdir()
    fp32 = write_artifact(tmp_path / "fp32", ToOnnx().run(source, tmp_path / "fp32", StepContext()))
    data = Dataset.open(demo / "data", "train")
    for images, start in ((2, "warning: two halves of the 2"), (1, "warning: calibrated on one image")):
        out = tmp_path / f"int8-{images}"
        out.mkdir()
        step = QuantizeOnnx(QuantizeOnnx.Params(method="minmax", images=images))
        manifest = step.run(fp32, out, StepContext(data=data))
        assert manifest.lineage[-1].notes[-1].startswith(start)
