"""`segexport reference` and `segexport golden`: record results of the original model, to check exports without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Group, format_option
from segexport.cli.options import (
    FILE,
    LABEL_MAP,
    LIMIT,
    SPLIT,
    TABLE_OR_JSON,
    THREADS,
    chosen,
    grouping,
    import_options,
    importing,
)


@click.group(cls=Group, examples=["segexport reference record inference_model/ --data data/ -o model.ref"])
def reference() -> None:
    """Record masks of the original model.

    `check` then needs only the recorded file, on machines that cannot run the original.
    """


@reference.command(
    "record",
    examples=[
        "segexport reference record inference_model/ --data data/ -o model.ref",
        "segexport check out/onnx-fp32 --reference model.ref --data data/",
    ],
    results=["commands.documents:FileDocument"],
)
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="Images: a PaddleSeg data folder, or a folder of images.")
@SPLIT
@LIMIT
@grouping
@LABEL_MAP
@click.option(
    "--device", default="cpu", show_default=True, help="cpu, or gpu:N with CUDA builds of Paddle or ONNX Runtime."
)
@THREADS
@click.option(
    "--latency-seconds",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Duration of the timed runs, in seconds; 0: no timing.",
)
@importing
@click.option("-o", "--output", type=FILE, required=True, help="New file.")
@click.pass_obj
def record(console: Any, model: Path, data: Path, output: Path, **options: Any) -> None:
    """Run MODEL on images and write its masks to one file, for `segexport check --reference FILE`."""
    from segexport.commands.documents import FileDocument
    from segexport.commands.reference import RecordOptions, record_reference, summary

    say = console()
    found = record_reference(model, data, output, import_options(options), chosen(RecordOptions, options), feedback=say)
    say.say(summary(found, output))
    say.result(FileDocument.of(output, summary(found, output)))


@reference.command(
    "show", examples=["segexport reference show model.ref"], results=["commands.reference:RecordingDocument"]
)
@click.argument("file", type=FILE)
@format_option(*TABLE_OR_JSON)
@click.pass_obj
def show(console: Any, file: Path, form: str) -> None:
    """Verify a recorded reference and show its model, device, images, noise and times."""
    from segexport.commands.reference import describe
    from segexport.references.reference_file import read_reference

    say = console()
    say.data(describe(read_reference(file), form, color=say.stdout_color, width=say.stdout_width))


@click.group(cls=Group, examples=["segexport golden make inference_model/ --data data/ -o golden.zip"])
def golden() -> None:
    """Pack a few images with their expected masks.

    `check --golden` then needs no dataset, on a phone or in a CI job.
    """


@golden.command(
    "make",
    examples=[
        "segexport golden make inference_model/ --data data/ -o golden.zip",
        "segexport check out/onnx-fp32 --golden golden.zip",
    ],
    results=["commands.documents:FileDocument"],
)
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="Images: a PaddleSeg data folder, or a folder of images.")
@SPLIT
@grouping
@click.option("--images", type=click.IntRange(1, 1000), default=8, show_default=True, help="Number of images.")
@click.option("--device", default="cpu", show_default=True, help="Device for MODEL: cpu or gpu:N.")
@THREADS
@importing
@click.option("-o", "--output", type=FILE, required=True, help="Folder, or file that ends in .zip.")
@click.pass_obj
def make(console: Any, model: Path, data: Path, output: Path, **options: Any) -> None:
    """Pack images with the masks of MODEL, an original model or an export for a phone."""
    from segexport.commands.documents import FileDocument
    from segexport.commands.reference import GoldenOptions, make_golden

    say = console()
    make_golden(model, data, output, import_options(options), chosen(GoldenOptions, options), feedback=say)
    say.say(f"{output}: check with `segexport check EXPORT --golden {output}`")
    say.result(FileDocument.of(output, "a golden pack"))
