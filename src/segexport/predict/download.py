"""Downloads a file from an http(s) URL with limits of size and time."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from segexport.errors import DownloadError, TooLargeError

Open = Callable[..., Any]  # as `urllib.request.urlopen`: (url, timeout=seconds) -> answer


def download(url: str, *, max_bytes: int, timeout_s: float, open_url: Open = urllib.request.urlopen) -> bytes:
    """Returns the response's body.

    A separate thread waits for the server, because a socket's time-out restarts with every byte, and the time for
    resolving names and reading headers cannot be limited.

    Args:
        max_bytes: Largest size.
        timeout_s: Limit for the whole download, also from a server that sends bytes slowly.
        open_url: Opens the connection; raises InputError for an address that it refuses.

    Raises:
        InputError: The server or file does not exist, is too slow, or the download was cut off.
        TooLargeError: The file has more than `max_bytes`.
    """
    found: list[bytes | Exception] = []

    def work() -> None:
        try:
            found.append(_read(url, max_bytes, timeout_s, open_url))
        except Exception as error:  # raised again by the caller's thread
            found.append(error)

    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    thread.join(timeout_s)
    result = found[0] if found else TimeoutError(f"not there in {timeout_s:g} s")
    if isinstance(result, bytes):
        return result
    if isinstance(result, OSError | HTTPException | ValueError):
        cause = str(getattr(result, "reason", None) or result)
        if code := getattr(result, "code", None):
            cause = f"{code} {cause}"
        raise DownloadError(f"{url}: cannot be downloaded", cause=cause) from None
    raise result


def _read(url: str, max_bytes: int, timeout_s: float, open_url: Open) -> bytes:
    deadline = time.monotonic() + timeout_s
    data = bytearray()
    with open_url(url, timeout=timeout_s) as answer:
        while part := answer.read1(1 << 16):
            data += part
            if len(data) > max_bytes:
                raise TooLargeError(f"{url}: more than {max_bytes >> 20} MiB", hint="download it and give the file")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not there in {timeout_s:g} s")
        if answer.length:
            raise ConnectionError(f"cut off after {len(data)} bytes, {answer.length} are missing")
    return bytes(data)
