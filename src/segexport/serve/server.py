"""Starts a server and stops it after answering all accepted requests."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal
from urllib.request import urlopen

import cv2
import uvicorn

from segexport.artifact import ModelArtifact
from segexport.errors import InputError, WorkerFailed
from segexport.pipeline.registry import runtime_for
from segexport.predict.fastest_runtime import fastest_runtime
from segexport.predict.model_session import FASTEST, require_device
from segexport.predict.target_size import TargetSize
from segexport.runtimes.base import RunOptions, WorkerSession
from segexport.serve.app import make_app
from segexport.serve.endpoint import trial
from segexport.serve.endpoints import ENDPOINTS
from segexport.serve.limits import ServerLimits
from segexport.serve.metrics import Metrics
from segexport.serve.pool import Pool
from segexport.serve.protocol import limited_protocol
from segexport.serve.public_url import public_opener
from segexport.serve.service import Service

log = logging.getLogger(__name__)

_STOP_MARGIN_S = 5.0
_OPEN_S = 300.0  # time limit to load the model and run it once


@dataclass(frozen=True)
class Settings:
    """Server settings.

    Attributes:
        host, port: Listening address; port 0 selects a free port.
        device, runtime: As in `segexport.load`; the fastest runtime is measured before the server listens.
        threads: Threads for one inference.
        workers: Processes that run the model, each with `threads`.
        target_size: Default if a request gives none.
        urls: Allowed sources of images: the public internet, anywhere (also this machine's own network),
            or none.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    device: str = "cpu"
    runtime: str = ""
    threads: int = 1
    workers: int = 1
    target_size: TargetSize = None
    urls: Literal["public", "any", "none"] = "public"
    limits: ServerLimits = field(default_factory=ServerLimits)


def serve(artifact: ModelArtifact, settings: Settings, announce: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT, then answers the accepted requests and returns.

    Args:
        announce: Called with the URL when the server accepts requests.

    Raises:
        InputError: The address cannot be used, the device does not exist, or the model cannot run.
        SegexportError: The model's process cannot be started.
    """
    limits = settings.limits
    if settings.runtime == FASTEST:
        options = RunOptions(settings.device, settings.threads)
        settings = replace(settings, runtime=fastest_runtime(artifact, options))
    endpoint = ENDPOINTS[artifact.manifest.task](artifact.manifest, settings.target_size, limits)
    with _listen(settings.host, settings.port) as listener:
        cv2.setNumThreads(1)  # leaves the cores to the model
        metrics = Metrics()
        pool = Pool(partial(_open, artifact, settings), settings.workers, metrics.restarts.inc)
        openers = {"public": public_opener(), "any": urlopen, "none": None}
        service = Service(endpoint, pool, settings.workers, limits, metrics, openers[settings.urls])
        try:
            _run(service, limits, listener, announce)
        finally:
            service.close()


def _run(service: Service, limits: ServerLimits, listener: socket.socket, announce: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        make_app(service, limits),
        http=limited_protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=min(limits.connections, 1024),
        timeout_keep_alive=round(limits.keep_alive_s),
        # Every request has its answer by then, be it 504.
        timeout_graceful_shutdown=round(limits.request_s + limits.send_s + _STOP_MARGIN_S),
    )
    # uvicorn raises the signal that stopped it once more, when all is done; it has had its effect.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    _Server(config, service, partial(announce, f"{address}{service.path}")).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, which reports when it listens, and stops the service when it shuts down."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.admission.stopping = True
        log.warning("stopping: what was accepted is answered first")
        await super().shutdown(sockets)


def _open(artifact: ModelArtifact, settings: Settings) -> WorkerSession:
    """Starts a process and runs the model once: the first run is slow, and a model that cannot run should not wait for
    a request to say so."""
    runtime = runtime_for(artifact.manifest.format, settings.device, settings.runtime)
    require_device(runtime, settings.device)
    session = runtime.open(artifact, RunOptions(settings.device, settings.threads, timeout_s=_OPEN_S))
    try:
        session.infer(trial(artifact.manifest))
    except WorkerFailed as error:
        if all(side > 0 for side in artifact.manifest.image.shape):
            session.close()
            raise
        log.info("the model did not run on a trial size, which need not be one that it takes: %s", error)
    except BaseException:
        session.close()
        raise
    assert isinstance(session, WorkerSession), "a server's model runs on its own machine"
    session.timeout_s = settings.limits.request_s
    return session


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: the server cannot listen there",
            cause=error.strerror or str(error),
            hint="--port 0 takes a free one; --host names an address of this machine",
        ) from None
