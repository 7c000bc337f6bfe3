"""`segexport serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command
from segexport.cli.model import RUNTIME, Size
from segexport.cli.options import FILE, THREADS, chosen


@click.command(
    cls=Command,
    examples=["segexport serve out/onnx-int8", "segexport serve --pipeline pipeline.yaml --host 0.0.0.0 --workers 2"],
    results=["commands.documents:ServerDocument"],
)
@click.argument("model", type=FILE, required=False)
@click.option("--pipeline", type=FILE, help="YAML file with model, device, runtime and target_size, instead of MODEL.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0: reachable from other machines.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0: a free port.")
@click.option("--device", help="cpu, or gpu:N if the runtime supports it.  [default: cpu]")
@RUNTIME
@THREADS
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that run the model."
)
@click.option(
    "--target-size",
    type=Size(or_own=True),
    metavar="WxH",
    help="Input size of the network, unless a request sets it; -1: size of the image.  [default: set by the model]",
)
@click.option(
    "--urls",
    type=click.Choice(["public", "any", "none"]),
    default="public",
    show_default=True,
    help="Image URLs to accept: public internet, any address, or none.",
)
@click.option(
    "--queue",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="Maximum number of waiting requests; more get status 503.",
)
@click.option(
    "--max-body-mib",
    type=click.IntRange(1, 1024),
    default=32,
    show_default=True,
    help="Maximum size of a request, in MiB; larger ones get status 413.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=25_000_000,
    show_default=True,
    help="Maximum number of pixels of an image; larger ones get status 413.",
)
@click.option(
    "--max-network-pixels",
    type=click.IntRange(1),
    default=2048 * 2048,
    show_default=True,
    help="Maximum number of pixels of the network input that targetSize requests; more gets status 413.",
)
@click.option(
    "--request-timeout",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Time limit for an accepted request, in seconds; then status 504.",
)
@click.option(
    "--receive-timeout",
    type=click.FloatRange(0.1),
    default=15.0,
    show_default=True,
    help="Time limit for receiving a request, in seconds; then status 408.",
)
@click.option("--access-log", is_flag=True, help="Log one line per request.")
@click.pass_obj
def serve(console: Any, model: Path | None, pipeline: Path | None, **options: Any) -> None:
    """Serve MODEL over HTTP with the API of PaddleX basic serving.

    POST /semantic-segmentation or /instance-segmentation takes {"image": Base64 or URL}. GET /health and /metrics
    return the state of the server. SIGTERM or Ctrl-C completes the accepted requests and stops the server.
    """
    if (model is None) == (pipeline is None):
        raise click.UsageError("give either MODEL or --pipeline")
    from segexport.commands.documents import ServerDocument
    from segexport.commands.serve import ServeOptions, serve

    say = console()

    def announce(name: str, url: str) -> None:
        if say.form == "json":
            say.result(ServerDocument(model=name, url=url))
        else:
            say.data(f"{name}: POST {url}")

    serve(model, pipeline, chosen(ServeOptions, options), announce=announce, feedback=say)
