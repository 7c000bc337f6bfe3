"""`segexport compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.options import FILE, Target, chosen, grouping, import_options, importing


@click.command()
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="PaddleSeg data folder: train.txt, val.txt, labels.txt.")
@click.option(
    "--max-miou-drop",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.005,
    show_default=True,
    help="Loss of mIoU that is allowed, as a fraction of 1.",
)
@click.option("--objective", type=click.Choice(["latency", "size", "flops"]), default="latency", show_default=True)
@click.option("--budget-minutes", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True)
@click.option("--to", type=Target(), default="onnx", show_default=True)
@click.option(
    "--train/--no-train", default=True, show_default=True, help="Try pruning and training, in what time is left."
)
@click.option(
    "--split", default="val", show_default=True, help="Held-out images: half to search, half for the verdict."
)
@click.option(
    "--verdict-split", metavar="NAME", help="Other images for the verdict; then all of --split are searched with."
)
@click.option("--calibration-split", default="train", show_default=True, help="Images to calibrate and to train with.")
@grouping
@click.option("--label-map", type=FILE, help="YAML: class of the model -> class of the data.")
@click.option(
    "--screen-images", type=click.IntRange(2), default=16, show_default=True, help="For a first look at a try."
)
@click.option("--device", default="cpu", show_default=True, help="Where exports run: cpu, gpu:N, adb[:SERIAL].")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--latency-seconds", type=float, default=20.0, show_default=True, help="Of timing for the verdict.")
@importing
@click.option("-o", "--output", type=FILE, required=True, help="Folder for the recipe, the exports and the reports.")
@click.pass_obj
def compress(console: Any, model: Path, output: Path, **options: Any) -> None:
    """Find the best compression of MODEL that loses no more mIoU than you allow.

    Tries quantization layer by layer, then pruning and training, and keeps what pays, measured on images that the model
    was not trained on. The verdict is on images that the search has not seen. A run that was killed goes on where it
    stopped. Exit codes as for `check`.
    """
    import sys

    from segexport.commands.compress import CompressOptions, compress
    from segexport.report import terminal
    from segexport.verdict import exit_code

    say = console()
    found = compress(model, output, import_options(options), chosen(CompressOptions, options), feedback=say)
    say.data(terminal.render(found.report, output, width=say.stdout_width, color=say.stdout_color))
    say.data(found.summary.sentence)
    say.say(f"what was tried: {output / 'search.html'}; again: segexport run {output / 'recipe.yaml'}")
    sys.exit(exit_code(found.report.verdict))
