"""The forms of the report that are text: held to golden files, and to the rules of where they are shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pydantic import BaseModel
from report_sample import EVIL_NAME, GOLDENS, LONG_NAME, full_report, golden_texts, passing_report
from rich.cells import cell_len

from segexport.errors import InputError, StorageError
from segexport.measure.latency_statistics import latency_ratio, percentiles, session_times
from segexport.report import FORMS, numbers, read, render, table, terminal, write
from segexport.report.gate_help import QUESTIONS
from segexport.report.markdown import escape
from segexport.report.places import Places, places_at
from segexport.report.schema import Baseline, Groups, Latency, Percentiles, Report
from segexport.report.wording import compared, findings, headline, where_to_look
from segexport.verdict import Check, Verdict

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sorted(golden_texts()))
def test_golden(name: str) -> None:
    assert golden_texts()[name] == (GOLDENS / name).read_text(encoding="utf-8")


def test_no_golden_is_left_behind() -> None:
    assert {path.name for path in GOLDENS.iterdir()} == set(golden_texts())


def test_masks_that_disagree_lead_to_the_diagnosis() -> None:
    report = passing_report()
    assert where_to_look(report, Places()) == ""
    wrong = Check(name="agreement.pixels", verdict=Verdict.FAIL, message="90 %")
    broken = report.exports[0].model_copy(update={"verdict": Verdict.FAIL, "checks": (wrong,)})
    failed = report.model_copy(update={"exports": (broken,)})
    start = "the layer behind it: segexport diagnose "
    assert where_to_look(failed, Places()) == f"{start}onnx-fp32 --reference MODEL --image images/0001.jpg"
    places = Places({"onnx-fp32": Path("my out/onnx")}, Path("model"), Path("/data"))
    expected = f"{start}'my out/onnx' --reference model --image /data/images/0001.jpg"
    assert where_to_look(failed, places) == expected  # a shell accepts it unchanged


def test_a_pass_on_neighbours_that_lose_alike_says_so() -> None:
    report = passing_report()
    alarm = Check(
        name="images.independent", verdict=Verdict.INCONCLUSIVE, message="neighbours lose alike.", gated=False
    )
    export = report.exports[0].model_copy(update={"checks": (*report.exports[0].checks, alarm)})
    report = report.model_copy(update={"exports": (export,)})
    assert headline(report).endswith(
        "passed, as far as the images are independent of each other, which they do not seem to be."
    )
    assert "images.independent: neighbours lose alike." in " ".join(render(report, "table").split())
    quiet = export.model_copy(update={"checks": (alarm.model_copy(update={"verdict": Verdict.PASS}),)})
    assert headline(report.model_copy(update={"exports": (quiet,)})).endswith("every gated check passed.")


def test_groups_are_told_with_what_was_resampled() -> None:
    report = passing_report()

    def told(**groups: object) -> str:
        dataset = report.dataset.model_copy(update={"groups": Groups(**groups)})
        return compared(report.model_copy(update={"dataset": dataset}))

    assert "groups" not in compared(report)
    found = told(how="auto", count=20, smallest=3, largest=9)
    assert "form 20 groups of 3 to 9, by file names that count up. Images of a group are not independent" in found
    assert "fewer than 13.9 % of such groups can be missed" in found
    assert "groups of 4, by the last column of the list" in told(how="column", count=20, smallest=4, largest=4)
    found = told(how="(?P<group>x)", count=1, smallest=101, largest=101)
    assert "All images are of one group, by the pattern (?P<group>x) on file names: how much groups differ" in found
    assert "can be missed" not in found


def test_every_ratio_says_what_it_is_to() -> None:
    report = passing_report()
    first = report.exports[0].model_copy(update={"latency_baseline": "reference"})
    second = first.model_copy(update={"name": "onnx-int8", "latency_ratio": 0.75, "latency_baseline": "onnx-fp32"})
    third = first.model_copy(update={"name": "untimed", "latency_ratio": None, "latency_baseline": ""})
    both = report.model_copy(update={"exports": (first, second, third)})
    assert [(row.latency_ratio, row.baseline_mark) for row in table.rows(both)[1:]] == [
        ("0.50x", "a"),
        ("0.75x", "b"),
        ("–", ""),
    ]
    shown = render(both, "table")
    assert "0.75x b" in shown
    assert "ratio of times, a: to reference, b: to onnx-fp32; below 1 is faster" in shown
    assert "0.75x (0.49x to 0.51x) to onnx-fp32" in render(both, "markdown")
    assert "<small>to onnx-fp32</small>" in render(both, "html")
    alone = both.model_copy(update={"exports": (first,)})
    assert "ratio of times, to reference; below 1 is faster" in render(alone, "table")
    assert "0.50x a" not in render(alone, "table")


def test_a_ratio_is_the_quotient_of_the_times_in_its_table() -> None:
    """Three sessions in turn, the second in a busy moment: medians of all runs would give another quotient."""
    export = np.array([[10.0, 11.0, 30.0], [20.0, 90.0, 95.0], [10.5, 11.0, 11.0]]).reshape(3, 1, 3)
    base = np.array([[5.0, 5.2, 5.1], [40.0, 41.0, 80.0], [5.0, 5.0, 9.0]]).reshape(3, 1, 3)
    times = [
        Latency(
            inference_ms=Percentiles(**percentiles(samples)._asdict()),
            sessions_ms=tuple(round(float(one), 4) for one in session_times(samples)),
        )
        for samples in (export, base)
    ]
    quotient = table.undisturbed_ms(times[0]) / table.undisturbed_ms(times[1])
    assert quotient == pytest.approx(latency_ratio(export, base).value, rel=1e-4)
    assert times[0].inference_ms.p50 / times[1].inference_ms.p50 != pytest.approx(quotient, rel=0.1)
    assert table.undisturbed_ms(None) is None
    assert table.undisturbed_ms(None, Percentiles(p50=7.0, p90=8.0, p99=9.0)) == 7.0


def test_an_error_is_told_once_and_whole() -> None:
    """The check quotes its first line, for machines."""
    quoted = Check(name="export.runs", verdict=Verdict.ERROR, message="it died")
    export = (
        passing_report()
        .exports[0]
        .model_copy(update={"verdict": Verdict.ERROR, "checks": (quoted,), "error": "it died\nhint: feed it"})
    )
    assert [(one.check, one.message) for one in findings(export)] == [("", "it died\nhint: feed it")]
    export = export.model_copy(update={"error": "it died"})
    assert [(one.check, one.message) for one in findings(export)] == [("export.runs", "it died")]


def test_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'pdf': not a form of the report\nhint: it is one of json, table"):
        render(full_report(), "pdf")


def test_write_makes_every_file_and_reads_back(tmp_path) -> None:
    report = full_report()
    files = write(report, tmp_path / "new")
    assert {form: path.name for form, path in files.items()} == {
        "json": "report.json",
        "markdown": "report.md",
        "html": "report.html",
        "junit": "junit.xml",
    }
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in files.values()}
    assert read(tmp_path / "new") == report
    assert set(files) < set(FORMS)


def test_write_into_a_file_is_an_error_and_leaves_nothing(tmp_path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(StorageError, match=r"taken: cannot be written\ncause: "):
        write(full_report(), tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").read_text() == "mine"


# Figures


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (numbers.fraction, 0.63649, "0.6365"),
        (numbers.delta, -0.0265, "-0.0265"),
        (numbers.delta, 0.0001, "+0.0001"),
        (numbers.delta, -0.00001, "0.0000"),
        (numbers.agreement, 1.0, "100 %"),
        (numbers.agreement, 0.9999999, "99.999 %"),
        (numbers.agreement, 0.5, "50.000 %"),
        (numbers.milliseconds, 0.4231, "0.42"),
        (numbers.milliseconds, 9.996, "10.0"),
        (numbers.milliseconds, 99.96, "100"),
        (numbers.size, 999, "999 B"),
        (numbers.size, 1_000, "1.00 kB"),
        (numbers.size, 28_540, "28.5 kB"),
        (numbers.size, 999_700, "1.00 MB"),
        (numbers.size, 249_800_000, "250 MB"),
        (numbers.times, 0.515, "0.52x"),
        (numbers.times, None, "–"),
        (numbers.size, None, "–"),
        (numbers.milliseconds, None, "–"),
        (numbers.agreement, None, "–"),
    ],
)
def test_figures(function, value, text) -> None:
    assert function(value) == text


def test_times_stand_in_the_column_of_their_device() -> None:
    shown = {row.name: (row.gpu_ms, row.cpu_ms) for row in table.rows(full_report())}
    assert shown["street_net (reference)"] == ("3.21", "41.0")
    assert shown["onnx-fp32"] == ("–", "20.5")
    assert shown["移动端模型-fp16"] == ("123", "–")


# Words


def test_headline_of_a_pass_needs_every_export_and_the_whole_to_pass() -> None:
    assert headline(passing_report()) == "The export does what the reference model does: every gated check passed."
    contradicted = passing_report().model_copy(update={"verdict": Verdict.FAIL})
    assert "does what the reference" not in headline(contradicted)
    assert headline(_with(())) == "Nothing was checked: there is no export in this report."


def test_compared_says_what_unlabelled_images_mean() -> None:
    report = full_report()
    unlabelled = report.model_copy(update={"dataset": report.dataset.model_copy(update={"labelled": False})})
    assert "measured against the labels of the images" in compared(report)
    assert "1 means the same masks, not good ones" in compared(unlabelled)
    assert "labels of the images" not in compared(unlabelled)


def test_without_labels_a_pass_is_called_what_it_is() -> None:
    report = passing_report()
    unlabelled = report.model_copy(update={"dataset": report.dataset.model_copy(update={"labelled": False})})
    sentence = (
        "The export agrees with the reference's masks: every gated check passed. Without labels, accuracy is unknown."
    )
    assert headline(unlabelled) == sentence
    two = unlabelled.model_copy(update={"exports": unlabelled.exports * 2})
    assert headline(two).startswith("All 2 exports agree with the reference's masks: ")
    objects = headline(unlabelled.model_copy(update={"task": "instance"}))
    assert objects.startswith("The export agrees with the reference's objects: ")
    for form in ("table", "markdown", "html"):
        shown = " ".join(render(unlabelled, form).split())
        assert "mask IoU" in shown
        assert "Δ mIoU" not in shown
        assert "mask IoU" not in " ".join(render(report, form).split()), form


def test_findings_come_worst_first_and_ungated_last() -> None:
    checks = [
        Check(name="a", verdict=Verdict.FAIL, message="m", gated=False),
        Check(name="b", verdict=Verdict.INCONCLUSIVE, message="m"),
        Check(name="c", verdict=Verdict.FAIL, message="m"),
        Check(name="d", verdict=Verdict.PASS, message="m"),
    ]
    export = full_report().exports[2].model_copy(update={"checks": tuple(checks)})
    assert [finding.check for finding in findings(export)] == ["c", "b", "a"]


def test_a_verdict_that_no_check_explains_is_a_finding() -> None:
    export = passing_report().exports[0].model_copy(update={"verdict": Verdict.INCONCLUSIVE})
    assert [(finding.verdict, finding.check, finding.message) for finding in findings(export) if finding.gated] == [
        (Verdict.INCONCLUSIVE, "", "no check has a reason")
    ]


# Terminal


@pytest.mark.parametrize("width", [200, 100, 80, 60, 40, 30])
def test_table_fits_and_says_what_it_leaves_out(width: int) -> None:
    text = terminal.render(full_report(), width=width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    header = next(line for line in text.splitlines() if "Model" in line)
    left_out = " ".join(text.partition("left out at this width:")[2].partition("ERROR: Of")[0].split())
    titles = ["mIoU", "Δ mIoU", "agree", "GPU ms", "CPU ms", "ratio", "size"]
    for title in titles:
        assert (f" {title}" in header) != (title in left_out.split(", ")), title
    assert "verdict" in header
    assert "INCONCLUSIVE" in text


def test_everything_is_shown_at_100_columns() -> None:
    assert "left out" not in terminal.render(full_report(), width=100)


def test_terminal_is_not_commanded_by_names() -> None:
    for color in (False, True):
        text = terminal.render(full_report(), color=color)
        assert "\x1b[31mred" not in text
        assert "\x07" not in text
        assert r"\x1b[31mred\x07" in text
    assert "\x1b[" not in terminal.render(full_report())
    assert "\x1b[" in terminal.render(full_report(), color=True)


# Markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b\nc", r"a\|b c"),
        ("a\\|b", r"a\\\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("@octocat", "@<!-- -->octocat"),
        ("fixes #12 and GH-3", "fixes #<!-- -->12 and GH-<!-- -->3"),
        ("https://x.org", "https:<!-- -->//x.org"),
        ("[a](b)", r"\[a\](b)"),
        ("`c` *d* _e_ ~f~ $g$", r"\`c\` \*d\* \_e\_ \~f\~ \$g\$"),
        ("- item", r"\- item"),
        ("1. item", "1<!-- -->. item"),
        ("# title", "#<!-- --> title"),
        ("int8-0.5 (x)", "int8-0.5 (x)"),
    ],
)
def test_markdown_shows_text_as_itself(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_markdown_tables_keep_their_columns() -> None:
    shown, times = render(full_report(), "markdown").split("<details>")[:2]
    for text, rows, columns in ((shown, 1 + 7, 9), (times, 3, 10)):
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert len(lines) == 2 + rows
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {columns + 1}


# JUnit: the rules of Ant's schema and of Jenkins', as far as this writer could break them

_SUITE = {
    "name",
    "package",
    "id",
    "timestamp",
    "hostname",
    "time",
    "tests",
    "failures",
    "errors",
    "skipped",
}


def _junit(report: Report) -> ElementTree.Element:
    return ElementTree.fromstring(render(report, "junit").encode("utf-8"))


def test_junit_has_the_shape_that_the_schemas_ask_for() -> None:
    root = _junit(full_report())
    assert root.tag == "testsuites"
    assert not root.attrib
    for index, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == _SUITE
        assert suite.get("id") == str(index)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
        cases = suite.findall("testcase")
        expected = ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        assert [child.tag for child in suite] == expected
        assert suite.get("tests") == str(len(cases))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.get(attribute) == str(len(suite.findall(f"testcase/{tag}")))
        for case in cases:
            assert set(case.attrib) == {"name", "classname", "time"}
            assert len(case) <= 1
            for value in (case.get("name"), case.get("classname"), suite.get("name")):
                assert value == " ".join(value.split()) != ""
            for bad in (*case.findall("failure"), *case.findall("error")):
                assert set(bad.attrib) == {"message", "type"}


def test_junit_maps_the_verdicts() -> None:
    found = {}
    for case in _junit(full_report()).iter("testcase"):
        child = case[0] if len(case) else None
        outcome = "passed" if child is None else (child.tag, child.get("type"))
        found[case.get("classname").removeprefix("segexport."), case.get("name")] = outcome
    assert found["onnx-fp32", "tripwire.finite"] == "passed"
    assert found["onnx-fp32", "latency.p99"] == ("skipped", None)  # a failure, but not gated
    assert found[LONG_NAME, "miou.delta"] == ("failure", "fail")
    assert found[LONG_NAME, "latency.ratio"] == ("failure", "inconclusive")
    assert found["onnx-fp16", "boundary.iou"] == ("skipped", None)
    assert found["nothing-checked", "export"] == ("error", "error")
    assert found["lite-arm64", "export"] == ("skipped", None)
    evil = EVIL_NAME.replace("\x1b", r"\x1b").replace("\x07", r"\x07")
    assert found[evil, "export"] == ("error", "error")
    assert found["移动端模型-fp16", "values.run"] == ("skipped", None)
    assert len(found) == 3 + 2 + 2 + 2 + 1 + 1 + 1


def _with(exports, verdict=Verdict.ERROR) -> Report:
    return full_report().model_copy(update={"exports": tuple(exports), "verdict": verdict})


@pytest.mark.parametrize(
    "report",
    [
        _with([]),
        _with(full_report().exports[6:]),
        _with(full_report().exports[:1], Verdict.FAIL),
        _with([full_report().exports[0].model_copy(update={"verdict": Verdict.FAIL})], Verdict.FAIL),
        _with([], Verdict.SKIPPED),
    ],
    ids=["no export", "all skipped", "whole failed alone", "export failed without a check", "nothing asked"],
)
def test_junit_never_looks_better_than_the_verdict(report: Report) -> None:
    root = _junit(report)
    assert root.findall("testsuite/testcase/failure") or root.findall("testsuite/testcase/error")


def test_junit_of_a_pass_is_green() -> None:
    root = _junit(passing_report())
    assert len(root.findall("testsuite/testcase")) == 3
    assert not root.findall("testsuite/testcase/failure")
    assert not root.findall("testsuite/testcase/error")


@pytest.mark.parametrize(
    ("created", "timestamp"),
    [
        ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09"),
        ("2024-05-06T07:08:09.123456+02:00", "2024-05-06T05:08:09"),
        ("yesterday", "1970-01-01T00:00:00"),
        ("0001-01-01T00:00:00+23:00", "1970-01-01T00:00:00"),
    ],
)
def test_junit_timestamp(created: str, timestamp: str) -> None:
    root = _junit(full_report().model_copy(update={"created": created}))
    assert {suite.get("timestamp") for suite in root} == {timestamp}


def test_junit_survives_what_xml_cannot_hold() -> None:
    export = full_report().exports[4].model_copy(update={"name": "\x00\ufffe\ud800 ]]> \u202e", "error": "\x0b\x85"})
    case = _junit(_with([export])).find("testsuite/testcase")
    assert case.get("classname") == r"segexport.\x00" + "\ufffd" + r"\ud800 ]]> \u202e"
    assert case.find("error").text == r"\x0b\x85"


# Annotations


def test_annotations_are_one_command_a_line() -> None:
    lines = render(full_report(), "annotations").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::error", "::error", "::error"]
    assert all(line.count("::") >= 2 for line in lines)
    assert "%0A" in lines[0]
    assert "100%25" in lines[2]
    title = lines[2].removeprefix("::error title=").partition("::")[0]
    assert ":" not in title
    assert "," not in title


def test_annotations_of_a_pass_are_a_notice() -> None:
    assert render(passing_report(), "annotations") == (
        "::notice title=segexport%3A PASS::The export does what the reference model does: every gated check passed.\n"
    )


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_marks_what_was_not_run(form: str) -> None:
    """Text of tags and markup is dropped, so that the mark is read as a person reads it."""
    marked, mark = full_report(), "values not run here"
    export = next(export for export in marked.exports if export.not_run)
    assert export.outcome == f"PASS, {mark}"
    plain = marked.model_copy(update={"exports": tuple(one for one in marked.exports if one is not export)})
    assert mark in " ".join(render(marked, form).lower().split())
    assert mark not in " ".join(render(plain, form).lower().split())
    if form == "markdown":
        assert f"✅ PASS, {mark} |" in render(marked, form)  # in the row itself, never a bare PASS
    if form == "table":
        assert f"812 kB PASS {mark} a-very" in " ".join(render(marked, form).split())
    if form == "html":
        row = next(row for row in render(marked, form).split("<tr") if '<a href="#export-2">' in row)
        assert row.count(f"<small>{mark}</small>") == 2  # the wide and the narrow page


def test_the_mark_is_told_in_a_notebook_too() -> None:
    assert "PASS, values not run here" in full_report()._repr_html_()
    assert "移动端模型-fp16 PASS, values not run here" in repr(full_report())


PLACES = Places({LONG_NAME: Path("exports/onnx int8"), EVIL_NAME: Path("exports/lite")}, recipe=Path("ci/recipe.yaml"))


def test_annotations_stand_beside_the_export(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exports" / "lite").mkdir(parents=True)
    lines = render(full_report(), "annotations", places=PLACES).splitlines()
    assert lines[0].startswith("::error file=exports/onnx int8,line=1,title=FAIL%3A ")
    assert lines[1].startswith("::warning file=ci/recipe.yaml,line=1,title=INCONCLUSIVE%3A onnx-fp16::")
    assert lines[2].startswith("::error file=exports/lite/manifest.json,line=1,title=ERROR%3A ")
    inside = Places({LONG_NAME: tmp_path / "exports" / "lite"})
    assert inside.file_of(LONG_NAME) == "exports/lite/manifest.json"  # relative, as GitHub wants it


def test_places_are_named_by_folders() -> None:
    found = places_at([Path("exports/onnx-int8/"), Path("ci/recipe.yml")])
    assert found == Places({"onnx-int8": Path("exports/onnx-int8")}, recipe=Path("ci/recipe.yml"))
    assert Places().file_of("x") == ""


def test_sarif_has_a_rule_and_a_result_for_each_gate_that_did_not_pass() -> None:
    log = json.loads(render(full_report(), "sarif", places=PLACES))
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["export", "latency.p99", "latency.ratio", "miou.delta"]
    assert rules[3]["helpUri"].endswith("/docs/gates.md#miou")
    found = {(one["ruleId"], one["level"]): one for one in run["results"]}
    assert {one["level"] for one in run["results"]} == {"error", "warning", "note"}
    failed = found["miou.delta", "error"]
    assert failed["message"]["text"].startswith(f"{LONG_NAME}: mIoU fell by 0.0265")
    assert failed["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "exports/onnx%20int8"}
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])
    marks = [one["partialFingerprints"]["gate/v1"] for one in run["results"]]
    assert len(set(marks)) == len(marks)


def test_sarif_names_only_what_the_standard_has() -> None:
    """sarif-pydantic's models allow other keys; here none may be left over."""
    Sarif = pytest.importorskip("sarif_pydantic").Sarif

    def walk(value) -> list[str]:
        if isinstance(value, BaseModel):
            return [
                *(key for key in value.model_extra or {}),
                *(found for name in type(value).model_fields for found in walk(getattr(value, name))),
            ]
        return [found for one in value for found in walk(one)] if isinstance(value, list) else []

    for places in (PLACES, Places()):
        assert walk(Sarif.model_validate_json(render(full_report(), "sarif", places=places))) == []


def test_code_quality_has_what_gitlab_asks_for() -> None:
    entries = json.loads(render(full_report(), "code-quality", places=PLACES))
    assert {entry["severity"] for entry in entries} == {"critical", "major", "blocker", "info"}
    for entry in entries:
        assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert entry["location"]["path"]
        assert entry["location"]["lines"] == {"begin": 1}
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)


def test_the_badge_counts_and_is_xml() -> None:
    root = ElementTree.fromstring(render(full_report(), "badge"))
    title = root.find("{http://www.w3.org/2000/svg}title").text
    assert title == "segexport: 2 of 7 in error, values not run here"
    assert json.loads(render(passing_report(), "shields")) == {
        "schemaVersion": 1,
        "label": "segexport",
        "message": "1 passed",
        "color": "2da44e",
        "isError": False,
    }


def test_every_gate_is_explained() -> None:
    page = (REPOSITORY / "docs" / "gates.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (.+)$", page, re.MULTILINE) == list(QUESTIONS)
    source = "".join(
        path.read_text(encoding="utf-8")
        for room in ("judge", "task", "references")
        for path in (REPOSITORY / "src" / "segexport" / room).rglob("*.py")
    )
    names = set(re.findall(r'Check\(\s*name="([a-z_]+\.[a-z_]+)"|skipped\("([a-z_.]+)"', source))
    assert len(names) > 8
    assert {name for pair in names for name in pair if name and name.partition(".")[0] not in QUESTIONS} == set()


def test_the_deltas_to_the_baseline_are_a_table() -> None:
    checks = (
        Check(name="baseline.miou", verdict=Verdict.FAIL, message="worse", value=-0.0123),
        Check(name="baseline.agreement", verdict=Verdict.PASS, message="same", value=-0.00002),
        Check(name="baseline.latency", verdict=Verdict.SKIPPED, message="another device"),
        Check(name="baseline.size", verdict=Verdict.PASS, message="same", value=1.0),
    )
    base = Baseline(title="last", created="2026-01-02T03:04:05Z", segexport_version="1", verdict=Verdict.PASS)
    report = passing_report()
    export = report.exports[0].model_copy(update={"checks": (*report.exports[0].checks, *checks)})
    text = render(report.model_copy(update={"exports": (export,), "baseline": base}), "markdown")
    assert "### Since the baseline of 2026-01-02" in text
    assert "| Model | mIoU | agreement | size | latency |" in text
    assert "| onnx-fp32 | ❌ -0.0123 | -0.002 % | 1.00x | skipped |" in text
