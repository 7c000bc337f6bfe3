"""Renders the report as GitHub workflow commands: one annotation per export that did not pass."""

from __future__ import annotations

from pathlib import Path

from segexport.report.schema import ExportResult, Report
from segexport.report.wording import findings, headline, recorded
from segexport.ui.console import printable
from segexport.verdict import Verdict

_LEVELS = {Verdict.PASS: "notice", Verdict.INCONCLUSIVE: "warning", Verdict.SKIPPED: "notice"}


def render(report: Report, folder: Path | None = None) -> str:
    """Renders `::error`, `::warning` for undecided exports, and the headline at the run's level.

    The findings of an export share one annotation: GitHub shows only ten of a level per step.
    """
    lines = [_export(export) for export in report.exports]
    text = f"{headline(report)} {recorded(report)}".strip()
    lines.append(_command(report.verdict, f"segexport: {report.verdict.value}", text))
    return "\n".join(line for line in lines if line) + "\n"


def _export(export: ExportResult) -> str:
    found = [finding for finding in findings(export) if finding.gated]
    if not found:
        return ""
    text = "\n".join(f"{finding.check}: {finding.message}" if finding.check else finding.message for finding in found)
    return _command(export.verdict, f"{export.verdict.value}: {export.name}", text)


def _command(verdict: Verdict, title: str, text: str) -> str:
    title = _escaped(" ".join(title.split())).replace(":", "%3A").replace(",", "%2C")
    return f"::{_LEVELS.get(verdict, 'error')} title={title}::{_escaped(text)}"


def _escaped(text: str) -> str:
    """Escapes line breaks, which would end the command and could start another one."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
