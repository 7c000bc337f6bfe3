"""Renders the report as JUnit XML: a suite per export, a test case per check.

Valid against the schema of Apache Ant (which requires `package`, `id`, `hostname` and both outputs) and against that of
Jenkins' xunit plugin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

from segexport.report.schema import ExportResult, Report
from segexport.report.wording import compared, findings, headline, recorded
from segexport.ui.console import printable
from segexport.verdict import Check, Verdict

# XML 1.0 cannot represent these characters, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, folder: Path | None = None) -> str:
    """Maps FAIL to failure, INCONCLUSIVE to a failure of type `inconclusive`, ERROR to error, SKIPPED to skipped.

    A report-only check never fails a build: if it did not pass, it is skipped with its message. An export whose verdict
    no gated check explains gets an additional case, so that the XML never looks better than the exit code.
    """
    root = ElementTree.Element("testsuites")
    timestamp = _timestamp(report.created)
    for export in report.exports:
        suite = _suite(root, export.name, timestamp)
        properties = {
            "format": export.format,
            "precision": export.precision,
            "runtime": export.runtime,
            "provider": export.provider,
            "device": export.device,
            "digest": export.digest,
            "verdict": export.verdict.value,
            "reference": recorded(report),
        }
        _finish(suite, properties, _export_cases(export), "\n".join(export.notes))
    if report.verdict is not Verdict.PASS and report.verdict not in {export.verdict for export in report.exports}:
        suite = _suite(root, "segexport", timestamp)
        verdict = Verdict.ERROR if report.verdict is Verdict.SKIPPED else report.verdict
        _finish(suite, {}, [_case("segexport", "verdict", verdict, headline(report))], compared(report))
    return _written(root)


def render_checks(name: str, properties: dict[str, str], checks: Sequence[Check]) -> str:
    """Renders checks that belong to no report as one suite."""
    root = ElementTree.Element("testsuites")
    suite = _suite(root, name, _timestamp(""))
    _finish(suite, properties, [_check_case(name, check) for check in checks], "")
    return _written(root)


def _written(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _export_cases(export: ExportResult) -> list[ElementTree.Element]:
    cases = [_check_case(export.name, check) for check in export.checks]
    whole = [finding for finding in findings(export) if not finding.check]
    cases += [_case(export.name, "export", finding.verdict, finding.message) for finding in whole]
    if export.verdict is Verdict.SKIPPED and not cases:
        cases.append(_case(export.name, "export", Verdict.SKIPPED, "not asked for"))
    return cases


def _check_case(export: str, check: Check) -> ElementTree.Element:
    if check.gated or check.verdict in (Verdict.PASS, Verdict.SKIPPED):
        return _case(export, check.name, check.verdict, check.message)
    return _case(export, check.name, Verdict.SKIPPED, f"{check.verdict.value}, not gated: {check.message}")


def _case(export: str, name: str, verdict: Verdict, message: str) -> ElementTree.Element:
    case = ElementTree.Element("testcase", name=_token(name), classname=f"segexport.{_token(export)}", time="0")
    if verdict is Verdict.SKIPPED:
        ElementTree.SubElement(case, "skipped", message=_clean(message))
    elif verdict is not Verdict.PASS:
        tag = "error" if verdict is Verdict.ERROR else "failure"
        inner = ElementTree.SubElement(case, tag, message=_clean(message), type=verdict.value.lower())
        inner.text = _clean(message)
    return case


def _suite(root: ElementTree.Element, name: str, timestamp: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        root,
        "testsuite",
        name=_token(name),
        package="segexport",
        id=str(len(root)),
        timestamp=timestamp,
        hostname="localhost",  # keeps reports comparable between machines; the properties name the devices
        time="0",
    )


def _finish(suite: ElementTree.Element, properties: dict[str, str], cases: list[ElementTree.Element], out: str) -> None:
    group = ElementTree.SubElement(suite, "properties")
    for name, value in properties.items():
        if value:
            ElementTree.SubElement(group, "property", name=name, value=_clean(value))
    suite.extend(cases)
    ElementTree.SubElement(suite, "system-out").text = _clean(out)
    ElementTree.SubElement(suite, "system-err").text = ""
    suite.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", printable(text))


def _token(text: str) -> str:
    """Removes line breaks and repeated blanks, which the schema's `token` does not allow; never empty."""
    return _clean(" ".join(text.split())) or "unnamed"


def _timestamp(created: str) -> str:
    """Formats whole seconds in UTC without a zone, the only form that the schema allows."""
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
        if moment.tzinfo is not None:
            moment = moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        moment = datetime.fromtimestamp(0, timezone.utc)
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")
