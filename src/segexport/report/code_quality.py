"""Renders the report as GitLab's code quality JSON: an entry per gate that did not pass."""

from __future__ import annotations

import json
from typing import Any

from segexport.report.gate_help import WHOLE, help_url
from segexport.report.places import Places
from segexport.report.sarif import fingerprint
from segexport.report.schema import VALUES_RUN, Report
from segexport.report.wording import findings
from segexport.ui.console import printable
from segexport.verdict import Verdict

_SEVERITIES = {Verdict.ERROR: "blocker", Verdict.FAIL: "critical", Verdict.INCONCLUSIVE: "major"}


def render(report: Report, places: Places) -> str:
    """Renders a list; an export without a known place is filed under its name, because GitLab needs a path."""
    entries = []
    for export in report.exports:
        path = places.file_of(export.name) or _text(export.name)
        for finding in findings(export):
            severity = _SEVERITIES[finding.verdict] if finding.gated else "info"
            entries.append(_entry(export.name, finding.check or WHOLE, finding.message, severity, path))
        if export.not_run:
            entries.append(_entry(export.name, VALUES_RUN, export.not_run, "info", path))
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _entry(export: str, rule: str, message: str, severity: str, path: str) -> dict[str, Any]:
    return {
        "description": _text(f"{export}: {message} ({help_url(rule)})"),
        "check_name": rule,
        "fingerprint": fingerprint(export, rule),
        "severity": severity,
        "location": {"path": path, "lines": {"begin": 1}},
    }


def _text(text: str) -> str:
    return printable(" ".join(text.split()))
