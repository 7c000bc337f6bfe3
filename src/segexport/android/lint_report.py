"""Renders the result of `segexport android lint`: a table for people, JSON and JUnit XML for machines."""

from __future__ import annotations

from typing import Literal

from segexport.android.lint import AppLint
from segexport.files.json_writer import to_json
from segexport.report import junit
from segexport.spec import Frozen
from segexport.ui.text_table import table
from segexport.verdict import Check, Verdict


class LintDocument(Frozen):
    """The checks of an app."""

    path: str
    verdict: Verdict
    size_bytes: int
    checks: tuple[Check, ...]


LintForm = Literal["table", "json", "junit"]


def render(found: AppLint, form: LintForm, *, color: bool, width: int) -> str:
    """Formats the checks and the verdict."""
    if form == "json":
        one = LintDocument(path=found.path, verdict=found.verdict, size_bytes=found.size_bytes, checks=found.checks)
        return to_json(one)
    if form == "junit":
        return junit.render_checks(found.path, {"verdict": found.verdict.value}, found.checks)
    body = [
        (check.verdict.value if check.gated or check.verdict.value == "SKIPPED" else "note", check.name, check.message)
        for check in found.checks
    ]
    title = f"{found.path}: {found.verdict.value}"
    return table(("verdict", "check", "finding"), body, title=title, color=color, width=width)
