"""Renders the verdict as the JSON of a shields.io endpoint badge."""

from __future__ import annotations

import json
from pathlib import Path

from segexport.report.badge import LABEL, color, message
from segexport.report.schema import Report
from segexport.verdict import Verdict


def render(report: Report, folder: Path | None = None) -> str:
    """Renders schema version 1 of shields.io's endpoint."""
    value = {
        "schemaVersion": 1,
        "label": LABEL,
        "message": message(report),
        "color": color(report).removeprefix("#"),
        "isError": report.verdict is Verdict.ERROR,
    }
    return json.dumps(value) + "\n"
