"""Small GitHub and GitLab servers: the documented calls that segexport makes, with rights and conflicts."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "secret-token"
REPOSITORY = "octo/nets"


@dataclass
class Service:
    """What a server holds, and what it was asked.

    Attributes:
        comments: Comments or notes, in the order written.
        files: GitHub: branch -> path -> bytes. GitLab: name of the upload -> bytes, under "".
        artifacts: GitHub: dictionaries as the API lists them, with `zip`. GitLab: path in the API -> bytes.
        may_write: Whether the token may write.
        conflicts: How many of the next writes to a branch another job disturbs.
        strangers: Requests that carried the token to the storage of artifacts.
    """

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    artifacts: Any = field(default_factory=list)
    may_write: bool = True
    conflicts: int = 0
    strangers: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def add_artifact(self, name: str, files: dict[str, bytes], *, branch: str = "main", fork: bool = False) -> None:
        """Keeps an artifact of a GitHub run."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as file:
            for path, content in files.items():
                file.writestr(path, content)
        number = len(self.artifacts) + 1
        self.artifacts.append(
            {
                "id": number,
                "name": name,
                "expired": False,
                "created_at": f"2026-01-{number:02d}T00:00:00Z",
                "archive_download_url": f"{self.url}/repos/{REPOSITORY}/actions/artifacts/{number}/zip",
                "workflow_run": {
                    "id": 100 + number,
                    "repository_id": 1,
                    "head_repository_id": 2 if fork else 1,
                    "head_branch": branch,
                },
                "zip": data.getvalue(),
            }
        )


@contextmanager
def github() -> Iterator[Service]:
    """A GitHub whose only repository is `REPOSITORY`."""
    with _served(_GitHub) as service:
        yield service


@contextmanager
def gitlab() -> Iterator[Service]:
    """A GitLab whose only project is number 7."""
    with _served(_GitLab) as service:
        service.artifacts = {}
        yield service


@contextmanager
def _served(handler: type[_Handler]) -> Iterator[Service]:
    service = Service()
    bound = type("Bound", (handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    service.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def _do(self) -> None:
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.service.asked.append(f"{self.command} {split.path}")
        self.route(split.path, {key: value[0] for key, value in parse_qs(split.query).items()}, body)

    do_GET = do_POST = do_PUT = do_PATCH = _do

    def route(self, path: str, query: dict[str, str], body: bytes) -> None:
        raise NotImplementedError

    def answer(self, code: int, value: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class _GitHub(_Handler):
    def route(self, path: str, query: dict[str, str], body: bytes) -> None:
        service, root = self.service, f"/repos/{REPOSITORY}"
        if path.startswith("/storage/"):  # another machine, which must not see the token
            if self.headers.get("Authorization"):
                service.strangers.append(path)
            self.answer(200, service.artifacts[int(path.rsplit("/", 1)[1]) - 1]["zip"])
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"message": "Bad credentials"})
        elif self.command != "GET" and not service.may_write:
            self.answer(403, {"message": "Resource not accessible by integration"})
        elif path == f"{root}/issues/5/comments":
            self._comments(query, body)
        elif found := re.fullmatch(rf"{root}/issues/comments/(\d+)", path):
            comment = next(one for one in service.comments if one["id"] == int(found[1]))
            comment["body"] = json.loads(body)["body"]
            self.answer(200, comment)
        elif found := re.fullmatch(rf"{root}/contents/(.+)", path):
            self._contents(unquote(found[1]), query, body)
        elif path in (f"{root}/git/trees", f"{root}/git/commits"):
            self.answer(201, {"sha": "0" * 40})
        elif path == f"{root}/git/refs":
            branch = json.loads(body)["ref"].removeprefix("refs/heads/")
            if branch in service.files:
                self.answer(422, {"message": "Reference already exists"})
            else:
                service.files[branch] = {}
                self.answer(201, {})
        elif path == f"{root}/actions/artifacts":
            named = [one for one in service.artifacts if one["name"] == query["name"]]
            shown = [{key: value for key, value in one.items() if key != "zip"} for one in named]
            self.answer(200, {"total_count": len(shown), "artifacts": shown[:100] if query["page"] == "1" else []})
        elif found := re.fullmatch(rf"{root}/actions/artifacts/(\d+)/zip", path):
            port = urlsplit(service.url).port
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{port}/storage/{found[1]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(404, {"message": "Not Found"})

    def _comments(self, query: dict[str, str], body: bytes) -> None:
        comments = self.service.comments
        if self.command == "GET":
            start = (int(query["page"]) - 1) * 100
            self.answer(200, comments[start : start + 100])
            return
        number = len(comments) + 1
        made = {"id": number, "body": json.loads(body)["body"], "user": {"type": "Bot"}, "author_association": "NONE"}
        comments.append({**made, "html_url": f"https://github.com/{REPOSITORY}/pull/5#issuecomment-{number}"})
        self.answer(201, comments[-1])

    def _contents(self, name: str, query: dict[str, str], body: bytes) -> None:
        service = self.service
        branch = query["ref"] if self.command == "GET" else json.loads(body)["branch"]
        if branch not in service.files or (self.command == "GET" and name not in service.files[branch]):
            self.answer(404, {"message": f"Branch {branch} not found"})
        elif self.command == "GET":
            self.answer(200, {"path": name})
        elif service.conflicts:
            service.conflicts -= 1
            self.answer(409, {"message": "is at 1 but expected 2"})
        elif name in service.files[branch]:
            self.answer(422, {"message": 'Invalid request. "sha" wasn\'t supplied.'})
        else:
            service.files[branch][name] = base64.b64decode(json.loads(body)["content"])
            self.answer(201, {})


class _GitLab(_Handler):
    def route(self, path: str, query: dict[str, str], body: bytes) -> None:
        service, root = self.service, "/api/v4/projects/7"
        notes = f"{root}/merge_requests/3/notes"
        if self.headers.get("JOB-TOKEN") != TOKEN and self.headers.get("PRIVATE-TOKEN") != TOKEN:
            self.answer(401, {"message": "401 Unauthorized"})
        elif path.startswith(f"{root}/jobs/artifacts/"):
            found = service.artifacts.get(f"{path.removeprefix(f'{root}/jobs/artifacts/')}?job={query['job']}")
            self.answer(200, found) if found is not None else self.answer(404, {"message": "404 Not Found"})
        elif not self.headers.get("PRIVATE-TOKEN"):
            self.answer(401, {"message": "401 Unauthorized"})
        elif path == "/api/v4/user":
            self.answer(200, {"id": 1})
        elif path == notes and self.command == "GET":
            self.answer(200, service.comments if query["page"] == "1" else [])
        elif path == notes:
            service.comments.append({**json.loads(body), "id": len(service.comments) + 1, "author": {"id": 1}})
            self.answer(201, service.comments[-1])
        elif found := re.fullmatch(rf"{notes}/(\d+)", path):
            service.comments[int(found[1]) - 1]["body"] = json.loads(body)["body"]
            self.answer(200, {})
        elif path == f"{root}/uploads":
            name, data = _form_file(self.headers["Content-Type"], body)
            service.files.setdefault("", {})[name] = data
            self.answer(201, {"url": f"/uploads/66dbcd21/{name}"})
        else:
            self.answer(404, {"message": "404 Not Found"})


def _form_file(media_type: str, body: bytes) -> tuple[str, bytes]:
    """The file of a multipart form, as the standard library's mail parser reads it."""
    from email import message_from_bytes

    (part,) = message_from_bytes(f"Content-Type: {media_type}\r\n\r\n".encode() + body).get_payload()
    assert part.get_param("name", header="Content-Disposition") == "file"
    return part.get_filename(), part.get_payload(decode=True)
