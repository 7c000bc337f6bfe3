"""JSON requests to a service's API, with limits of time and size."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from segexport.errors import ServiceError

_TIMEOUT_S = 60.0
MAX_BYTES = 256 << 20
"""Largest answer: a report with its pictures."""


@dataclass(frozen=True)
class Api:
    """An API and its credential.

    Attributes:
        url: Address without a slash at the end.
        credential: Header that authorizes, name -> value. It is not sent on to another address by a redirect.
        headers: The other headers of every request.
        hint: How to get the right that a refused request lacks.
    """

    url: str
    credential: Mapping[str, str]
    headers: Mapping[str, str]
    hint: str

    def call(self, method: str, path: str, value: Any = None, *, missing_ok: bool = False) -> Any:
        """Sends a JSON value and returns the answer's; None if `missing_ok` and there is no such thing.

        Raises:
            ServiceError: The service refuses the request, cannot be reached, or answers no JSON.
        """
        body = None if value is None else json.dumps(value).encode()
        answer = self.send(method, path, body, "application/json", missing_ok=missing_ok)
        if answer is None:
            return None
        try:
            return json.loads(answer)
        except ValueError:
            raise ServiceError(f"{method} {self._full(path)}: the answer is not JSON") from None

    def send(
        self, method: str, path: str, body: bytes | None, media_type: str = "", *, missing_ok: bool = False
    ) -> bytes | None:
        """As `call`, with bytes in and out; `path` may be a full address.

        Raises:
            ServiceError: The service refuses the request, or cannot be reached.
        """
        url = self._full(path)
        request = urllib.request.Request(url, data=body, method=method, headers=dict(self.headers))
        for name, header in self.credential.items():
            request.add_unredirected_header(name, header)
        if media_type:
            request.add_header("Content-Type", media_type)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                data = answer.read(MAX_BYTES + 1)
        except urllib.error.HTTPError as error:
            if missing_ok and error.code in (404, 410):
                return None
            raise ServiceError(
                f"{method} {url}: refused",
                cause=f"{error.code} {_reason(error)}".strip(),
                hint=self.hint if error.code in (401, 403, 404) else "",
                status=error.code,
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            cause = str(getattr(error, "reason", None) or error)
            raise ServiceError(f"{method} {url}: no answer", cause=cause) from None
        if len(data) > MAX_BYTES:
            raise ServiceError(f"{method} {url}: the answer has over {MAX_BYTES >> 20} MiB")
        return data

    def _full(self, path: str) -> str:
        return path if path.startswith(("https://", "http://")) else f"{self.url}{path}"


def _reason(error: urllib.error.HTTPError) -> str:
    """The service's own message, else the status line's."""
    try:
        found = json.loads(error.read(10_000)).get("message")
    except (OSError, HTTPException, ValueError, AttributeError):
        found = None
    return " ".join(str(found or error.reason).split())[:300]
