"""What `segexport bench` shows of times that were never taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segexport.commands.bench import BenchRow, bench, render
from segexport.errors import InputError

ROW = BenchRow(
    name="onnx-int8",
    runtime="onnxruntime 1.2.3",
    device="Some CPU",
    threads=2,
    input=(1, 3, 192, 256),
    sessions=5,
    load_ms=120.4,
    first_ms=31.2,
    undisturbed_ms=9.654,
    p50_ms=9.876,
    p90_ms=10.5,
    p99_ms=20.25,
    ratio=0.514,
    ratio_interval=(0.498, 0.532),
    drift=False,
    peak_rss_bytes=78_400_000,
    samples_ms=((9.8, 9.9), (10.1, 9.7)),
)


def test_the_table_has_every_figure_and_fits_a_page():
    shown = render([ROW], "table", color=False, width=100)
    (line,) = (line for line in shown.splitlines() if "onnx-int8" in line)
    assert line.split() == [
        *("onnx-int8", "2", "256x192", "120", "31.2", "9.65", "9.88", "10.5", "20.2", "0.51x", "0.50–0.53", "78")
    ]
    said = " ".join(shown.split())
    assert "Some CPU; onnxruntime 1.2.3; milliseconds in 5 sessions; ratios are those of `run`, undisturbed, to" in said


def test_json_keeps_the_samples_of_each_session():
    found = json.loads(render([ROW], "json", color=False, width=100))["exports"][0]
    assert found["samples_ms"] == [[9.8, 9.9], [10.1, 9.7]]
    assert (found["sessions"], found["peak_rss_bytes"]) == (5, 78_400_000)


@pytest.mark.parametrize("seconds", [float("nan"), -1, 1e9])
def test_a_time_that_is_none(seconds):
    with pytest.raises(InputError, match="seconds of timing: not from 0 to 3600"):
        bench([Path("x")], threads=[1], device="cpu", latency_seconds=seconds)
