"""What `serve` does: puts options, or a pipeline's file, together, and tells where the server is."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from segexport.errors import EnvironmentMissingError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.predict.model_pipeline import read_config
from segexport.serve.dependencies import HINT, missing
from segexport.serve.limits import Limits
from segexport.ui.console import Console


def serve_model(
    model: Path | None, pipeline: Path | None, options: dict[str, Any], *, access_log: bool, say: Console
) -> None:
    """Serves until it is told to stop.

    Raises:
        EnvironmentMissingError: The server's libraries are not installed.
        SegexportError: The model cannot be read or run, or the address is taken.
    """
    if absent := missing():
        raise EnvironmentMissingError(f"serving needs {', '.join(absent)}", hint=HINT)
    from segexport.serve.server import Settings, serve

    device, target_size = options["device"], options["target_size"]
    if pipeline is not None:
        config = read_config(pipeline).Pipeline
        model = pipeline.parent / config.model
        device = config.device if device is None else device
        target_size = config.target_size if target_size is None else target_size
    artifact = import_model(model, ImportOptions(), Store())
    say.warn_of(artifact)
    _log_to_stderr(access_log)
    settings = Settings(
        host=options["host"],
        port=options["port"],
        device="cpu" if device is None else device,
        threads=options["threads"],
        workers=options["workers"],
        target_size=target_size,
        urls=options["urls"],
        limits=Limits(
            queue=options["queue"],
            body_bytes=options["max_body_mib"] << 20,
            image_pixels=options["max_pixels"],
            network_pixels=options["max_network_pixels"],
            request_s=options["request_timeout"],
            receive_s=options["receive_timeout"],
        ),
    )
    serve(artifact, settings, lambda address: say.data(f"{artifact.manifest.name}: POST {address}"))


def _log_to_stderr(access_log: bool) -> None:
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("segexport.serve.access").setLevel(logging.INFO if access_log else logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # below: a line for each request that is no HTTP
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # below: clients that left in the middle of an answer
