"""Processes a request from body to response: read, decode, preprocess, infer, draw, write.

Threads prepare and finish images while the model's processes compute. Only a few images are decoded at a time, because
decoded images are large; the others wait as encoded bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio

from segexport.files.download import download
from segexport.serve.admission import Admission
from segexport.serve.endpoint import Endpoint
from segexport.serve.http_errors import Refused
from segexport.serve.limits import ServerLimits
from segexport.serve.metrics import Metrics
from segexport.serve.pool import Pool
from segexport.serve.request import ImageRequest, image_bytes

OpenUrl = Callable[..., Any]


class ClientLeft(Exception):
    """The client disconnected before the response."""


class Service:
    """Processes requests with one model.

    Args:
        endpoint: The task's work before and after the model.
        pool: The model's processes.
        workers: Number of processes.
        open_url: Fetches images by URL; None: such requests are refused.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        pool: Pool,
        workers: int,
        limits: ServerLimits,
        metrics: Metrics,
        open_url: OpenUrl | None,
    ) -> None:
        self.path = endpoint.path
        self._endpoint, self._pool, self._limits, self._open_url = endpoint, pool, limits, open_url
        self.metrics = metrics
        self.admission = Admission(limits, metrics)
        self._together = 3 * workers + 2  # of each process one computes, one is there, one is ready; two are in threads
        self._turns = asyncio.Semaphore(self._together)
        self._threads = ThreadPoolExecutor(workers + 1, thread_name_prefix="image")
        self._downloads = ThreadPoolExecutor(limits.downloads, thread_name_prefix="download")

    @property
    def healthy(self) -> bool:
        """Whether any process is running the model."""
        return self._pool.ready > 0

    def close(self) -> None:
        """Ends the threads and the model's processes."""
        self._threads.shutdown(cancel_futures=True)
        self._downloads.shutdown(wait=False, cancel_futures=True)
        self._pool.close()

    def metrics_text(self) -> bytes:
        """Prometheus' text form."""
        self.metrics.workers.set(self._pool.ready)
        return self.metrics.text()

    async def infer(self, body: bytes, left: Callable[[], Awaitable[bool]]) -> bytes:
        """Returns the JSON of `result`.

        Args:
            left: Returns whether the client has disconnected.

        Raises:
            Refused: The server is full, the request timed out, or it is invalid.
            SegexportError: The image cannot be segmented, or the model's process ended.
            ClientLeft: The client disconnected while waiting.
        """
        with self.admission.accepted():
            start = time.perf_counter()
            try:
                with anyio.fail_after(self._limits.request_s):
                    result = await self._result(body, left)
            except TimeoutError:
                raise Refused(504, f"not done in {self._limits.request_s:g} s") from None
            self.metrics.seconds.observe(time.perf_counter() - start)
            return result

    async def _result(self, body: bytes, left: Callable[[], Awaitable[bool]]) -> bytes:
        stage = self.metrics.stage
        with stage("read"):
            request, data = await self._in_thread(self._read, body)
        if data is None:
            with stage("download"), self.admission.downloading():
                data = await self._download(request)
        with stage("turn"):
            await self._turns.acquire()
        try:
            if await left():
                raise ClientLeft
            start = time.perf_counter()
            with stage("prepare"):
                prepared = await self._in_thread(self._endpoint.prepare, request, data)
            with stage("infer"):
                prediction = await asyncio.wrap_future(self._pool.infer(prepared.tensors))
            with stage("finish"):
                result = await self._in_thread(self._endpoint.finish, prepared, prediction)
            self.admission.took((time.perf_counter() - start) / self._together)
            return result
        finally:
            self._turns.release()

    def _read(self, body: bytes) -> tuple[ImageRequest, bytes | None]:
        """Returns the request, and the image file if the body contains it."""
        request = self._endpoint.read(body)
        return request, None if request.is_url else image_bytes(request.image)

    async def _download(self, request: ImageRequest) -> bytes:
        if self._open_url is None:
            raise Refused(422, "image: URLs are not fetched here; send the file as Base64")
        limits, opener = self._limits, self._open_url

        def fetch() -> bytes:
            return download(request.image, max_bytes=limits.body_bytes, timeout_s=limits.download_s, open_url=opener)

        return await asyncio.get_running_loop().run_in_executor(self._downloads, fetch)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
