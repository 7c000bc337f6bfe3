"""Renders the report as GitHub workflow commands: one annotation per export that did not pass."""

from __future__ import annotations

from segexport.report.places import Places
from segexport.report.schema import ExportResult, Report
from segexport.report.wording import findings, headline, recorded
from segexport.ui.console import printable
from segexport.verdict import Verdict

_LEVELS = {Verdict.PASS: "notice", Verdict.INCONCLUSIVE: "warning", Verdict.SKIPPED: "notice"}


def render(report: Report, places: Places) -> str:
    """Renders `::error`, `::warning` for undecided exports, and the headline at the run's level.

    The findings of an export share one annotation: GitHub shows only ten of a level per step. An export with a known
    place gets `file=`, so that the annotation appears beside it in the pull request.
    """
    lines = [_export(export, places.file_of(export.name)) for export in report.exports]
    text = f"{headline(report)} {recorded(report)}".strip()
    lines.append(_command(report.verdict, f"segexport: {report.verdict.value}", text))
    return "\n".join(line for line in lines if line) + "\n"


def _export(export: ExportResult, file: str) -> str:
    found = [finding for finding in findings(export) if finding.gated]
    if not found:
        return ""
    text = "\n".join(f"{finding.check}: {finding.message}" if finding.check else finding.message for finding in found)
    return _command(export.verdict, f"{export.verdict.value}: {export.name}", text, file)


def _command(verdict: Verdict, title: str, text: str, file: str = "") -> str:
    place = f"file={_property(file)},line=1," if file else ""
    return f"::{_LEVELS.get(verdict, 'error')} {place}title={_property(title)}::{_escaped(text)}"


def _property(text: str) -> str:
    return _escaped(" ".join(text.split())).replace(":", "%3A").replace(",", "%2C")


def _escaped(text: str) -> str:
    """Escapes line breaks, which would end the command and could start another one."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
