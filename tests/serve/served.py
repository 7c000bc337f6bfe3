"""`segexport serve` in a separate process, and what is sent to it."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image


class Server:
    """`segexport serve` as its user starts it."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        import httpx

        self._log = (folder / f"server_{time.monotonic_ns()}.log").open("w+")
        environment = {**os.environ, "NO_COLOR": "1", "SEGEXPORT_CACHE": str(folder / "cache")}
        command = [sys.executable, "-m", "segexport", "serve", "--port", "0", "--access-log", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, env=environment, text=True, start_new_session=True
        )
        self.client = httpx.Client(timeout=60, verify=False, trust_env=False)  # a new one each time would be slow
        self.url = self.process.stdout.readline().rpartition(" ")[2].strip()
        assert self.url.startswith("http://"), self.log

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname, parts.port

    @property
    def root(self) -> str:
        return self.url.rpartition("/")[0]

    @property
    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text()

    @property
    def workers(self) -> list[int]:
        """Process ids of those that run the model."""
        pid = self.process.pid
        lists = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        return [int(child) for one in lists if one.exists() for child in one.read_text().split()]

    def post(self, image: bytes | str | None = None, **request):
        if image is not None:
            request["image"] = image if isinstance(image, str) else base64.b64encode(image).decode()
        return self.client.post(self.url, json=request)

    def get(self, path: str):
        return self.client.get(self.root + path)

    def metric(self, line: str) -> float:
        """The value of a line of /metrics, 0 where there is none."""
        found = (text for text in self.get("/metrics").text.splitlines() if text.startswith(line + " "))
        return float(next(found, "0").rpartition(" ")[2])

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self.client.close()


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()
