"""`report.json`: what is written reads back as itself, and what is not a report says so."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from pydantic import ValidationError
from report_sample import full_report

from segexport.errors import InputError
from segexport.report import read, render
from segexport.report.canonical import parse
from segexport.report.schema import ExportResult, Percentiles, Report
from segexport.verdict import Check, Verdict


def _parse(text: str) -> Report:
    return parse(text.encode("utf-8"), "report.json")


def test_round_trip() -> None:
    text = render(full_report(), "json")
    assert _parse(text) == full_report()
    assert render(_parse(text), "json") == text


def test_keys_are_in_the_order_of_the_schema_and_free_ones_sorted() -> None:
    raw = json.loads(render(full_report(), "json"))
    assert list(raw) == list(Report.model_fields)
    assert list(raw["exports"][0]) == list(ExportResult.model_fields)
    assert list(raw["environment"]) == ["cpus", "packages", "python"]
    assert list(raw["dataset"]["label_map"]) == ["person", "sidewalk"]


def test_floats_read_back_as_what_they_were() -> None:
    draw = random.Random(0)
    values = (5e-324, 0.1 + 0.2, 1e22, *(draw.random() * 10.0 ** draw.randint(-12, 12) for _ in range(500)))
    report = full_report()
    latency = report.exports[0].latency.model_copy(update={"samples_ms": values})
    report = report.model_copy(update={"exports": (report.exports[0].model_copy(update={"latency": latency}),)})
    assert _parse(render(report, "json")).exports[0].latency.samples_ms == values


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_null(value: float) -> None:
    check = Check(name="a", verdict=Verdict.FAIL, message="m", value=value, details={"nested": [value, {"x": value}]})
    export = full_report().exports[0].model_copy(update={"miou": value, "checks": (check,)})
    text = render(full_report().model_copy(update={"exports": (export,)}), "json")
    raw = json.loads(text, parse_constant=pytest.fail)
    assert raw["exports"][0]["miou"] is None
    assert raw["exports"][0]["checks"][0]["value"] is None
    assert raw["exports"][0]["checks"][0]["details"] == {"nested": [None, {"x": None}]}


def test_a_figure_that_must_be_there_may_not_be_nan() -> None:
    export = full_report().exports[0].model_copy(update={"latency_ms": Percentiles(p50=math.nan, p90=1.0, p99=1.0)})
    with pytest.raises(ValidationError, match=r"latency_ms\.p50"):
        render(full_report().model_copy(update={"exports": (export,)}), "json")


def test_numpy_values_become_numbers() -> None:
    details = {
        "a": np.int64(3),
        "b": np.float32(0.5),
        "c": np.array([1, 2]),
        "d": np.bool_(True),
        "e": np.float32("nan"),
    }
    check = Check(name="a", verdict=Verdict.PASS, message="m", details=details)
    export = full_report().exports[0].model_copy(update={"checks": (check,)})
    raw = json.loads(render(full_report().model_copy(update={"exports": (export,)}), "json"))
    assert raw["exports"][0]["checks"][0]["details"] == {"a": 3, "b": 0.5, "c": [1, 2], "d": True, "e": None}


def test_every_truncation_is_refused() -> None:
    data = render(full_report(), "json").rstrip("\n").encode("utf-8")
    for length in range(0, len(data), 97):
        with pytest.raises(InputError, match=r"^report\.json: not a report\ncause: not JSON: "):
            parse(data[:length], "report.json")


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\xff\xfe{}", "not JSON: 'utf-8' codec can't decode"),
        (b'{"schema_version": NaN}', "NaN is not a JSON number"),
        (b'{"schema_version": 1, "x": Infinity}', "Infinity is not a JSON number"),
        (b'{"schema_version": 1, "title": "\\ud800"}', "surrogates not allowed"),
        (b"[" * 100_000, "not JSON: "),
        (b"[]", "there is no schema_version in it"),
        (b"3", "there is no schema_version in it"),
        (b'{"format": "onnx"}', "there is no schema_version in it"),
    ],
)
def test_what_is_not_a_report(data: bytes, cause: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(data, "report.json")
    assert caught.value.what == "report.json: not a report"
    assert cause in caught.value.cause
    assert "segexport check" in caught.value.hint


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_another_schema_version(version: object) -> None:
    raw = json.loads(render(full_report(), "json")) | {"schema_version": version}
    with pytest.raises(InputError, match=r"report\.json: schema_version is .*, this segexport reads 1\n"):
        _parse(json.dumps(raw))


def test_faults_are_named_with_their_place() -> None:
    raw = json.loads(render(full_report(), "json"))
    raw["exports"][1]["verdict"] = "MAYBE"
    raw["surprise"] = 1
    with pytest.raises(InputError) as caught:
        _parse(json.dumps(raw))
    assert caught.value.what == "report.json: not a valid report"
    assert "exports.1.verdict" in caught.value.cause
    assert "surprise" in caught.value.cause


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"report\.json: cannot be read\ncause: No such file"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.json: cannot be read"):
        read(tmp_path / "nowhere.json")
