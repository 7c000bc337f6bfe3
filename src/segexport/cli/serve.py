"""The command that puts a model behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.model import Size
from segexport.cli.options import FILE, chosen


@click.command()
@click.argument("model", type=FILE, required=False)
@click.option("--pipeline", type=FILE, help="YAML that names model, device and target_size, in place of MODEL.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: reachable from other machines.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option("--device", help="cpu, or gpu:0 where the model's runtime has one.  [default: cpu]")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of one inference.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes with the model.")
@click.option(
    "--target-size",
    type=Size(or_own=True),
    metavar="WxH",
    help="Where a request names none; -1: the image's own.  [default: as the model says]",
)
@click.option(
    "--urls",
    type=click.Choice(["public", "any", "none"]),
    default="public",
    show_default=True,
    help="Images named by URL: from the public internet, also from this network, or not at all.",
)
@click.option("--queue", type=click.IntRange(1, 10_000), default=64, show_default=True, help="503 beyond.")
@click.option("--max-body-mib", type=click.IntRange(1, 1024), default=32, show_default=True, help="413 beyond.")
@click.option("--max-pixels", type=click.IntRange(1), default=25_000_000, show_default=True, help="413 beyond.")
@click.option(
    "--max-network-pixels",
    type=click.IntRange(1),
    default=2048 * 2048,
    show_default=True,
    help="Of the network's input, which targetSize may ask for; 413 beyond.",
)
@click.option(
    "--request-timeout",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Seconds until an accepted request is answered; 504 beyond.",
)
@click.option(
    "--receive-timeout",
    type=click.FloatRange(0.1),
    default=15.0,
    show_default=True,
    help="Seconds for a request to arrive; 408 beyond.",
)
@click.option("--access-log", is_flag=True, help="A line for each request.")
@click.pass_obj
def serve(console: Any, model: Path | None, pipeline: Path | None, **options: Any) -> None:
    """Answer HTTP requests with MODEL, in the forms of PaddleX's basic serving.

    POST /semantic-segmentation, or /instance-segmentation for models that find objects, takes {"image": Base64 or
    URL}; GET /health and /metrics tell how the server is.
    SIGTERM or Ctrl-C answers what was accepted, and ends it.
    """
    if (model is None) == (pipeline is None):
        raise click.UsageError("either MODEL or --pipeline is wanted")
    from segexport.commands.serve import ServeOptions, serve

    say = console()
    serve(model, pipeline, chosen(ServeOptions, options), announce=say.data, feedback=say)
