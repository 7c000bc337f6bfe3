"""`segexport serve`: combines the options with a pipeline's file, and starts the server."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segexport.errors import EnvironmentMissingError, InputError, OptionError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.predict.model_pipeline import read_config
from segexport.predict.target_size import TargetSize
from segexport.progress import SILENCE, Feedback
from segexport.serve.dependencies import HINT, missing
from segexport.serve.limits import ServerLimits

Urls = Literal["public", "any", "none"]


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `segexport serve`; `serve.server.Settings` and `serve.limits.ServerLimits` describe each.

    Attributes:
        device, runtime, target_size: None: from the pipeline's file, or else `cpu`, the format's first runtime, and the
            model's size.
        request_timeout, receive_timeout: Time limits, in seconds.
        access_log: Whether to log one line per request.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    device: str | None = None
    runtime: str | None = None
    threads: int = 1
    workers: int = 1
    target_size: TargetSize = None
    urls: Urls = "public"
    queue: int = 64
    max_body_mib: int = 32
    max_pixels: int = 25_000_000
    max_network_pixels: int = 2048 * 2048
    request_timeout: float = 30.0
    receive_timeout: float = 15.0
    access_log: bool = False


def serve(
    model: Path | None,
    pipeline: Path | None,
    options: ServeOptions,
    *,
    announce: Callable[[str, str], None],
    feedback: Feedback = SILENCE,
) -> None:
    """Serves a model, or the model of a pipeline's file, until it is stopped.

    Args:
        announce: Called with the name and address once the server accepts requests.

    Raises:
        EnvironmentMissingError: The server's libraries are not installed.
        SegexportError: The model cannot be read or run, or the address is taken.
    """
    if absent := missing():
        raise EnvironmentMissingError(f"serving needs {', '.join(absent)}", hint=HINT)
    from segexport.serve.server import Settings
    from segexport.serve.server import serve as run_server

    device, runtime, target_size = options.device, options.runtime, options.target_size
    if pipeline is not None:
        config = read_config(pipeline).Pipeline
        model = pipeline.parent / config.model
        device = config.device if device is None else device
        runtime = config.runtime if runtime is None else runtime
        target_size = config.target_size if target_size is None else target_size
    if model is None:
        raise OptionError("nothing to serve", hint="name a model, or the YAML file of a pipeline")
    artifact = import_model(model, ImportOptions(), Store())
    feedback.warn_of(artifact)
    if artifact.manifest.preprocess.tiles is not None:
        raise InputError(
            f"{artifact.path}: its images are run in tiles", cause="a server runs whole images, within a time limit"
        )
    _log_to_stderr(options.access_log)
    settings = Settings(
        host=options.host,
        port=options.port,
        device="cpu" if device is None else device,
        runtime=runtime or "",
        threads=options.threads,
        workers=options.workers,
        target_size=target_size,
        urls=options.urls,
        limits=ServerLimits(
            queue=options.queue,
            body_bytes=options.max_body_mib << 20,
            image_pixels=options.max_pixels,
            network_pixels=options.max_network_pixels,
            request_s=options.request_timeout,
            receive_s=options.receive_timeout,
        ),
    )
    run_server(artifact, settings, lambda address: announce(artifact.manifest.name, address))


def _log_to_stderr(access_log: bool) -> None:
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("segexport.serve.access").setLevel(logging.INFO if access_log else logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings: one line per request that is not HTTP
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its errors: clients that disconnect during a response
