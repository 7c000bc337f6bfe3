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
    """Returns the response's body; arguments and errors are those of `download_into`."""
    data = bytearray()
    download_into(data.extend, url, max_bytes=max_bytes, timeout_s=timeout_s, open_url=open_url)
    return bytes(data)


def download_into(
    sink: Callable[[bytes], object],
    url: str,
    *,
    max_bytes: int,
    timeout_s: float,
    open_url: Open = urllib.request.urlopen,
) -> None:
    """Gives the response's body to `sink`, part by part.

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
    ended: list[Exception | None] = []

    def work() -> None:
        try:
            _read(sink, url, max_bytes, timeout_s, open_url)
            ended.append(None)
        except Exception as error:  # raised again by the caller's thread
            ended.append(error)

    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    thread.join(timeout_s)
    error = ended[0] if ended else TimeoutError(f"not there in {timeout_s:g} s")
    if isinstance(error, OSError | HTTPException | ValueError):
        cause = str(getattr(error, "reason", None) or error)
        if code := getattr(error, "code", None):
            cause = f"{code} {cause}"
        raise DownloadError(f"{url}: cannot be downloaded", cause=cause) from None
    if error is not None:
        raise error


def _read(sink: Callable[[bytes], object], url: str, max_bytes: int, timeout_s: float, open_url: Open) -> None:
    deadline = time.monotonic() + timeout_s
    size = 0
    with open_url(url, timeout=timeout_s) as answer:
        while part := answer.read1(1 << 16):
            size += len(part)
            if size > max_bytes:
                raise TooLargeError(f"{url}: more than {max_bytes >> 20} MiB", hint="download it and give the file")
            sink(part)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not there in {timeout_s:g} s")
        if answer.length:
            raise ConnectionError(f"cut off after {size} bytes, {answer.length} are missing")
