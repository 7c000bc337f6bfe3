"""GitLab: comments by the notes API, pictures as uploads of the project, reports in job artifacts (REST API v4)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from segexport.ci.host import variable
from segexport.ci.http import Api
from segexport.errors import EnvironmentMissingError

_FOLDER = "report"


@dataclass(frozen=True)
class GitLab:
    """A job of GitLab CI.

    Attributes:
        project: Number of the project.
        merge_request: Number in the project; empty if the job has none.
        base: The branch that results are compared with.
        job, job_url: Name and address of the job.
        may_write: Whether the token may write comments: the job's own may not.
    """

    api: Api
    project: str
    merge_request: str
    base: str
    job: str
    job_url: str
    may_write: bool
    name: str = "GitLab"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> GitLab:
        """Reads the environment of a job.

        Raises:
            EnvironmentMissingError: A variable is missing.
        """
        own = environment.get("GITLAB_TOKEN", "")
        credential = {"PRIVATE-TOKEN": own} if own else {"JOB-TOKEN": variable(environment, "CI_JOB_TOKEN")}
        api = Api(
            variable(environment, "CI_API_V4_URL").rstrip("/"),
            credential,
            {"User-Agent": "segexport"},
            "set the masked variable GITLAB_TOKEN to a project access token with the scope api",
        )
        return cls(
            api,
            variable(environment, "CI_PROJECT_ID"),
            environment.get("CI_MERGE_REQUEST_IID", ""),
            environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME") or environment.get("CI_DEFAULT_BRANCH", "main"),
            variable(environment, "CI_JOB_NAME"),
            variable(environment, "CI_JOB_URL"),
            bool(own),
        )

    def request(self) -> str:
        return self.merge_request

    def why_no_request(self) -> str:
        return "" if self.merge_request else "this job does not run for a merge request"

    def report_url(self) -> str:
        return f"{self.job_url}/artifacts/file/{_FOLDER}/report.html"

    def comment(self, marker: str, text: str) -> str:
        self._require_token()
        notes = f"/projects/{self.project}/merge_requests/{self.merge_request}/notes"
        me = self.api.call("GET", "/user").get("id")
        known = next((one for one in self._pages(notes) if _ours(one, marker, me)), None)
        if known is not None:
            self.api.call("PUT", f"{notes}/{known['id']}", {"body": text})
        else:
            self.api.call("POST", notes, {"body": text})
        return f"{self.job_url.partition('/-/')[0]}/-/merge_requests/{self.merge_request}"

    def picture(self, name: str, data: bytes, branch: str) -> str:
        self._require_token()
        mark = secrets.token_hex(16)
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{quote(name)}"\r\n'
        body = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + data + f"\r\n--{mark}--\r\n".encode()
        answer = self.api.send(
            "POST", f"/projects/{self.project}/uploads", body, f"multipart/form-data; boundary={mark}"
        )
        return str(_json(answer).get("url", ""))

    def reports(self, artifact: str, branch: str) -> Iterator[bytes]:
        """GitLab keeps the last successful pipeline's artifacts at a fixed address."""
        place = f"{quote(branch or self.base, safe='')}/raw/{quote(artifact or _FOLDER)}/report.json"
        path = f"/projects/{self.project}/jobs/artifacts/{place}?job={quote(self.job)}"
        data = self.api.send("GET", path, None, missing_ok=True)
        if data is not None:
            yield data

    def _require_token(self) -> None:
        if not self.may_write:
            raise EnvironmentMissingError(
                "$GITLAB_TOKEN is not set", cause="a job's own token may not write comments", hint=self.api.hint
            )

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        for page in range(1, 21):
            items = self.api.call("GET", f"{path}?per_page=100&page={page}")
            yield from items
            if len(items) < 100:
                return


def _ours(note: Mapping[str, Any], marker: str, me: object) -> bool:
    return (note.get("author") or {}).get("id") == me and str(note.get("body", "")).startswith(marker)


def _json(data: bytes | None) -> Mapping[str, Any]:
    found = json.loads(data or b"{}")
    return found if isinstance(found, dict) else {}
