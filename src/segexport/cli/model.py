"""Commands that run a model on images: `evaluate`, `predict` and `pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command, format_option
from segexport.cli.options import (
    FILE,
    LABEL_MAP,
    SPLIT,
    TABLE_OR_JSON,
    THREADS,
    chosen,
    import_options,
    importing,
)

_DEVICE = click.option(
    "--device", default="cpu", show_default=True, help="Device for MODEL: cpu, or gpu:N if the runtime supports it."
)

RUNTIME = click.option(
    "--runtime", metavar="NAME", help="Runtime of MODEL, or fastest: measured once.  [default: first of its format]"
)


class Size(click.ParamType):
    """A size: `512` or `1024x512` (width x height); optionally `-1`.

    Args:
        or_own: Whether -1, the size of the image, is allowed.
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
    help="Images per inference, if the export accepts any batch size.  [default: 1]",
)


def _running(command: Callable) -> Callable:
    """Adds the options of commands that save predictions."""
    for option in (
        click.option("--json", "with_json", is_flag=True, help="Also write the mask as JSON."),
        click.option(
            "--kind",
            type=click.Choice(["overlay", "color", "mask"]),
            default="overlay",
            show_default=True,
            help="Image to write; mask: PNG file with class ids.",
        ),
        _BATCH_SIZE,
        click.option(
            "--slice-size",
            type=Size(),
            metavar="WxH",
            help="Split large images into overlapping windows of this size, in pixels.  [default: off]",
        ),
        click.option(
            "--target-size",
            type=Size(or_own=True),
            metavar="WxH",
            help="Input size of the network, in pixels; -1: size of the image.  [default: set by the model]",
        ),
        THREADS,
    ):
        command = option(command)
    return command


@click.command(
    cls=Command,
    examples=[
        "segexport evaluate out/onnx-int8 --data data/",
        "segexport evaluate inference_model/ --data data/ --split test --details -o metrics.json",
    ],
    results=["commands.evaluate:MaskMetrics", "commands.evaluate:ObjectMetrics"],
)
@click.argument("model", type=FILE)
@click.option(
    "--data",
    type=FILE,
    required=True,
    help="PaddleSeg data folder with labels; for instance segmentation a COCO or Pascal VOC folder.",
)
@SPLIT
@LABEL_MAP
@click.option(
    "--metric",
    type=click.Choice(["COCO", "VOC"]),
    help="Metric for instance segmentation.  [default: the form of the data]",
)
@_BATCH_SIZE
@_DEVICE
@THREADS
@click.option("--details", is_flag=True, help="Show the confusion matrix; for instance segmentation all metrics.")
@format_option(*TABLE_OR_JSON)
@importing
@click.option("-o", "--output", type=FILE, help="JSON file for the metrics.")
@click.pass_obj
def evaluate(console: Any, model: Path, data: Path, split: str, form: str, output: Path | None, **options: Any) -> None:
    """Measure the accuracy of MODEL on labelled images.

    MODEL is a Paddle export or an export in any format.
    """
    from segexport.commands.evaluate import EvaluateOptions, evaluate
    from segexport.files.atomic import write_file

    say = console()
    asked = chosen(EvaluateOptions, {**options, "data": data, "split": split})
    found = evaluate(model, import_options(options), asked, feedback=say)
    if output is not None:
        write_file(output, found.render("json", color=False, width=0).encode())
    say.data(found.render(form, color=say.stdout_color, width=say.stdout_width))


@click.command(
    cls=Command,
    examples=[
        "segexport predict out/onnx-int8 photo.jpg -o out/pictures",
        "segexport predict inference_model/ images/ --kind mask -o out/masks",
        "segexport predict portrait_model/ clip.mp4 --background blur -o out",
    ],
    results=["commands.documents:PredictionDocument"],
)
@click.argument("model", type=FILE)
@click.argument("inputs", nargs=-1, required=True)
@_DEVICE
@RUNTIME
@_running
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    help="Minimum score of an object, in instance segmentation.  [default: 0.5]",
)
@click.option(
    "--smooth/--no-smooth",
    default=True,
    show_default=True,
    help="Smooth the masks of a video along the optical flow.",
)
@click.option(
    "--flow",
    type=click.Choice(["dis", "blocks"]),
    default="dis",
    show_default=True,
    help="Optical flow of --smooth; blocks: block matching, as on Android.",
)
@click.option(
    "--background",
    metavar="WHAT",
    help="Behind the foreground of a video: blur, #rrggbb or an image file; or matte: the opacity as grey; cutout: PNG "
    "files with the opacity.  [default: the mask over the frames]",
)
@click.option(
    "--foreground",
    multiple=True,
    metavar="CLASS",
    help="Class in front, for --background. Repeatable.  [default: all but class 0]",
)
@click.option("--frames", type=click.IntRange(1), help="Most frames of a video.  [default: all]")
@importing
@click.option(
    "-o",
    "--output",
    type=FILE,
    help="Folder for images and videos, or the file of one video.  [default: print the classes only]",
)
@click.pass_obj
def predict(console: Any, model: Path, inputs: tuple[str, ...], device: str, threads: int, **options: Any) -> None:
    """Segment images and videos with MODEL.

    INPUTS are image files, folders of images, URLs, video files or cameras (camera:0).
    """
    from segexport.runtimes.ahead import start_ahead

    start_ahead(model, device=device, threads=threads, runtime=options["runtime"] or "")
    from segexport.commands.predict import SaveOptions, predict
    from segexport.predict.options import PredictOptions
    from segexport.video.options import VideoOptions

    say = console()
    asked, saving, video = chosen(PredictOptions, options), chosen(SaveOptions, options), chosen(VideoOptions, options)
    running = {"video": video, "device": device, "threads": threads, "runtime": options["runtime"] or ""}
    _show(say, predict(model, inputs, import_options(options), asked, saving, **running, feedback=say))


@click.command(
    cls=Command,
    examples=[
        "segexport pipeline --get-config semantic_segmentation -o pipeline.yaml",
        "segexport pipeline pipeline.yaml --input images/ -o out/pictures",
    ],
    results=[
        "commands.documents:PredictionDocument",
        "commands.documents:FileDocument",
        "commands.documents:TextDocument",
    ],
)
@click.argument("pipeline", required=False)
@click.option("--get-config", metavar="NAME", help="Write the YAML file of this pipeline: semantic_segmentation.")
@click.option("--input", "inputs", multiple=True, help="Image file, folder or URL. Repeatable.")
@click.option("--model", type=FILE, help="Model to use instead of the one in PIPELINE.")
@click.option("--device", help="Device to use instead of the one in PIPELINE: cpu or gpu:N.")
@click.option(
    "--runtime", metavar="NAME", help="Runtime to use instead of the one in PIPELINE; fastest: measured once."
)
@_running
@click.option(
    "-o", "--output", type=FILE, help="Folder for the images; with --get-config the YAML file.  [default: none]"
)
@click.pass_obj
def pipeline(
    console: Any, pipeline: str | None, get_config: str | None, inputs: tuple[str, ...], **options: Any
) -> None:
    """Run a PaddleX-style pipeline on images.

    PIPELINE is a YAML file with a model and its settings; --get-config writes one.
    """
    from segexport.commands.documents import FileDocument, TextDocument
    from segexport.commands.predict import SaveOptions, save
    from segexport.files.atomic import write_file
    from segexport.predict.model_pipeline import config_text, create_pipeline

    say = console()
    if get_config is not None:
        text, output = config_text(get_config), options["output"]
        if output is not None:
            say.say(f"{write_file(output, text.encode(), replace=False)}: name your model in it")
            say.result(FileDocument.of(output, "a pipeline"))
        elif say.form == "json":
            say.result(TextDocument(text=text))
        else:
            say.data(text)
        return
    if pipeline is None or not inputs:
        raise click.UsageError("give PIPELINE and --input, or --get-config")
    opening = {name: options[name] for name in ("model", "device", "runtime", "threads")}
    sizes = {name: options[name] for name in ("batch_size", "target_size", "slice_size")}
    with create_pipeline(pipeline, **opening) as opened:
        results = opened.predict(list(inputs), **sizes, score_map=False)
        _show(say, save(results, chosen(SaveOptions, options), progress=say.progress))


def _show(say: Any, results: Iterator[Any]) -> None:
    from segexport.ui.console import printable

    if say.form == "json":
        from segexport.commands.documents import PredictionDocument

        say.result(PredictionDocument(results=tuple(saved.document for saved in results)))
        return
    for saved in results:
        say.data(printable(saved.line))
