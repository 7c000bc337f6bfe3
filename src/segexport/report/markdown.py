"""Renders the report as Markdown, for the description or a comment of a pull request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from segexport.report.numbers import NOTHING, delta, times
from segexport.report.schema import Report
from segexport.report.table import TIMES_COLUMNS, ReportRow, rows, times_rows
from segexport.report.wording import compared, findings, findings_title, headline, not_run, recorded, unoptimized
from segexport.task.registry import TASKS
from segexport.ui.console import printable
from segexport.verdict import Check, Verdict

_MARKS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.INCONCLUSIVE: "❓",
    Verdict.ERROR: "💥",
    Verdict.SKIPPED: "⏭️",
}

# The verdict comes first, because a phone shows the first columns only.
_COLUMNS: tuple[tuple[str, Callable[[ReportRow], str]], ...] = (
    ("Model", lambda row: escape(row.name)),
    ("verdict", lambda row: f"{_MARKS[row.verdict]} {row.outcome}" if row.verdict else ""),
    ("Δ {metric} (95 %)", lambda row: _with_interval(row.miou_delta, row.miou_delta_interval)),
    ("latency ratio (95 %)", lambda row: _with_interval(row.latency_ratio, row.latency_ratio_interval) + _to(row)),
    ("size", lambda row: row.size),
    ("agreement", lambda row: row.agreement),
    ("{metric}", lambda row: row.miou),
    ("GPU ms", lambda row: row.gpu_ms),
    ("CPU ms", lambda row: row.cpu_ms),
)

# Title, names of checks (one of them by task), and how the change is written.
_BASELINE_COLUMNS: tuple[tuple[str, tuple[str, ...], Callable[[float], str]], ...] = (
    ("{metric}", ("baseline.miou", "baseline.ap"), delta),
    ("agreement", ("baseline.agreement",), lambda change: f"{change:+.3%}".replace("%", " %")),
    ("size", ("baseline.size",), times),
    ("latency", ("baseline.latency",), times),
    ("instructions", ("baseline.instructions",), times),
    ("presence", ("baseline.present",), str),
)

_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|^[-+=]|^\d+(?=[.)]\s)")
_LINKED = re.compile(r"@(?=\w)|#(?=\w)|\b(?:GH-)(?=\d)|:(?=//)|www(?=\.)|^#(?=[#\s]|$)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(report: Report, folder: Path | None = None) -> str:
    """Renders headline, tables, findings, and a collapsed section about the comparison."""
    return "\n\n".join((*verdict_sections(report), *detail_sections(report))) + "\n"


def verdict_sections(report: Report) -> list[str]:
    """What decides: headline, table, deltas to the baseline, findings."""
    parts = [
        f"## {_MARKS[report.verdict]} {escape(report.title)}: {report.verdict.value}",
        escape(f"{headline(report)} {unoptimized(report)} {recorded(report)}"),
        _table(report),
        _not_run(report),
        _against_baseline(report),
        _findings(report),
    ]
    return [part for part in parts if part]


def detail_sections(report: Report) -> list[str]:
    """What explains, behind folds, and the version."""
    parts = [
        _times(report),
        _behind_a_fold("What was compared", escape(compared(report))),
        _notes(report),
        f"segexport {escape(report.segexport_version)}, {escape(report.created)}",
    ]
    return [part for part in parts if part]


def escape(text: str) -> str:
    """Escapes text so that it contains no markup, HTML, cell or line end, or user mention."""
    text = printable(" ".join(text.split()))
    text = "".join(_ENTITIES.get(character, character) for character in text)
    text = _SPECIAL.sub(_defused, text)
    # GitHub links URLs, #numbers and @users without markup; an empty comment in between prevents this.
    return _LINKED.sub(lambda match: match[0] + "<!-- -->", text)


def _defused(match: re.Match[str]) -> str:
    return f"{match[0]}<!-- -->" if match[0].isdigit() else "\\" + match[0]


def _table(report: Report) -> str:
    metric = TASKS[report.task].words.metric_name(report)
    shown = rows(report)
    columns = [(title, cell) for title, cell in _COLUMNS if any(cell(row) not in ("", NOTHING) for row in shown)]
    lines = [_line(title.format(metric=metric) for title, _ in columns)]
    lines.append("|" + "".join(":--|" if title in ("Model", "verdict") else "--:|" for title, _ in columns))
    lines += [_line(cell(row) for _, cell in columns) for row in shown]
    return "\n".join(lines)


def _times(report: Report) -> str:
    found = times_rows(report)
    if not found:
        return ""
    lines = [_line(("Model", *TIMES_COLUMNS)), "|:--|" + "--:|" * len(TIMES_COLUMNS)]
    names = [f"{row.name}, {row.device}" if row.device else row.name for row in found]
    lines += [_line((escape(name), *row.cells)) for name, row in zip(names, found, strict=True)]
    return _behind_a_fold("Times in milliseconds, memory of the process", "\n".join(lines))


def _to(row: ReportRow) -> str:
    return f" to {escape(row.latency_baseline)}" if row.latency_baseline else ""


def _against_baseline(report: Report) -> str:
    """The change of every figure since the baseline; empty without a baseline."""
    base = report.baseline
    if base is None:
        return ""
    found = {export.name: {check.name: check for check in export.checks} for export in report.exports}
    columns = [
        (title, names, form)
        for title, names, form in _BASELINE_COLUMNS
        if any(name in checks for checks in found.values() for name in names)
    ]
    metric = TASKS[report.task].words.metric_name(report)
    lines = [_line(("Model", *(title.format(metric=metric) for title, *_ in columns)))]
    lines.append("|:--|" + "--:|" * len(columns))
    for name, checks in found.items():
        of_column = [next((checks[one] for one in names if one in checks), None) for _, names, _ in columns]
        cells = [_change(check, form) for check, (*_, form) in zip(of_column, columns, strict=True)]
        lines.append(_line((escape(name), *cells)))
    if not columns:
        return ""
    return f"### Since the baseline of {escape(base.created[:10])}\n\n" + "\n".join(lines)


def _change(check: Check | None, form: Callable[[float], str]) -> str:
    if check is None:
        return NOTHING
    shown = form(check.value) if check.value is not None else check.verdict.value.lower()
    return shown if check.verdict in (Verdict.PASS, Verdict.SKIPPED) else f"{_MARKS[check.verdict]} {shown}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _with_interval(value: str, interval: str) -> str:
    return value if value == NOTHING or not interval else f"{value} ({interval})"


def _findings(report: Report) -> str:
    found = [finding for export in report.exports for finding in findings(export)]
    lines = []
    for finding in found:
        mark = f"{_MARKS[finding.verdict]} {finding.verdict.value}" if finding.gated else "note, not gated:"
        check = f" {escape(finding.check)}" if finding.check else ""
        lines.append(f"- {mark} **{escape(finding.export)}**{check}: {escape(finding.message)}")
    return f"### {findings_title(found)}\n\n" + "\n".join(lines) if lines else ""


def _not_run(report: Report) -> str:
    return "\n".join(f"- {escape(line)}" for line in not_run(report))


def _notes(report: Report) -> str:
    return _behind_a_fold("Notes", "\n".join(f"- {escape(note)}" for note in report.notes)) if report.notes else ""


def _behind_a_fold(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"
