"""Commands that run a model on images: metrics, pictures, pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from segexport.cli.options import FILE, import_options, importing


class Size(click.ParamType):
    """`512` or `1024x512` (width x height); `-1` where that means something.

    Args:
        or_own: Whether -1, the image's own size, is one.
    """

    name = "size"

    def __init__(self, *, or_own: bool = False) -> None:
        self._or_own = or_own

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if self._or_own and value == "-1":
            return -1
        sides = value.lower().split("x")
        if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
            also = "-1, " if self._or_own else ""
            self.fail(f"{value!r} is not a size: {also}512, or 1024x512 (width x height)", param, ctx)
        return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


_BATCH_SIZE = click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images of one run, where the export takes batches of any size.  [default: 1]",
)


def _running(command: Callable) -> Callable:
    """Options of commands that save what a model says."""
    for option in (
        click.option("--json", "with_json", is_flag=True, help="Write the mask as JSON too, beside the picture."),
        click.option(
            "--kind",
            type=click.Choice(["overlay", "color", "mask"]),
            default="overlay",
            show_default=True,
            help="Picture that is written; mask: the class ids, as PNG.",
        ),
        _BATCH_SIZE,
        click.option("--slice-size", type=Size(), metavar="WxH", help="Cut large images into overlapping windows."),
        click.option(
            "--target-size",
            type=Size(or_own=True),
            metavar="WxH",
            help="Size that the network sees; -1: the image's own.  [default: as the model says]",
        ),
        click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "--data", type=FILE, required=True, help="A PaddleSeg data folder with labels; for objects, COCO's or Pascal VOC's."
)
@click.option("--split", default="val", show_default=True)
@click.option("--metric", type=click.Choice(["COCO", "VOC"]), help="For objects.  [default: as the data's form is]")
@_BATCH_SIZE
@click.option("--device", default="cpu", show_default=True, help="cpu, or gpu:0 where the model's runtime has one.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--details", is_flag=True, help="The confusion matrix too; for objects, all of them.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@importing
@click.option("-o", "--output", type=FILE, help="JSON file for the metrics.")
@click.pass_obj
def evaluate(console: Any, model: Path, data: Path, split: str, form: str, output: Path | None, **options: Any) -> None:
    """Metrics of MODEL, of any format, on labelled images."""
    import segexport
    from segexport.commands.evaluate import evaluate
    from segexport.files.atomic import write_file
    from segexport.task.open_data import open_data

    say = console()
    images = open_data(data, split, ignore_index=options["ignore_index"])
    opening = {name: options[name] for name in ("device", "threads")}
    with segexport.load(str(model), **opening, importing=import_options(options)) as opened:
        asked = {name: options[name] for name in ("details", "metric", "batch_size")}
        say.warn_of(opened.artifact)
        found = evaluate(opened, images, **asked, progress=say.progress)
    if output is not None:
        write_file(output, (found.render("json", color=False, width=0) + "\n").encode())
    say.data(found.render(form, color=say.stdout_color, width=say.stdout_width))


@click.command()
@click.argument("model", type=FILE)
@click.argument("inputs", nargs=-1, required=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, or gpu:0 where the model's runtime has one.")
@_running
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    help="Objects below it are left out.  [default: 0.5; only for models that find objects]",
)
@importing
@click.option("-o", "--output", type=FILE, help="Folder for the pictures; without, only what is there is told.")
@click.pass_obj
def predict(console: Any, model: Path, inputs: tuple[str, ...], device: str, threads: int, **options: Any) -> None:
    """Segment INPUTS with MODEL: image files, folders of images, URLs."""
    import segexport
    from segexport.predict.options import PredictOptions
    from segexport.task.registry import task_of

    asked = PredictOptions(**{name: options[name] for name in PredictOptions.__dataclass_fields__})
    with segexport.load(str(model), device=device, threads=threads, importing=import_options(options)) as opened:
        say = console()
        say.warn_of(opened.artifact)
        results = task_of(opened.artifact.manifest).predictions(opened, list(inputs), asked)
        _save(say, results, **{name: options[name] for name in ("kind", "with_json", "output")})


@click.command()
@click.argument("pipeline", required=False)
@click.option("--get-config", metavar="NAME", help="Write the YAML of this pipeline: semantic_segmentation.")
@click.option("--input", "inputs", multiple=True, help="Image file, folder or URL; may be repeated.")
@click.option("--model", type=FILE, help="In place of the file's model.")
@click.option("--device", help="In place of the file's device.")
@_running
@click.option("-o", "--output", type=FILE, help="Folder for the pictures; with --get-config, the YAML file.")
@click.pass_obj
def pipeline(
    console: Any, pipeline: str | None, get_config: str | None, inputs: tuple[str, ...], **options: Any
) -> None:
    """Run PIPELINE, a YAML file that names a model and its settings, on images; or write such a file."""
    from segexport.files.atomic import write_file
    from segexport.predict.model_pipeline import config_text, create_pipeline

    say = console()
    if get_config is not None:
        text, output = config_text(get_config), options["output"]
        if output is None:
            say.data(text)
        else:
            say.say(f"{write_file(output, text.encode(), replace=False)}: name your model in it")
        return
    if pipeline is None or not inputs:
        raise click.UsageError("PIPELINE and --input are wanted, or --get-config")
    opening = {name: options[name] for name in ("model", "device", "threads")}
    sizes = {name: options[name] for name in ("batch_size", "target_size", "slice_size")}
    with create_pipeline(pipeline, **opening) as opened:
        results = opened.predict(list(inputs), **sizes, score_map=False)
        _save(say, results, **{name: options[name] for name in ("kind", "with_json", "output")})


def _save(say: Any, results: Iterator[Any], *, kind: str, with_json: bool, output: Path | None) -> None:
    from segexport.commands.predict import save
    from segexport.ui.console import printable

    for line in save(results, output, kind=kind, with_json=with_json, progress=say.progress):
        say.data(printable(line))
