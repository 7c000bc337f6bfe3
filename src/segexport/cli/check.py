"""`segexport check`, `merge` and `report`: exports are compared with their original model."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command, format_option
from segexport.cli.options import (
    FILE,
    FORMS,
    LABEL_MAP,
    LABELS,
    LIMIT,
    LOG,
    ON,
    PREPROCESS,
    SPLIT,
    THREADS,
    against_baseline,
    chosen,
    grouping,
    sized_checkpoint,
    tiling,
)
from segexport.cli.shown_report import finish, show


@click.command(
    cls=Command,
    examples=[
        "segexport check out/onnx-fp32 out/onnx-int8 --reference inference_model/ --data data/ -o out/report",
        "segexport check out/onnx-int8 --golden golden.zip",
        "segexport check out/onnx-int8 --reference model.ref --data data/ --device adb",
    ],
    results=["report.schema:Report", "commands.documents:FileDocument"],
)
@click.argument("exports", type=FILE, nargs=-1, required=True)
@click.option("--reference", type=FILE, help="Original model of the exports, or a recorded reference.")
@click.option("--data", type=FILE, help="Images: a PaddleSeg data folder, or a folder of images.")
@click.option("--golden", type=FILE, help="Golden pack, instead of --reference and --data.")
@SPLIT
@grouping
@LABEL_MAP
@PREPROCESS
@LABELS
@sized_checkpoint("--reference")
@LIMIT
@click.option("--device", default="cpu", show_default=True, help="Device for the exports: cpu, gpu:N, adb[:SERIAL].")
@click.option("--adb", "device", flag_value="adb", help="Use the connected phone, like --device adb.")
@click.option(
    "--runtime",
    metavar="NAME",
    multiple=True,
    help="Runtime for the exports, as listed by `doctor`. Repeatable: a row for each.",
)
@click.option("--reference-device", default="cpu", show_default=True, help="Device for the original: cpu or gpu:N.")
@THREADS
@click.option(
    "--latency",
    type=click.Choice(["off", "warn", "gate"]),
    help="Skip timing, warn about slow exports, or fail them.  [default: warn; gate if --tolerance sets latency]",
)
@click.option(
    "--latency-seconds",
    type=float,
    default=10.0,
    show_default=True,
    help="Longest duration of all timed runs together, in seconds, without loading the models; 0: no timing.",
)
@click.option("--count", is_flag=True, help="Count the instructions of one inference of ONNX exports, as bench does.")
@click.option(
    "--device-result", type=FILE, multiple=True, help="result.json of a phone, to add to the report. Repeatable."
)
@tiling
@click.option("--card", is_flag=True, help="Write the verdict into the model cards (README.md) of the exports.")
@ON
@click.option("--shard", metavar="I/N", help="Measure only part I of N of the images and write it to the file -o.")
@against_baseline
@LOG
@format_option(*FORMS)
@click.option("-o", "--output", type=FILE, help="Folder for report.json, .md, .html and junit.xml.")
@click.pass_obj
def check(console: Any, exports: tuple[Path, ...], form: str, output: Path | None, **options: Any) -> None:
    """Compare EXPORTS with their original model on real images."""
    from segexport.commands.check import CheckOptions, check, check_shard, places_of
    from segexport.exporter.import_options import tiles_from_strings

    say = console()
    tiles = tiles_from_strings(*(options[f"tile_{name}"] for name in ("size", "overlap", "blend")))
    asked = chosen(CheckOptions, {**options, "tiles": tiles})
    if asked.shard is not None:
        from segexport.commands.documents import FileDocument

        told = check_shard(exports, output, asked, feedback=say)
        say.say(told)
        if output is not None:
            say.result(FileDocument.of(output, told))
    else:
        places = functools.partial(places_of, exports, asked)
        finish(say, check(exports, output, asked, feedback=say), output, form, places=places)


@click.command(
    cls=Command,
    examples=["segexport merge part1.shard part2.shard -o out/report"],
    results=["report.schema:Report"],
)
@click.argument("parts", type=FILE, nargs=-1, required=True)
@against_baseline
@LOG
@format_option(*FORMS)
@click.option("-o", "--output", type=FILE, required=True, help="Folder for report.json, .md, .html and junit.xml.")
@click.pass_obj
def merge(console: Any, parts: tuple[Path, ...], form: str, output: Path, **options: Any) -> None:
    """Merge the PARTS of a sharded check into one report.

    The report equals that of one run without times.
    """
    from segexport.commands.check import BaselineOptions, merge

    say = console()
    finish(say, merge(parts, output, chosen(BaselineOptions, options), feedback=say), output, form)


@click.command(
    cls=Command,
    examples=[
        "segexport report out/report/report.json --format markdown",
        "segexport report out/report --format sarif --at exports/onnx-int8 > report.sarif",
    ],
    results=["report.schema:Report"],
)
@click.argument("file", type=FILE)
@format_option(*FORMS)
@click.option(
    "--at",
    type=FILE,
    multiple=True,
    help="Export or recipe, to which annotations, sarif and code-quality attach its findings. Repeatable.",
)
@click.pass_obj
def report(console: Any, file: Path, form: str, at: tuple[Path, ...]) -> None:
    """Show a report.json in another format."""
    from segexport import report as reports
    from segexport.report.places import places_at

    folder = file if file.is_dir() else file.parent
    show(console(), reports.read(file), form, folder, lambda: places_at(at))
