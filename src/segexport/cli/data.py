"""`segexport data`: check, convert and split datasets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Group, format_option
from segexport.cli.options import FILE, TABLE_OR_JSON

_IGNORE = click.option(
    "--ignore-index",
    type=click.IntRange(0, 65535),
    default=255,
    show_default=True,
    help="Label id of pixels without a class.",
)


@click.group(cls=Group, examples=["segexport data check data/", "segexport data split data/"])
def data() -> None:
    """Check, convert and split datasets."""


@data.command(
    "check",
    examples=["segexport data check data/", "segexport data check data/ --split val -o out/data"],
    results=["data.check:DataDocument"],
)
@click.argument("folder", type=FILE)
@click.option("--split", "splits", multiple=True, help="Image list to read. Repeatable.  [default: train, val, test]")
@click.option("--samples", type=click.IntRange(0), default=10, show_default=True, help="Number of overlays per split.")
@_IGNORE
@format_option(*TABLE_OR_JSON)
@click.option("-o", "--output", type=FILE, help="New folder for check_dataset_result.json, histogram.svg and overlays.")
@click.pass_obj
def check(console: Any, folder: Path, splits: tuple[str, ...], form: str, output: Path | None, **options: Any) -> None:
    """Check every image and label of the dataset FOLDER.

    Exit code 1: the dataset has faults.
    """
    from segexport.data.check import check
    from segexport.data.show import render

    say = console()
    found = check(folder, output, splits=splits or None, progress=say.progress, **options)
    say.data(render(found, form, color=say.stdout_color, width=say.stdout_width))
    sys.exit(0 if found.passed else 1)


@data.command(
    "convert",
    examples=["segexport data convert coco/ -o data/"],
    results=["commands.documents:ConvertedDocument"],
)
@click.argument("folder", type=FILE)
@click.option(
    "--form", type=click.Choice(["labelme", "coco", "voc", "cityscapes"]), help="Form of FOLDER.  [default: detected]"
)
@click.option("--labels", type=FILE, help="LabelMe: text file with one class name per line, in order of class id.")
@click.option("--link", is_flag=True, help="Create hard links to the images instead of copies.")
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the new dataset.")
@click.pass_obj
def convert(console: Any, folder: Path, output: Path, labels: Path | None, **options: Any) -> None:
    """Convert FOLDER (LabelMe, COCO, Pascal VOC, Cityscapes) to a PaddleSeg dataset."""
    from segexport.commands.documents import ConvertedDocument
    from segexport.data.convert import convert
    from segexport.data.dataset_list import read_labels
    from segexport.errors import MissingInputError

    say = console()
    names = read_labels(labels) if labels else None
    if labels and names is None:
        raise MissingInputError(f"{labels}: no such file")
    found = convert(folder, output, labels=names, progress=say.progress, **options)
    for note in found.notes:
        say.warn(note)
    counts = ", ".join(f"{split} {count}" for split, count in found.counts.items())
    say.say(f"{output}: from {found.form}, {len(found.labels)} classes; images: {counts}")
    say.result(ConvertedDocument(path=str(output), **vars(found)))


@data.command(
    "split",
    examples=["segexport data split data/ --train-percent 80 --val-percent 20 --stratify"],
    results=["commands.documents:SplitDocument"],
)
@click.argument("folder", type=FILE)
@click.option("--train-percent", type=float, default=90, show_default=True, help="Share of train.txt, in percent.")
@click.option("--val-percent", type=float, default=10, show_default=True, help="Share of val.txt, in percent.")
@click.option("--test-percent", type=float, default=0, show_default=True, help="Share of test.txt, in percent.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random split.")
@click.option(
    "--stratify", is_flag=True, help="Distribute the images of each class over the splits in the same proportions."
)
@_IGNORE
@click.pass_obj
def split(console: Any, folder: Path, **options: Any) -> None:
    """Split the dataset FOLDER into train.txt, val.txt and test.txt.

    Existing lists are renamed to .bak.
    """
    from segexport.commands.documents import SplitDocument
    from segexport.data.split import split

    say, counts = console(), split(folder, **options)
    say.say(f"{folder}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    say.result(SplitDocument(path=str(folder), counts=counts))
