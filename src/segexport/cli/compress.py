"""`segexport compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command
from segexport.cli.options import (
    FILE,
    LABEL_MAP,
    LOG,
    ON,
    THREADS,
    TargetName,
    chosen,
    grouping,
    import_options,
    importing,
)


@click.command(
    cls=Command,
    examples=[
        "segexport compress inference_model/ --data data/ -o out/",
        "segexport compress inference_model/ --data data/ --max-miou-drop 0.01 --objective size -o out/",
    ],
    results=["commands.compress:CompressDocument"],
)
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="PaddleSeg data folder: train.txt, val.txt, labels.txt.")
@click.option(
    "--max-miou-drop",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.005,
    show_default=True,
    help="Allowed loss of mIoU, as a fraction of 1.",
)
@click.option(
    "--objective",
    type=click.Choice(["latency", "size", "flops"]),
    default="latency",
    show_default=True,
    help="Quantity to minimize.",
)
@click.option(
    "--budget-minutes",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Time limit of search and verdict, in minutes.",
)
@click.option("--to", type=TargetName(), default="onnx", show_default=True, help="Export target.")
@click.option(
    "--train/--no-train", default=True, show_default=True, help="Try pruning and training in the remaining time."
)
@click.option(
    "--split", default="val", show_default=True, help="Held-out images: half for the search, half for the verdict."
)
@click.option(
    "--verdict-split", metavar="NAME", help="Images for the verdict; the search then uses all images of --split."
)
@click.option("--calibration-split", default="train", show_default=True, help="Images for calibration and training.")
@grouping
@LABEL_MAP
@click.option(
    "--screen-images",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Number of images for the first measurement of a candidate.",
)
@click.option("--device", default="cpu", show_default=True, help="Device for the exports: cpu, gpu:N, adb[:SERIAL].")
@THREADS
@click.option(
    "--latency-seconds",
    type=float,
    default=20.0,
    show_default=True,
    help="Duration of the timed runs for the verdict, in seconds.",
)
@ON
@LOG
@importing
@click.option("-o", "--output", type=FILE, required=True, help="Folder for the recipe, exports and reports.")
@click.pass_obj
def compress(console: Any, model: Path, output: Path, **options: Any) -> None:
    """Compress MODEL as far as the allowed mIoU loss permits.

    The search tries quantization layer by layer, then pruning and training. It measures every candidate on held-out
    images and proves the result on images that the search did not use. Run the same command again to resume an
    interrupted search. The exit codes are those of `check`.
    """
    import sys

    from segexport.commands.compress import CompressDocument, CompressOptions, compress
    from segexport.report import terminal
    from segexport.verdict import exit_code

    say = console()
    found = compress(model, output, import_options(options), chosen(CompressOptions, options), feedback=say)
    if say.form == "json":
        say.result(CompressDocument(summary=found.summary, report=found.report))
    else:
        say.data(terminal.render(found.report, output, width=say.stdout_width, color=say.stdout_color))
        say.data(found.summary.sentence)
    say.say(f"candidates: {output / 'search.html'}; to repeat: segexport run {output / 'recipe.yaml'}")
    sys.exit(exit_code(found.report.verdict))
