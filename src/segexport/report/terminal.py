"""Renders the report for a terminal or a log: table, losses of each export, and reasons for not passing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from segexport.report.numbers import NOTHING
from segexport.report.schema import Report
from segexport.report.table import ReportRow, rows
from segexport.report.wording import findings, headline, not_run, ratios, recorded, unoptimized
from segexport.task.registry import TASKS
from segexport.ui.console import PLAIN_WIDTH, printable
from segexport.ui.text_table import to_text
from segexport.verdict import Verdict

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.ERROR: "bold magenta",
    Verdict.SKIPPED: "dim",
}

_GAP = 2
_NAME_AT_LEAST = 20  # columns are dropped before names become shorter


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[ReportRow], str]
    drop: int = 0  # the highest is dropped first if the page is too narrow; 0 is never dropped


_COLUMNS = (
    _Column("Model", lambda row: row.name),
    _Column("{metric}", lambda row: row.miou, drop=2),
    _Column("Δ {metric}", lambda row: row.miou_delta, drop=1),
    _Column("agree", lambda row: row.agreement, drop=6),
    _Column("GPU ms", lambda row: row.gpu_ms, drop=5),
    _Column("CPU ms", lambda row: row.cpu_ms, drop=4),
    _Column("ratio", lambda row: f"{row.latency_ratio} {row.baseline_mark}".rstrip(), drop=7),
    _Column("size", lambda row: row.size, drop=3),
    _Column("verdict", lambda row: row.outcome),
)


def render(report: Report, folder: Path | None = None, *, width: int = PLAIN_WIDTH, color: bool = False) -> str:
    """Renders the table, each check that did not pass with its reason, and the verdict.

    Args:
        report: The report.
        folder: Unused.
        width: Page width in characters. If it is too small, table columns are dropped and named below the table.
        color: Whether to colour the verdicts.
    """
    shown = rows(report)
    columns, gap, left_out = _fitting(shown, width, TASKS[report.task].words.metric_name(report))
    parts = [
        Text(_one_line(report.title), style="bold"),
        _table(shown, columns, gap),
        _findings(report),
        *_footnotes(report, left_out),
        Text.assemble((report.verdict.value, STYLES[report.verdict]), ": ", _one_line(headline(report))),
    ]
    return to_text(Group(*(part for part in parts if part is not None)), width, color)


def _fitting(shown: tuple[ReportRow, ...], width: int, metric: str) -> tuple[list[tuple[_Column, int]], int, list[str]]:
    """Returns the columns with their widths, the gap between them, and the titles of the dropped columns.

    The first column gets the remaining width.
    """
    titled = (replace(column, title=column.title.format(metric=metric)) for column in _COLUMNS)
    names, *columns = [(column, _natural_width(column, shown)) for column in titled]
    gap, left_out = _GAP, []
    least = min(names[1], _NAME_AT_LEAST)
    if width - _total(columns, gap) < least:
        gap = 1
    empty = [pair for pair in columns if pair[0].drop and all(pair[0].cell(row) == NOTHING for row in shown)]
    full = sorted((pair for pair in columns if pair[0].drop and pair not in empty), key=lambda pair: -pair[0].drop)
    for pair in (*empty, *full):
        if width - _total(columns, gap) >= least:
            break
        columns.remove(pair)
        left_out.append(pair[0].title)
    room = max(width - _total(columns, gap), 1)
    return [(names[0], min(names[1], room)), *columns], gap, left_out


def _natural_width(column: _Column, shown: tuple[ReportRow, ...]) -> int:
    return max(cell_len(text) for text in (column.title, *(line for row in shown for line in _lines(column, row))))


def _lines(column: _Column, row: ReportRow) -> list[str]:
    """Returns the lines of a cell: the mark of a verdict gets a separate line, so that columns stay narrow."""
    text = _one_line(column.cell(row))
    return text.split(", ") if column.title == "verdict" else [text]


def _total(columns: list[tuple[_Column, int]], gap: int) -> int:
    """Returns the width of the columns with gaps and margins."""
    return sum(width + gap for _, width in columns) + 2


def _table(shown: tuple[ReportRow, ...], columns: list[tuple[_Column, int]], gap: int) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, header_style="bold")
    for column, width in columns:
        numeric = column.title not in ("Model", "verdict")
        table.add_column(column.title, justify="right" if numeric else "left", width=width, no_wrap=True)
    for row in shown:
        cells = [Text("\n".join(_shortened(line, width) for line in _lines(column, row))) for column, width in columns]
        cells[-1].stylize(STYLES[row.verdict] if row.verdict else "")
        table.add_row(*cells, style="dim" if row.verdict is None else "")
    return table


def _shortened(text: str, width: int) -> str:
    """Shortens text in the middle, because names of exports of one model differ at their ends."""
    if cell_len(text) <= width:
        return text
    head, tail = text, ""
    while cell_len(head) > (width - 1) // 2:
        head = head[:-1]
    while len(tail) < len(text) and cell_len(head) + 1 + cell_len(text[-len(tail) - 1 :]) <= width:
        tail = text[-len(tail) - 1 :]
    return f"{head}…{tail}"


def _findings(report: Report) -> Table | None:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for export in report.exports:
        for finding in findings(export):
            name, message = _one_line(finding.export), _one_line(finding.message)
            what = Text.assemble((name, "bold"), f" {_one_line(finding.check)}".rstrip(), ": ", message)
            if finding.gated:
                table.add_row(Text(finding.verdict.value, style=STYLES[finding.verdict]), what)
            else:
                style = "yellow" if finding.verdict is Verdict.INCONCLUSIVE else "dim"
                table.add_row(Text("note", style=style), what.append(" (not gated)", style="dim"))
    if not table.row_count:
        return None
    table.add_row()
    return table


def _footnotes(report: Report, left_out: list[str]) -> list[Text]:
    notes = []
    if "ratio" not in left_out:
        told = ratios(report)
        notes = [f"ratio of times, {told}; below 1 is faster"] if told else []
    notes += not_run(report)
    notes += [told for told in (unoptimized(report), recorded(report)) if told]
    if left_out:
        notes.append(f"left out at this width: {', '.join(left_out)}")
    return [Text(_one_line(note), style="dim") for note in notes]


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
