"""Renders the result of `segexport android lint`: a table for people, JSON and JUnit XML for machines."""

from __future__ import annotations

import json
from typing import Literal

from segexport.android.lint import AppLint
from segexport.report import junit
from segexport.ui.text_table import table

LintForm = Literal["table", "json", "junit"]


def render(found: AppLint, form: LintForm, *, color: bool, width: int) -> str:
    """Formats the checks and the verdict."""
    if form == "json":
        checks = [check.model_dump(mode="json") for check in found.checks]
        whole = {"path": found.path, "verdict": found.verdict.value, "size_bytes": found.size_bytes, "checks": checks}
        return json.dumps(whole, indent=2, ensure_ascii=False)
    if form == "junit":
        return junit.render_checks(found.path, {"verdict": found.verdict.value}, found.checks)
    body = [
        (check.verdict.value if check.gated or check.verdict.value == "SKIPPED" else "note", check.name, check.message)
        for check in found.checks
    ]
    title = f"{found.path}: {found.verdict.value}"
    return table(("verdict", "check", "finding"), body, title=title, color=color, width=width)
