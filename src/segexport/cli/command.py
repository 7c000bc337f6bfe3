"""Classes of commands: help with sections and examples, and global options before or after a command."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

COLOR = "segexport.color"
QUIET = "segexport.quiet"
FORMAT = "segexport.format"
JSON = "json"


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Stores a global option; the last one on the command line counts."""
    if value:
        context.meta[f"segexport.{parameter.name}"] = value


def _choose_store(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    """Sets the variable of the shared store during the command; processes that it starts inherit it. "": none."""
    if value is None:
        return
    from segexport.files.disk import STORE_VARIABLE

    before = os.environ.get(STORE_VARIABLE, "")
    os.environ[STORE_VARIABLE] = value
    context.find_root().call_on_close(lambda: os.environ.update({STORE_VARIABLE: before}))


def global_options() -> list[click.Option]:
    """`--store`; `--color` and `-q/--quiet`, whose values are in `Context.meta` under `COLOR` and `QUIET`."""
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(
            ["--store"],
            metavar="URL",
            expose_value=False,
            callback=_choose_store,
            help="Shared store of outputs: s3://BUCKET/FOLDER, a folder, ...  [default: $SEGEXPORT_STORE]",
        ),
        click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            help="Color the output; auto: only on a terminal.  [default: auto]",
            **shared,
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Print only results, warnings and errors.", **shared),
    ]


def format_option(*choices: str) -> Any:
    """`--format`, whose value the command gets as `form`; the first choice is the default."""
    return click.option("--format", "form", **_format(choices))


def _format(choices: Sequence[str]) -> dict[str, Any]:
    def remember(context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        context.meta[FORMAT] = value
        return value

    return {
        "type": click.Choice(choices),
        "default": choices[0],
        "show_default": True,
        "help": "Format of the standard output.",
        "callback": remember,
    }


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line, which may be wrong otherwise, has `--format json`."""
    return f"--format={JSON}" in arguments or ("--format", JSON) in itertools.pairwise(arguments)


class _Examples:
    """Adds a section "Examples" to the end of `--help`."""

    examples: Sequence[str] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(_Examples, click.Command):
    """A command with the global options, except those whose names it defines itself, and with `--format json`.

    Args:
        examples: Command lines for the end of `--help`.
        results: The documents that `--format json` prints, one of them each time: names such as
            `commands.documents:FileDocument` of pydantic models in segexport. `segexport schema` makes their JSON
            schema; `Console.result` prints them. A command without a `format_option` gets `--format text|json`.
    """

    def __init__(
        self, *arguments: Any, examples: Sequence[str] = (), results: Sequence[str] = (), **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.examples = examples
        self.results = results
        taken = {name for parameter in self.params for name in parameter.opts}
        if results and "--format" not in taken:
            self.params.append(click.Option(["--format"], expose_value=False, **_format(("text", JSON))))
        self.params += [option for option in global_options() if not taken.intersection(option.opts)]


class Group(_Examples, click.Group):
    """A group of commands, listed in sections.

    Args:
        examples: Command lines for the end of `--help`.
        sections: Title of a section -> names of its commands, in the order of `--help`.
    """

    command_class = Command
    group_class = type

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[str] = (),
        sections: Mapping[str, Sequence[str]] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.examples = examples
        self.sections = sections or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = {name for names in self.sections.values() for name in names}
        others = [name for name in self.list_commands(ctx) if name not in listed]
        width = max(map(len, self.commands), default=0)
        for title, names in {**self.sections, "Other" if listed else "Commands": others}.items():
            limit = formatter.width - 6 - width
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit))
                for name in names
                if name in self.commands
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
