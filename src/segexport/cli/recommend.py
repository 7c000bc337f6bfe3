"""`segexport recommend`: which trained network fits a device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command, format_option
from segexport.cli.options import FILE, TABLE_OR_JSON, TargetName, chosen

_POSITIVE = click.FloatRange(0, min_open=True)


@click.command(
    cls=Command,
    examples=[
        "segexport recommend --for android --max-size 5",
        "segexport recommend --to paddle-lite --min-miou 0.45 -o networks.html",
        "segexport recommend --runtime onnxruntime --max-ms 40 --format json",
    ],
    results=["commands.recommend_network:NetworkDocument"],
)
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["android", "server"]),
    help="Only targets and precisions that fit this purpose.",
)
@click.option("--to", "target", type=TargetName(), multiple=True, help="Only this target. Repeatable.")
@click.option("--runtime", metavar="NAME", multiple=True, help="Only what ran in this runtime. Repeatable.")
@click.option("--max-size", type=_POSITIVE, metavar="MB", help="Largest size of the files, in MB of 1,000,000 bytes.")
@click.option("--max-ms", type=_POSITIVE, metavar="MS", help="Longest time of an image on the device of the table.")
@click.option("--min-miou", type=click.FloatRange(0, 1), help="Smallest mIoU on the data of the table.")
@click.option(
    "--table", "rows", type=FILE, help="Measured rows: a file of benchmarks/trained_zoo.py.  [default: this version's]"
)
@format_option(*TABLE_OR_JSON)
@click.option("-o", "--output", type=FILE, help="HTML page with the table and plots.")
@click.pass_obj
def recommend(
    console: Any, rows: Path | None, form: str, output: Path | None, max_size: float | None, **options: Any
) -> None:
    """Recommend a network to train, from measured accuracy, size and time.

    For a model that you have, `segexport export MODEL --for PURPOSE` recommends an export. Exit code 1: nothing fits.
    """
    from segexport.commands.recommend_network import recommend_network
    from segexport.zoo.choice import Wishes

    say = console()
    size = None if max_size is None else round(max_size * 1e6)
    found = recommend_network(chosen(Wishes, {**options, "max_size_bytes": size}), rows, output)
    say.data(found.render(form, color=say.stdout_color, width=say.stdout_width))
    if output is not None:
        say.say(f"page: {output}")
    sys.exit(0 if found.choice.recommended else 1)
