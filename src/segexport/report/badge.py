"""Renders the verdict as a badge: an SVG that needs no server."""

from __future__ import annotations

from html import escape
from pathlib import Path

from segexport.report.schema import NOT_RUN_HERE, Report
from segexport.verdict import Verdict

LABEL = "segexport"
_COLORS = {Verdict.PASS: "#2da44e", Verdict.FAIL: "#cf222e", Verdict.INCONCLUSIVE: "#bf8700", Verdict.ERROR: "#8250df"}
_GRAY = "#6e7781"
_CHARACTER_WIDTH, _PADDING = 6.9, 12.0  # pixels; Verdana's mean at 11 px, rounded up, so that no font overflows

_SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {text}">
<title>{label}: {text}</title>
<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{split}" height="20" fill="#444c56"/>
<rect x="{split}" width="{rest}" height="20" fill="{color}"/>
</g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{label_x}" y="14">{label}</text>
<text x="{text_x}" y="14">{text}</text>
</g>
</svg>
"""


def render(report: Report, folder: Path | None = None) -> str:
    """Renders `segexport | 3 passed` in the verdict's colour."""
    text = message(report)
    split, rest = _width(LABEL), _width(text)
    return _SVG.format(
        label=LABEL,
        text=escape(text),
        width=split + rest,
        split=split,
        rest=rest,
        color=color(report),
        label_x=split / 2,
        text_x=split + rest / 2,
    )


def message(report: Report) -> str:
    """`3 passed`, or how many of how many did not: `1 of 3 failed`; and the mark of values that were not run."""
    return _judged(report) + (f", {NOT_RUN_HERE}" if any(export.not_run for export in report.exports) else "")


def _judged(report: Report) -> str:
    count = len(report.exports)
    if report.verdict is Verdict.PASS:
        return f"{count} passed"
    words = {Verdict.FAIL: "failed", Verdict.INCONCLUSIVE: "undecided", Verdict.ERROR: "in error"}
    bad = sum(export.verdict is report.verdict for export in report.exports)
    return f"{bad} of {count} {words[report.verdict]}" if bad else report.verdict.value.lower()


def color(report: Report) -> str:
    """The verdict's colour, `#rrggbb`."""
    return _COLORS.get(report.verdict, _GRAY)


def _width(text: str) -> int:
    return round(len(text) * _CHARACTER_WIDTH + _PADDING)
