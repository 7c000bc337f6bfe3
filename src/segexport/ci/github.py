"""GitHub: comments by the issues API, pictures on a branch, reports in artifacts (REST API, version 2022-11-28)."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from segexport.ci.host import variable
from segexport.ci.http import MAX_BYTES, Api
from segexport.errors import OptionError, ServiceError, TooLargeError, UnreadableError

_ARTIFACT = "segexport-report"
_TRUSTED = ("OWNER", "MEMBER", "COLLABORATOR")
_ATTEMPTS = 4
_REPORTS_TRIED = 10


@dataclass(frozen=True)
class GitHub:
    """A job of GitHub Actions.

    Attributes:
        repository: `owner/name`.
        event: What started the job.
        page: Address of the run.
        run: Number of the run.
    """

    api: Api
    repository: str
    event: Mapping[str, Any]
    page: str
    run: str
    name: str = "GitHub"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> GitHub:
        """Reads the environment of a job.

        Raises:
            EnvironmentMissingError: A variable is missing.
            UnreadableError: The event cannot be read.
        """
        hint = "in the workflow: env: {GITHUB_TOKEN: ${{ github.token }}}"
        token = variable(environment, "GITHUB_TOKEN", hint)
        repository, run = variable(environment, "GITHUB_REPOSITORY"), variable(environment, "GITHUB_RUN_ID")
        file = Path(variable(environment, "GITHUB_EVENT_PATH"))
        try:
            event = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise UnreadableError(f"{file}: the event cannot be read", cause=str(error)) from None
        server = environment.get("GITHUB_SERVER_URL", "https://github.com")
        api = Api(
            environment.get("GITHUB_API_URL", "https://api.github.com").rstrip("/"),
            {"Authorization": f"Bearer {token}"},
            {
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "segexport",
            },
            "the job's token needs the right: permissions: {pull-requests: write} for comments, {contents: write} for "
            "a branch of pictures, {actions: read} for artifacts",
        )
        return cls(api, repository, event, f"{server}/{repository}/actions/runs/{run}", run)

    def request(self) -> str:
        return "" if self.why_no_request() else str(self.event["pull_request"]["number"])

    def why_no_request(self) -> str:
        pull = self.event.get("pull_request")
        if not pull:
            return "this job does not run for a pull request"
        head = (pull.get("head") or {}).get("repo") or {}
        if head.get("full_name") != self.repository:
            return "the pull request comes from a fork, whose jobs may not write comments"
        return ""

    def report_url(self) -> str:
        return self.page

    def comment(self, marker: str, text: str) -> str:
        issue = f"/repos/{self.repository}/issues/{self.request()}/comments"
        known = next((one for one in self._pages(issue) if _ours(one, marker)), None)
        if known is not None:
            made = self.api.call("PATCH", f"/repos/{self.repository}/issues/comments/{known['id']}", {"body": text})
        else:
            made = self.api.call("POST", issue, {"body": text})
        return str(made.get("html_url", ""))

    def picture(self, name: str, data: bytes, branch: str) -> str:
        """Commits the picture to a branch of its own; its page with `?raw=true` is shown to whoever may read the
        repository, also a private one. Artifacts are zips, and data URIs are not shown."""
        if not branch:
            return ""
        path = f"/repos/{self.repository}/contents/{quote(name)}"
        value = {"message": f"Picture {name}", "content": base64.b64encode(data).decode(), "branch": branch}
        for attempt in range(_ATTEMPTS):
            try:
                self.api.call("PUT", path, value)
            except ServiceError as error:
                if error.status == 422 and self.api.call("GET", f"{path}?ref={quote(branch)}", missing_ok=True):
                    break  # it exists: its name is the digest of its bytes
                if attempt + 1 == _ATTEMPTS:
                    raise
                if error.status == 404:
                    self._create(branch)
                elif error.status != 409:  # another job has just written to the branch
                    raise
            else:
                break
        server = self.page.partition(f"/{self.repository}/")[0]
        return f"{server}/{self.repository}/blob/{quote(branch)}/{quote(name)}?raw=true"

    def _create(self, branch: str) -> None:
        """Creates a branch without a history: pictures do not belong to the code's."""
        git = f"/repos/{self.repository}/git"
        readme = "Pictures of comments, written by segexport. The branch may be deleted at any time.\n"
        entry = {"path": "README.md", "mode": "100644", "type": "blob", "content": readme}
        tree = self.api.call("POST", f"{git}/trees", {"tree": [entry]})["sha"]
        made = self.api.call("POST", f"{git}/commits", {"message": "Pictures", "tree": tree, "parents": []})["sha"]
        try:
            self.api.call("POST", f"{git}/refs", {"ref": f"refs/heads/{branch}", "sha": made})
        except ServiceError as error:
            if error.status != 422:  # another job was faster
                raise

    def reports(self, artifact: str, branch: str) -> Iterator[bytes]:
        branch = branch or self._base_branch()
        listed = self._pages(f"/repos/{self.repository}/actions/artifacts?name={quote(artifact or _ARTIFACT)}", 3)
        found = [one for one in listed if not one.get("expired") and self._is_of(one.get("workflow_run") or {}, branch)]
        found.sort(key=lambda one: str(one.get("created_at")), reverse=True)
        for one in found[:_REPORTS_TRIED]:
            data = self.api.send("GET", str(one["archive_download_url"]), None, missing_ok=True)
            if data is not None:
                yield from _in_zip(data, str(one["archive_download_url"]))

    def _is_of(self, run: Mapping[str, Any], branch: str) -> bool:
        """Whether a run is an earlier one of the branch itself: a fork may have a branch of the same name."""
        own = run.get("head_repository_id") == run.get("repository_id")
        return own and run.get("head_branch") == branch and str(run.get("id")) != self.run

    def _base_branch(self) -> str:
        pull = self.event.get("pull_request") or {}
        found = (pull.get("base") or {}).get("ref") or (self.event.get("repository") or {}).get("default_branch")
        if not found:
            raise OptionError("the event names no branch to compare with", hint="--branch NAME")
        return str(found)

    def _pages(self, path: str, most: int = 20) -> Iterator[dict[str, Any]]:
        """The items of a list, of at most `most` pages."""
        for page in range(1, most + 1):
            found = self.api.call("GET", f"{path}{'&' if '?' in path else '?'}per_page=100&page={page}")
            items = found.get("artifacts", []) if isinstance(found, dict) else found
            yield from items
            if len(items) < 100:
                return


def _ours(comment: Mapping[str, Any], marker: str) -> bool:
    """Whether a comment has the marker and was not written by a stranger, who could change it later."""
    author = comment.get("user") or {}
    trusted = author.get("type") == "Bot" or comment.get("author_association") in _TRUSTED
    return trusted and str(comment.get("body", "")).startswith(marker)


def _in_zip(data: bytes, name: str) -> Iterator[bytes]:
    """The report.json that is highest in a zip; nothing if there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            names = [info for info in file.infolist() if Path(info.filename).name == "report.json"]
            if not names:
                return
            first = min(names, key=lambda info: info.filename.count("/"))
            if first.file_size > MAX_BYTES:
                raise TooLargeError(f"{name}: its report.json has over {MAX_BYTES >> 20} MiB")
            yield file.read(first)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UnreadableError(f"{name}: not a readable zip", cause=str(error)) from None
