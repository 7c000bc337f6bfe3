"""The commands that make and remove the environments of toolchains."""

from __future__ import annotations

import sys
from typing import Any

import click


@click.group()
def toolchain() -> None:
    """Converters and runtimes, each in an environment of its own, shared by all projects of this machine.

    \b
    segexport toolchain install             all that this machine can hold
    segexport toolchain install paddle-lite
    """


@toolchain.command("list")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def list_(console: Any, form: str) -> None:
    """List the toolchains: state, versions, size, place."""
    from segexport.commands.toolchain import list_toolchains, render

    say = console()
    say.data(render(list_toolchains(), form, color=say.stdout_color, width=say.stdout_width))


@toolchain.command("install")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_obj
def install(console: Any, names: tuple[str, ...]) -> None:
    """Install toolchains, by default all that this machine can hold.

    Each gets pinned packages, checked by their hashes, and is tried before it counts. What this environment has
    already is not installed again. uv is used where it is there, and brings a Python; else venv and pip.
    """
    from segexport.commands.toolchain import install_toolchains

    say = console()
    failed = install_toolchains(names, progress=say.progress, say=say.say)
    for _, error in failed:
        say.error(error)
    sys.exit(2 if failed else 0)


@toolchain.command("remove")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--outdated", is_flag=True, help="Those that this version of segexport does not use.")
@click.pass_obj
def remove(console: Any, names: tuple[str, ...], outdated: bool) -> None:
    """Remove the environments of toolchains."""
    from segexport.commands.toolchain import remove_toolchains

    if not names and not outdated:
        raise click.UsageError("name a toolchain, or give --outdated")
    count, freed = remove_toolchains(names, outdated=outdated)
    console().say(f"{count} environments removed, {freed / 1e6:.0f} MB freed")
