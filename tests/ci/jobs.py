"""The environments of jobs, and a report with a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from report_sample import full_report
from services import REPOSITORY, TOKEN

from segexport import report as reports
from segexport.report.schema import Report, ShownImage

PICTURE = b"\x89PNG of masks"


def github_job(
    folder: Path, url: str, *, pull_request: bool = True, fork: bool = False, run: str = "9"
) -> dict[str, str]:
    """The variables of a job of GitHub Actions."""
    event: dict = {"repository": {"default_branch": "main"}}
    if pull_request:
        head = {"repo": {"full_name": "stranger/nets" if fork else REPOSITORY}}
        event["pull_request"] = {"number": 5, "head": head, "base": {"ref": "main"}}
    file = folder / "event.json"
    file.write_text(json.dumps(event))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_API_URL": url,
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_EVENT_PATH": str(file),
        "GITHUB_RUN_ID": run,
        "GITHUB_REF_NAME": "5/merge" if pull_request else "main",
        "GITHUB_BASE_REF": "main" if pull_request else "",
        "GITHUB_EVENT_NAME": "pull_request" if pull_request else "push",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }


def gitlab_job(url: str, *, token: str = TOKEN, merge_request: str = "3") -> dict[str, str]:
    """The variables of a job of GitLab CI."""
    return {
        "GITLAB_CI": "true",
        "GITLAB_TOKEN": token,
        "CI_JOB_TOKEN": TOKEN,
        "CI_API_V4_URL": f"{url}/api/v4",
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": merge_request,
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_JOB_NAME": "exported models",
        "CI_JOB_URL": "https://gitlab.example/octo/nets/-/jobs/77",
    }


def pictured_report(folder: Path) -> Report:
    """Writes a report, whose failed export has a picture, into `folder`."""
    report = full_report()
    images = (
        ShownImage(image="val/b.jpg", agreement=0.97, picture="images/b.png"),
        ShownImage(image="val/a.jpg", agreement=0.871, picture="images/a.png"),
    )
    exports = tuple(
        export.model_copy(update={"worst_images": images}) if export.verdict.value == "FAIL" else export
        for export in report.exports
    )
    report = report.model_copy(update={"exports": exports})
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(PICTURE)
    reports.write(report, folder)
    return report
