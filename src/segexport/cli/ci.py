"""`segexport ci`: commands for jobs of GitHub Actions and GitLab CI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command, Group
from segexport.cli.options import FILE


@click.group(
    cls=Group,
    examples=["segexport ci baseline -o baseline.json", "segexport ci comment out/report"],
)
def ci() -> None:
    """Write reports into pull requests, and get those to compare with."""


@ci.command(
    cls=Command,
    examples=[
        "segexport ci comment out/report",
        "segexport ci comment out/report --pictures-branch pictures",
    ],
    results=["commands.documents:CommentDocument"],
)
@click.argument("report", type=FILE)
@click.option("--key", default="report", show_default=True, help="Name of this comment, if a request gets several.")
@click.option("--report-url", default="", help="Address of the whole report.  [default: the job's page]")
@click.option(
    "--pictures-branch",
    default="",
    metavar="NAME",
    help="GitHub only: branch of the repository for the picture in the comment.  [default: no picture]",
)
@click.pass_obj
def comment(console: Any, report: Path, key: str, report_url: str, pictures_branch: str) -> None:
    """Write REPORT into the pull or merge request, as one comment that every run renews.

    The token is $GITHUB_TOKEN on GitHub, and $GITLAB_TOKEN, a project access token, on GitLab.
    """
    from segexport.commands.ci import comment
    from segexport.commands.documents import CommentDocument

    say = console()
    url = comment(report, key=key, report_url=report_url, pictures_branch=pictures_branch, feedback=say)
    if url:
        say.say(f"comment: {url}")
    say.result(CommentDocument(url=url or None))


@ci.command(
    cls=Command,
    examples=[
        "segexport ci baseline -o baseline.json",
        "segexport ci baseline --store s3://team/segexport --name octo/nets/main -o baseline.json",
    ],
    results=["commands.documents:BaselineDocument"],
)
@click.option(
    "--artifact",
    default="",
    metavar="NAME",
    help="The reports' artifact, or on GitLab their folder in it.  [default: segexport-report, on GitLab report]",
)
@click.option(
    "--branch", default="", metavar="NAME", help="Branch of the reports.  [default: the one that the request goes to]"
)
@click.option("--name", default="", help="Name that `ci keep` gave it in the shared store, instead of an artifact.")
@click.option("-o", "--output", type=FILE, required=True, help="File to write.")
@click.pass_obj
def baseline(console: Any, artifact: str, branch: str, name: str, output: Path) -> None:
    """Get the newest report that passed on a branch, for `check --baseline`.

    Without one, nothing is written, and the exit code is 0: a first run has nothing to compare with.
    """
    from segexport.commands.ci import baseline
    from segexport.commands.documents import BaselineDocument

    say = console()
    found = baseline(output, artifact=artifact, branch=branch, name=name, feedback=say) is not None
    if found:
        say.say(f"baseline: {output}")
    say.result(BaselineDocument(path=str(output) if found else None))


@ci.command(
    cls=Command,
    examples=["segexport ci keep out/report --store s3://team/segexport --name octo/nets/main"],
    results=["commands.documents:BaselineDocument"],
)
@click.argument("report", type=FILE)
@click.option("--name", required=True, help="Name of the baseline, such as OWNER/REPOSITORY/BRANCH.")
@click.pass_obj
def keep(console: Any, report: Path, name: str) -> None:
    """Keep REPORT in the shared store, if it passed, as the baseline of later runs."""
    from segexport.commands.ci import keep
    from segexport.commands.documents import BaselineDocument

    say = console()
    place = keep(report, name, feedback=say)
    if place:
        say.say(f"baseline: {place}")
    say.result(BaselineDocument(path=place or None))
