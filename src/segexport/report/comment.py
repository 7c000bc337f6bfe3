"""Renders the report as a comment of a pull or merge request: the verdict, the worst picture, a link to the report."""

from __future__ import annotations

from segexport.report.markdown import detail_sections, escape, verdict_sections
from segexport.report.numbers import agreement
from segexport.report.schema import ExportResult, Report, ShownImage
from segexport.verdict import Verdict

MAX_CHARACTERS = 60_000
"""GitHub refuses a comment over 65,536 characters; GitLab takes a million."""

_WORST_FIRST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.PASS, Verdict.SKIPPED)


def marker(key: str) -> str:
    """The invisible first line by which the comment is found and renewed.

    Args:
        key: Distinguishes several comments of one request, such as those of two models.
    """
    plain = "".join(character for character in key if character.isalnum() or character in "_.") or "report"
    return f"<!-- segexport:{plain} -->"


def worst_picture(report: Report) -> tuple[ExportResult, ShownImage] | None:
    """The picture to show: of the export with the worst verdict, the image that differs most; None without pictures."""
    pictured = [
        (export, image) for export in report.exports for image in export.worst_images if image.picture is not None
    ]
    return min(pictured, key=lambda one: (_WORST_FIRST.index(one[0].verdict), one[1].agreement), default=None)


def render(report: Report, *, key: str = "report", picture_url: str = "", report_url: str = "") -> str:
    """Renders Markdown of at most `MAX_CHARACTERS`; sections that do not fit are left out, the explaining ones first.

    Args:
        key: See `marker`.
        picture_url: Address of the picture of `worst_picture`, which readers of the comment can load; empty: a link
            to the report takes its place.
        report_url: Address of the whole report, such as an artifact's; empty: none is linked.
    """
    head, *decided = verdict_sections(report)
    shown, link = _picture(report, picture_url), _link(report_url)
    sections = [f"{marker(key)}\n{head}", *decided, shown, link, *detail_sections(report)]
    sections = [section for section in sections if section]
    left_out = ""
    while len(text := "\n\n".join((*sections, *([left_out] if left_out else [])))) > MAX_CHARACTERS:
        left_out = "Some of the report does not fit into a comment." + (f" {link}" if link else "")
        if len(sections) == 1:
            return text[:MAX_CHARACTERS]
        sections.pop()
    return text + "\n"


def _picture(report: Report, url: str) -> str:
    found = worst_picture(report)
    if found is None:
        return ""
    export, image = found
    name = escape(image.image)
    told = f"{name}, {escape(export.name)}: {agreement(image.agreement)} of it agrees with the reference."
    title = "### The image that differs most"
    if not url:
        return f"{title}\n\n{told} The report has its picture."
    return f"{title}\n\n{told} Image, masks of both models, and their difference:\n\n![{name}]({url})"


def _link(url: str) -> str:
    return f"[The whole report, with pictures]({url})" if url else ""
