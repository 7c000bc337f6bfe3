"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

T = TypeVar("T")
FILE = click.Path(path_type=Path)
FORMS = click.Choice(["table", "json", "markdown", "html", "junit", "annotations"])


class Target(click.ParamType):
    """The name of an installed export target; which ones there are is looked up when one is given, or for its help."""

    name = "target"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        from segexport.pipeline.registry import names

        return f"[{'|'.join(names('target'))}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from segexport.errors import InputError
        from segexport.pipeline.registry import names, require_known

        try:
            require_known("target", value, names("target"))
        except InputError as error:
            self.fail(f"{error.what}; {error.hint}", param, ctx)
        return value


def importing(command: Any) -> Any:
    """The options of commands that read a Paddle export: what it does not say about itself, or says wrong."""
    for option in (
        click.option("--ignore-index", type=int, default=255, show_default=True, help="Label that does not count."),
        click.option("--std", metavar="R,G,B", help="Deviations, after /255, one per channel, in the network's order."),
        click.option("--mean", metavar="R,G,B", help="Means, after /255, one per channel, in the network's order."),
        click.option(
            "--color",
            type=click.Choice(["rgb", "bgr", "gray", "bgra", "channels"]),
            help="Channels that the network wants; channels: those of the file, in its order.",
        ),
        click.option("--preprocess", type=FILE, help="YAML file with all of the preprocessing."),
        click.option("--labels", type=FILE, help="Text file with a class name per line."),
        click.option("--mask-output", metavar="NAME", help="The output that the mask is made from, of several."),
        click.option("--input-size", metavar="WxH", help="Fix free input sides."),
    ):
        command = option(command)
    return command


def grouping(command: Any) -> Any:
    """The option of commands that judge by images: which of them are not independent."""
    return click.option(
        "--groups",
        metavar="auto|column|REGEX",
        help="Images that belong together, as frames of a video: by names that count up, by the list's last column, or "
        "by a pattern on names with (?P<group>...).",
    )(command)


def against_baseline(command: Any) -> Any:
    """The options of commands whose report may be held against an earlier one."""
    for option in (
        click.option(
            "--tolerance",
            metavar="NAME=NUMBER",
            multiple=True,
            help="Loss that is let pass: miou, agreement (fractions of 1), size, latency (relative).",
        ),
        click.option("--baseline", type=FILE, help="Fail on what is worse than in this report.json."),
    ):
        command = option(command)
    return command


def import_options(options: dict[str, Any]) -> Any:
    from segexport.exporter.from_paddle import ImportOptions

    known = ("input_size", "labels", "preprocess", "color", "mean", "std", "mask_output", "ignore_index")
    return ImportOptions.from_strings(**{key: options[key] for key in known if key in options})


def chosen(options: Callable[..., T], given: dict[str, Any]) -> T:
    """An options dataclass from what the command line read."""
    from inspect import signature

    return options(**{name: given[name] for name in signature(options).parameters if name in given})
