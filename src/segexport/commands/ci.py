"""`segexport ci`: writes a report into a pull or merge request, and gets the report to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from segexport import report as reports
from segexport.ci.host import CodeHost
from segexport.ci.job import code_host
from segexport.ci.kept import keep as store_baseline
from segexport.ci.kept import kept
from segexport.errors import AlteredError, InputError, cannot_read
from segexport.files.atomic import write_file
from segexport.progress import SILENCE, Feedback
from segexport.report.canonical import parse
from segexport.report.comment import marker, render, worst_picture
from segexport.verdict import Verdict

if TYPE_CHECKING:
    from segexport.report.schema import Report


def comment(
    path: Path,
    *,
    key: str = "report",
    report_url: str = "",
    pictures_branch: str = "",
    feedback: Feedback = SILENCE,
) -> str:
    """Writes a report's comment, or renews it; returns its address, or "" if the job has no request to write to.

    Args:
        path: The report's folder.
        key: Distinguishes several comments of one request.
        report_url: Address of the whole report; empty: the job's page.
        pictures_branch: Branch of a GitHub repository for the picture; empty: the comment has none there.

    Raises:
        SegexportError: There is no report, no token, or the service refuses.
    """
    report = reports.read(path)
    host = code_host()
    if not host.request():
        feedback.warn(f"no comment: {host.why_no_request()}")
        return ""
    picture_url = ""
    try:
        picture_url = _picture(report, path if path.is_dir() else path.parent, host, pictures_branch)
    except InputError as error:  # a comment without a picture is better than none
        feedback.warn(f"the comment has no picture: {error.what}: {error.cause}")
    text = render(report, key=key, picture_url=picture_url, report_url=report_url or host.report_url())
    return host.comment(marker(key), text)


def _picture(report: Report, folder: Path, host: CodeHost, branch: str) -> str:
    found = worst_picture(report)
    if found is None or found[1].picture is None:
        return ""
    file = folder / found[1].picture
    if not file.resolve().is_relative_to(folder.resolve()):
        raise AlteredError(f"{file}: not in the report's folder", cause="the report was edited")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise cannot_read(file, error) from None
    return host.picture(f"{hashlib.sha256(data).hexdigest()[:20]}{file.suffix}", data, branch)


def baseline(
    output: Path, *, artifact: str = "", branch: str = "", name: str = "", feedback: Feedback = SILENCE
) -> Path | None:
    """Writes the newest earlier report that passed to the file `output`; None if there is none yet.

    Args:
        artifact, branch: See `CodeHost.reports`.
        name: Name that `keep` gave it in the shared store, instead of the service's artifacts.

    Raises:
        SegexportError: There is no token, or the service refuses.
    """
    for data, origin in _reports(artifact, branch, name):
        report = parse(data, f"a report of {origin}")
        if report.verdict is Verdict.PASS:
            output.parent.mkdir(parents=True, exist_ok=True)
            write_file(output, data)
            return output
        feedback.say(f"the report of {report.created} is {report.verdict.value}, so an earlier one is taken")
    feedback.warn("there is no earlier report that passed: nothing is compared with a baseline")
    return None


def _reports(artifact: str, branch: str, name: str) -> Iterator[tuple[bytes, str]]:
    """Reports with their origin, the newest first."""
    if name:
        if (data := kept(name)) is not None:
            yield data, "the shared store"
        return
    host = code_host()
    yield from ((data, host.name) for data in host.reports(artifact, branch))


def keep(path: Path, name: str, *, feedback: Feedback = SILENCE) -> str:
    """Keeps a report that passed in the shared store, as the baseline of later runs; returns its address, or "".

    Args:
        path: The report, or its folder.
        name: As in `baseline`.

    Raises:
        SegexportError: There is no report, or the store cannot be written.
    """
    report = reports.read(path)
    if report.verdict is not Verdict.PASS:
        feedback.warn(f"not kept: the verdict is {report.verdict.value}, and a baseline has to have passed")
        return ""
    return store_baseline(name, reports.render(report, "json").encode())
