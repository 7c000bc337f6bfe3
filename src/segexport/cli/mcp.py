"""`segexport mcp`: tools for an assistant."""

from __future__ import annotations

from pathlib import Path

import click

from segexport.cli.command import Command
from segexport.cli.options import FILE

HINT = "pip install 'segexport[mcp]'"


@click.command(cls=Command, examples=["segexport mcp --root models/"])
@click.option("--root", type=FILE, required=True, help="The only folder that the tools may read and write.")
@click.pass_context
def mcp(context: click.Context, root: Path) -> None:
    """Serve segexport's commands as tools of an assistant (Model Context Protocol, over stdin and stdout).

    Tools: inspect, export, check, bench, diagnose, predict, doctor, report. Their arguments are the commands' options,
    their results what `--format json` prints.
    """
    from segexport.errors import EnvironmentMissingError, MissingInputError

    if not root.is_dir():
        raise MissingInputError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    try:
        from segexport.assistant.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("mcp", "mcp_types", "anyio"):
            raise EnvironmentMissingError("this needs the Python package mcp", cause=str(error), hint=HINT) from error
        raise
    tree = context.find_root().command
    assert isinstance(tree, click.Group), "the program is a group of commands"
    serve(tree, root.resolve())
