"""Renders the report as SARIF 2.1.0 (OASIS), for code scanning: a result for each gate that did not pass."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from segexport.report.gate_help import QUESTIONS, WHOLE, family, help_url
from segexport.report.places import Places
from segexport.report.schema import ExportResult, Report
from segexport.report.wording import Issue, findings, headline
from segexport.ui.console import printable
from segexport.verdict import Verdict

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Verdict.ERROR: "error", Verdict.FAIL: "error", Verdict.INCONCLUSIVE: "warning"}


def render(report: Report, places: Places) -> str:
    """Renders one run; a finding that is not gated is a `note`, so that it never looks worse than the verdict."""
    found = [(export, finding) for export in report.exports for finding in findings(export)]
    rules = sorted({finding.check or WHOLE for _, finding in found})
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "segexport",
                        "version": report.segexport_version,
                        "informationUri": "https://github.com/segexport/segexport",
                        "rules": [_rule(name) for name in rules],
                    }
                },
                "results": [_result(export, finding, rules, places) for export, finding in found],
                "properties": {"verdict": report.verdict.value, "headline": printable(headline(report))},
            }
        ],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": QUESTIONS[family(name)]},
        "helpUri": help_url(name),
        "properties": {"tags": ["segmentation", family(name)]},
    }


def _result(export: ExportResult, finding: Issue, rules: list[str], places: Places) -> dict[str, Any]:
    rule = finding.check or WHOLE
    file = places.file_of(export.name)
    location: dict[str, Any] = {"logicalLocations": [{"name": _text(export.name), "kind": "module"}]}
    if file:
        location["physicalLocation"] = {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": 1}}
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": _LEVELS[finding.verdict] if finding.gated else "note",
        "message": {"text": f"{_text(export.name)}: {_text(finding.message)}"},
        "locations": [location],
        "partialFingerprints": {"gate/v1": fingerprint(export.name, rule)},
    }


def fingerprint(export: str, rule: str) -> str:
    """Identifies a finding in two runs, whatever its numbers are."""
    return hashlib.sha256(f"{export}\0{rule}".encode("utf-8", "replace")).hexdigest()


def _text(text: str) -> str:
    return printable(" ".join(text.split()))
