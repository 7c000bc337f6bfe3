"""Commands for data sets: looked through, converted, split."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from segexport.cli.options import FILE

_IGNORE = click.option("--ignore-index", type=click.IntRange(0, 65535), default=255, show_default=True)


@click.group()
def data() -> None:
    """Data sets: look through one, convert one, split one."""


@data.command("check")
@click.argument("folder", type=FILE)
@click.option("--split", "splits", multiple=True, help="List to read; may be repeated.  [default: train, val, test]")
@click.option("--samples", type=click.IntRange(0), default=10, show_default=True, help="Overlays of each split.")
@_IGNORE
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("-o", "--output", type=FILE, help="New folder for check_dataset_result.json, histogram.svg, overlays.")
@click.pass_obj
def check(console: Any, folder: Path, splits: tuple[str, ...], form: str, output: Path | None, **options: Any) -> None:
    """Read every image and label of FOLDER. Exit code 1: something is wrong with the data."""
    from segexport.data.check import check
    from segexport.data.show import render

    say = console()
    found = check(folder, output, splits=splits or None, progress=say.progress, **options)
    say.data(render(found, form, color=say.stdout_color, width=say.stdout_width))
    sys.exit(0 if found.passed else 1)


@data.command("convert")
@click.argument("folder", type=FILE)
@click.option("--form", type=click.Choice(["labelme", "coco", "voc", "cityscapes"]), help="[default: recognised]")
@click.option("--labels", type=FILE, help="LabelMe: text file with a class name per line, in the order of the ids.")
@click.option("--link", is_flag=True, help="Hard links to the images instead of copies.")
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the new data set.")
@click.pass_obj
def convert(console: Any, folder: Path, output: Path, labels: Path | None, **options: Any) -> None:
    """Turn FOLDER (LabelMe, COCO, Pascal VOC, Cityscapes) into a data set in PaddleSeg's form."""
    from segexport.data.convert import convert
    from segexport.data.dataset_list import read_labels
    from segexport.errors import InputError

    say = console()
    names = read_labels(labels) if labels else None
    if labels and names is None:
        raise InputError(f"{labels}: no such file")
    found = convert(folder, output, labels=names, progress=say.progress, **options)
    for note in found.notes:
        say.warn(note)
    counts = ", ".join(f"{split} {count}" for split, count in found.counts.items())
    say.say(f"{output}: from {found.form}, {len(found.labels)} classes; images: {counts}")


@data.command("split")
@click.argument("folder", type=FILE)
@click.option("--train-percent", type=float, default=90, show_default=True)
@click.option("--val-percent", type=float, default=10, show_default=True)
@click.option("--test-percent", type=float, default=0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other seeds: other divisions.")
@click.option("--stratify", is_flag=True, help="Give each split its part of the images of each class.")
@_IGNORE
@click.pass_obj
def split(console: Any, folder: Path, **options: Any) -> None:
    """Divide FOLDER anew into train.txt, val.txt and test.txt; the old lists are kept as .bak."""
    from segexport.data.split import split

    counts = split(folder, **options)
    console().say(f"{folder}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
