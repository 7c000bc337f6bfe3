"""`segexport schema`: the JSON schemas of what `--format json` prints."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import click

from segexport.cli.command import Command

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command(
    cls=Command,
    examples=["segexport schema check", "segexport schema data check > data-check.schema.json"],
    results=["commands.documents:AnyDocument"],
)
@click.argument("command", nargs=-1)
@click.pass_context
def schema(context: click.Context, command: tuple[str, ...]) -> None:
    """Print the JSON schema of what COMMAND prints with --format json.

    Without COMMAND, print the names of all commands.
    """
    say = context.obj()
    found = dict(commands(context.find_root().command))
    name = " ".join(command)
    if name and name not in found:
        from segexport.errors import OptionError

        raise OptionError(f"there is no command {name!r}", hint="segexport schema lists them")
    content = schema_of(name, found[name]) if name else {"commands": sorted(found)}
    as_json = bool(name) or say.form == "json"
    say.data(json.dumps(content, indent=2, ensure_ascii=False) if as_json else "\n".join(sorted(found)))


def commands(command: click.Command, name: str = "") -> Iterator[tuple[str, Command]]:
    """Name of each command that has results -> the command; `data check`, without the program's name."""
    if isinstance(command, click.Group):
        for own, inner in command.commands.items():
            yield from commands(inner, f"{name} {own}".strip())
    elif isinstance(command, Command) and command.results:
        yield name, command


def schema_of(name: str, command: Command) -> dict[str, Any]:
    """The JSON schema of everything that a command prints with `--format json`: its documents, and errors."""
    from pydantic.json_schema import models_json_schema

    from segexport.ui.error_document import ErrorDocument

    kinds = [*documents(command), ErrorDocument]
    places, whole = models_json_schema([(kind, "serialization") for kind in kinds], by_alias=True)
    return {
        "$schema": DIALECT,
        "title": f"segexport {name} --format json",
        "anyOf": [places[kind, "serialization"] for kind in kinds],
        "$defs": whole.get("$defs", {}),
    }


def documents(command: Command) -> list[Any]:
    """The pydantic models of a command's documents."""
    found = []
    for place in command.results:
        module, _, name = place.partition(":")
        found.append(getattr(importlib.import_module(f"segexport.{module}"), name))
    return found
