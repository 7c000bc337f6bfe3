"""`segexport recommend` chooses among rows that were measured, and says by what rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from segexport.cli.main import cli
from segexport.commands.recommend_network import recommend_network
from segexport.errors import InputError, MissingInputError, OptionError, UnreadableError
from segexport.zoo import measurements as zoo
from segexport.zoo.choice import Wishes, choose
from segexport.zoo.measurements import ZooTable, as_json, measurements, of_results
from segexport.zoo.page import plots

STAMP = {"commit": "abc", "machine": {"processor": "AMD EPYC", "packages": {"segexport": "0.2.0"}}}


def figures(miou: float, size: float, ms: float | None, runtime: str = "onnxruntime 1.23.2", verdict: str = "PASS"):
    found = {
        "verdict": verdict,
        "miou": miou,
        "miou_delta": -0.001,
        "size_bytes": round(size * 1e6),
        "runtime": runtime,
    }
    return {**found, "ms": ms} if ms is not None else {**found, "untimed": "no time"}


RESULTS = {
    "wide onnx-fp32": figures(0.60, 12.0, 40.0),
    "wide onnx-int8": figures(0.595, 3.2, 20.0),
    "wide paddle-lite-fp32": figures(0.60, 12.5, 45.0, "paddlelite 2.13"),
    "narrow onnx-int8": figures(0.50, 0.4, 4.0),
    "narrow ncnn-bf16": figures(0.50, 0.5, None, "ncnn 1.0"),
    "broken onnx-int8": figures(0.70, 0.1, 1.0, verdict="FAIL"),
    "refused litert-int8": {"verdict": "ERROR", "why": "no"},
}
TRAIN = {"wide": ("DeepLabV3P", "--backbone", "MobileNetV2_x1_0")}


@pytest.fixture
def measured() -> ZooTable:
    return of_results(RESULTS, STAMP, data="CamVid", image_size=(256, 192), train=TRAIN)


@pytest.fixture
def table(measured, tmp_path) -> Path:
    file = tmp_path / "measured.json"
    file.write_text(as_json(measured))
    return file


def names(rows) -> list[str]:
    return [f"{row.network} {row.export}" for row in rows]


def test_the_cheapest_of_those_about_as_accurate_as_the_best(measured):
    found = choose(measured, Wishes(purpose="server"))
    assert found.cost == "time"
    assert names([found.recommended]) == ["wide onnx-int8"]  # 0.005 less than the best counts as equal
    assert names(found.front) == ["narrow onnx-int8", "wide onnx-int8", "wide onnx-fp32"]
    assert found.left_out == {"did not pass the check": 2, "do not fit a server": 2}
    assert found.why == (
        "wide as onnx-int8 is recommended: mIoU 0.5950, 3.20 MB, 20.0 ms. Of the exports that fit (3), those whose "
        "mIoU is at most 0.01 below the best count as equal, and it is the fastest of them. "
        "Left out: did not pass the check: 2; do not fit a server: 2."
    )


@pytest.mark.parametrize(
    ("wishes", "recommended"),
    [
        ({"max_size_bytes": 1_000_000}, "narrow onnx-int8"),
        ({"target": ("paddle-lite",)}, "wide paddle-lite-fp32"),
        ({"runtime": ("ncnn",)}, "narrow ncnn-bf16"),
        ({"max_ms": 10.0}, "narrow onnx-int8"),
        ({"min_miou": 0.598, "target": ("onnx",)}, "wide onnx-fp32"),
        ({"purpose": "android"}, "wide onnx-int8"),
    ],
)
def test_wishes(measured, wishes, recommended):
    assert names([choose(measured, Wishes(**wishes)).recommended]) == [recommended]


def test_without_times_size_decides(measured):
    found = choose(measured, Wishes(target=("onnx", "ncnn"), max_size_bytes=1_000_000))
    assert found.cost == "size"
    assert names([found.recommended]) == ["narrow onnx-int8"]


def test_nothing_fits(measured):
    found = choose(measured, Wishes(min_miou=0.9))
    assert found.recommended is None
    assert found.why.startswith(
        "No measured network fulfils this. Left out: did not pass the check: 2; have a mIoU below"
    )
    with pytest.raises(OptionError, match="coreml"):
        choose(measured, Wishes(target=("coreml",)))


def test_a_table_is_written_and_read(measured, table):
    assert measurements(table) == measured
    assert measured.processor == "AMD EPYC"
    assert {row.target for row in measured.rows} == {"onnx", "paddle-lite", "ncnn", "litert"}
    assert len(table.read_text().splitlines()) < 60  # a row per line


def test_results_of_the_truth_table_are_a_table(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"stamp": STAMP, "results": RESULTS}))
    assert len(measurements(file).rows) == len(RESULTS)


def test_tables_that_cannot_be_used(tmp_path, monkeypatch):
    file = tmp_path / "rows.json"
    for text in ("{", "[]", '{"rows": [{"network": 3}]}', '{"results": {"a b": 3}, "stamp": {}}'):
        file.write_text(text)
        with pytest.raises(UnreadableError, match=r"rows\.json: "):
            measurements(file)
    with pytest.raises(MissingInputError, match="no such file"):
        measurements(tmp_path / "gone.json")
    file.write_text("{}")
    with pytest.raises(MissingInputError, match="no row was measured"):
        measurements(file)
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path / "none.json")
    with pytest.raises(InputError, match="no trained network was measured for this version") as caught:
        measurements()
    assert "--table FILE" in caught.value.hint


def test_what_comes_next(table):
    found = recommend_network(Wishes(target=("onnx",)), table)
    assert found.next_steps == (
        "segexport train DeepLabV3P --backbone MobileNetV2_x1_0 --image-size 256x192 --num-epochs 100 "
        "--data DATA -o trained",
        "segexport export trained --to onnx --precision int8 --calibration DATA -o trained-onnx-int8",
    )
    found = recommend_network(Wishes(purpose="android", min_miou=0.55), table)
    assert found.next_steps[1] == "segexport export trained --for android --data DATA -o trained-android"


def test_the_command_and_its_page(table, tmp_path):
    page = tmp_path / "page.html"
    ended = CliRunner().invoke(cli, ["recommend", "--table", str(table), "--for", "server", "-o", str(page)])
    assert ended.exit_code == 0, ended.output
    assert "wide as onnx-int8 is recommended" in ended.output
    assert "it compares these rows only" in " ".join(ended.output.split())
    text = page.read_text()
    assert "Accuracy against size" in text
    assert "Accuracy against time in onnxruntime 1.23.2" in text
    assert "<script" not in text
    ended = CliRunner().invoke(cli, ["recommend", "--table", str(table), "--min-miou", "0.9", "--format", "json"])
    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["recommended"] is None


def test_plots_show_absolute_accuracy(measured):
    found = plots(choose(measured, Wishes()))
    assert [plot.title.partition(" in ")[0] for plot in found] == [
        "Accuracy against size",
        *["Accuracy against time"] * 2,
    ]
    assert all(plot.drawn.zero is None for plot in found)
    assert not any(tick.label.startswith("+") for plot in found for tick in plot.drawn.y_ticks)
