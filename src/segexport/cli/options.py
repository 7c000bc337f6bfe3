"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

T = TypeVar("T")
FILE = click.Path(path_type=Path)
FORMS = ("table", "json", "markdown", "html", "junit", "annotations", "sarif", "code-quality", "badge", "shields")
TABLE_OR_JSON = ("table", "json")
THREADS = click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="CPU threads of one inference."
)
SPLIT = click.option("--split", default="val", show_default=True, help="Image list of the data folder, without .txt.")
LIMIT = click.option(
    "--limit", type=click.IntRange(1), help="Maximum number of images, spread over the split.  [default: all]"
)
LABEL_MAP = click.option(
    "--label-map", type=FILE, help="YAML file that maps classes of the model to classes of the data, by name or id."
)

ON = click.option(
    "--on",
    metavar="local[:N]|dask://HOST:PORT",
    help="Run in worker processes: N on this machine (default: as many as fit), or those of a Dask cluster.",
)

PREPROCESS = click.option("--preprocess", type=FILE, help="YAML file with the complete preprocessing.")
LABELS = click.option("--labels", type=FILE, help="Text file with one class name per line.")


_TILING = (
    click.option(
        "--tile-blend",
        type=click.Choice(["center", "average"]),
        help="center: each tile decides its inner part; average: scores are averaged where tiles overlap.  "
        "[default: center]",
    ),
    click.option(
        "--tile-overlap", metavar="WxH", help="Pixels that neighbouring tiles share.  [default: a quarter of a tile]"
    ),
    click.option("--tile-size", metavar="WxH", help="Run larger images in tiles of this size, in pixels."),
)


def tiling(command: Any) -> Any:
    """Adds the options of tiling large images."""
    for option in _TILING:
        command = option(command)
    return command


LOG = click.option(
    "--log",
    metavar="mlflow:URI|tensorboard:DIR",
    multiple=True,
    help="Log the run to MLflow or TensorBoard. Repeatable.",
)


class TargetName(click.ParamType):
    """The name of an installed target. Entry points are read only if it is given, or for the help."""

    name = "target"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        from segexport.pipeline.entry_points import names

        return f"[{'|'.join(names('target'))}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from segexport.errors import InputError
        from segexport.pipeline.entry_points import names, require_known

        try:
            require_known("target", value, names("target"))
        except InputError as error:
            self.fail(f"{error.what}; {error.hint}", param, ctx)
        return value


def sized_checkpoint(model: str) -> Any:
    """Adds the options of `checkpoint`, and `--input-size`, without which some networks cannot be built."""

    def add(command: Any) -> Any:
        text = f"Fix a dynamic input size of {model}, in pixels."
        return checkpoint(model)(click.option("--input-size", metavar="WxH", help=text)(command))

    return add


def checkpoint(model: str) -> Any:
    """Adds `--config` and `--paddleseg`, for a model that may be a training checkpoint.

    Args:
        model: The argument or option that names the model.
    """

    def add(command: Any) -> Any:
        for option in (
            click.option(
                "--paddleseg", type=FILE, help="Checkout of PaddleSeg or PaddleDetection to use with --config."
            ),
            click.option(
                "--config",
                type=FILE,
                help=f"PaddleSeg or PaddleDetection configuration that {model}, a checkpoint, was trained with.",
            ),
        ):
            command = option(command)
        return command

    return add


def importing(command: Any) -> Any:
    """Adds the options of commands that read a model: settings that are missing or wrong in its files."""
    for option in (
        *_TILING,
        click.option(
            "--ignore-index", type=int, default=255, show_default=True, help="Label id to leave out of the metrics."
        ),
        click.option(
            "--std", metavar="R,G,B", help="Standard deviations of the channels (0 to 1), in the network's order."
        ),
        click.option("--mean", metavar="R,G,B", help="Means of the channels (0 to 1), in the network's order."),
        click.option(
            "--color",
            type=click.Choice(["rgb", "bgr", "gray", "bgra", "channels"]),
            help="Channel order of the network input; channels: the order of the image file.",
        ),
        click.option(
            "--postprocess",
            metavar="KIND|FILE",
            help="Make lanes or instances of embeddings: lanes, spatial_embedding, or a YAML file; also multi_scale.",
        ),
        PREPROCESS,
        LABELS,
        click.option("--mask-output", metavar="NAME", help="Model output that holds the mask, if there are several."),
        click.option("--input-size", metavar="WxH", help="Fix a dynamic input size, in pixels."),
        checkpoint("MODEL"),
    ):
        command = option(command)
    return command


def grouping(command: Any) -> Any:
    """Adds `--groups`, for commands that treat images as samples: images of a group are not independent."""
    return click.option(
        "--groups",
        metavar="auto|column|REGEX",
        help="Group dependent images, such as frames of a video: auto: by numbered names; column: by the last column "
        "of the list; or by a pattern on names with (?P<group>...).",
    )(command)


def against_baseline(command: Any) -> Any:
    """Adds the options of a comparison with an earlier report."""
    for option in (
        click.option(
            "--tolerance",
            metavar="NAME=NUMBER",
            multiple=True,
            help="Allowed loss: miou, agreement (fractions of 1), size, instructions, latency (relative). Repeatable.",
        ),
        click.option("--baseline", type=FILE, help="Fail if a result is worse than in this report.json."),
    ):
        command = option(command)
    return command


def import_options(options: dict[str, Any]) -> Any:
    from segexport.exporter.import_options import ImportOptions

    known = ("input_size", "labels", "preprocess", "color", "mean", "std", "mask_output", "ignore_index")
    known += ("config", "paddleseg", "postprocess", "tile_size", "tile_overlap", "tile_blend")
    return ImportOptions.from_strings(**{key: options[key] for key in known if key in options})


def chosen(options: Callable[..., T], given: dict[str, Any]) -> T:
    """Makes an options dataclass from the command line's values."""
    from inspect import signature

    return options(**{name: given[name] for name in signature(options).parameters if name in given})
