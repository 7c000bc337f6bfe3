"""`segexport toolchain`: install and remove the environments of converters and runtimes."""

from __future__ import annotations

import sys
from typing import Any

import click

from segexport.cli.command import Group
from segexport.cli.options import TABLE_OR_JSON, format_option


@click.group(cls=Group, examples=["segexport toolchain install", "segexport toolchain install paddle-lite"])
def toolchain() -> None:
    """Install and remove converters and runtimes.

    Each toolchain has its own environment. All projects of this machine share it.
    """


@toolchain.command("list", examples=["segexport toolchain list"])
@format_option(TABLE_OR_JSON)
@click.pass_obj
def list_(console: Any, form: str) -> None:
    """List the toolchains with state, versions, size and location."""
    from segexport.commands.toolchain import list_toolchains, render

    say = console()
    say.data(render(list_toolchains(), form, color=say.stdout_color, width=say.stdout_width))


@toolchain.command("install", examples=["segexport toolchain install", "segexport toolchain install paddle-lite"])
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_obj
def install(console: Any, names: tuple[str, ...]) -> None:
    """Install toolchains, by default all that this machine supports.

    The packages are pinned and verified by hash, and each toolchain is tested after installation. Toolchains that
    the current environment already provides are skipped. Installation uses uv if available, which can also download
    a suitable Python, otherwise venv and pip.
    """
    from segexport.commands.toolchain import install_toolchains

    say = console()
    failed = install_toolchains(names, progress=say.progress, say=say.say)
    for _, error in failed:
        say.error(error)
    sys.exit(2 if failed else 0)


@toolchain.command(
    "remove", examples=["segexport toolchain remove paddle-lite", "segexport toolchain remove --outdated"]
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--outdated", is_flag=True, help="Remove environments that this version of segexport does not use.")
@click.pass_obj
def remove(console: Any, names: tuple[str, ...], outdated: bool) -> None:
    """Remove the environments of toolchains."""
    from segexport.commands.toolchain import remove_toolchains

    if not names and not outdated:
        raise click.UsageError("name a toolchain, or give --outdated")
    count, freed = remove_toolchains(names, outdated=outdated)
    console().say(f"{count} environments removed, {freed / 1e6:.0f} MB freed")
