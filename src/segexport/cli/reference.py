"""Commands that record what the original says, so that exports can be checked without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.options import FILE, chosen, grouping, import_options, importing


@click.group()
def reference() -> None:
    """Recorded references: the original's masks in one file, for machines that cannot run it."""


@reference.command("record")
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="Images: a PaddleSeg data folder, or a folder of images.")
@click.option("--split", default="val", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="At most so many images, spread over the split.")
@grouping
@click.option("--label-map", type=FILE, help="YAML: class of the model -> class of the data.")
@click.option("--device", default="cpu", show_default=True, help="cpu, or gpu:0 for Paddle or ONNX Runtime with CUDA.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--latency-seconds", type=click.FloatRange(0), default=10.0, show_default=True, help="0: no times.")
@importing
@click.option("-o", "--output", type=FILE, required=True, help="The new file.")
@click.pass_obj
def record(console: Any, model: Path, data: Path, output: Path, **options: Any) -> None:
    """Run MODEL on images and keep what it says in one file, for `segexport check --reference FILE`."""
    from segexport.commands.reference import RecordOptions, record_reference, summary

    say = console()
    found = record_reference(model, data, output, import_options(options), chosen(RecordOptions, options), feedback=say)
    say.say(summary(found, output))


@reference.command("show")
@click.argument("file", type=FILE)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def show(console: Any, file: Path, form: str) -> None:
    """Say what a recorded reference holds: model, device, images, noise, times; every byte of it is verified."""
    from segexport.commands.reference import describe
    from segexport.references.reference_file import read_reference

    say = console()
    say.data(describe(read_reference(file), form, color=say.stdout_color, width=say.stdout_width))


@click.group()
def golden() -> None:
    """Golden packs: a few images with the masks that must come out, for a phone or a CI without the data."""


@golden.command("make")
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="Images: a PaddleSeg data folder, or a folder of images.")
@click.option("--split", default="val", show_default=True)
@grouping
@click.option("--images", type=click.IntRange(1, 1000), default=8, show_default=True, help="Spread over the split.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@importing
@click.option("-o", "--output", type=FILE, required=True, help="A folder, or a file that ends in .zip.")
@click.pass_obj
def make(console: Any, model: Path, data: Path, output: Path, **options: Any) -> None:
    """Pack images of DATA with the masks of MODEL, an original or an export that a phone is to run."""
    from segexport.commands.reference import GoldenOptions, make_golden

    say = console()
    make_golden(model, data, output, import_options(options), chosen(GoldenOptions, options), feedback=say)
    say.say(f"{output}: check with `segexport check EXPORT --golden {output}`")
