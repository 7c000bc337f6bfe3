"""`segexport toolchain`: install and remove the environments of converters and runtimes."""

from __future__ import annotations

import sys
from typing import Any

import click

from segexport.cli.command import Group, format_option
from segexport.cli.options import TABLE_OR_JSON


@click.group(cls=Group, examples=["segexport toolchain install", "segexport toolchain install paddle-lite"])
def toolchain() -> None:
    """Install and remove converters and runtimes.

    Each toolchain has its own environment. All projects of this machine share it.
    """


@toolchain.command("list", examples=["segexport toolchain list"], results=["commands.toolchain:ToolchainsDocument"])
@format_option(*TABLE_OR_JSON)
@click.pass_obj
def list_(console: Any, form: str) -> None:
    """List the toolchains with state, versions, size and location."""
    from segexport.commands.toolchain import list_toolchains, render

    say = console()
    say.data(render(list_toolchains(), form, color=say.stdout_color, width=say.stdout_width))


@toolchain.command(
    "install",
    examples=["segexport toolchain install", "segexport toolchain install paddle-lite"],
    results=["commands.documents:InstalledDocument"],
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_obj
def install(console: Any, names: tuple[str, ...]) -> None:
    """Install toolchains, by default all that this machine supports.

    The packages are pinned and verified by hash, and each toolchain is tested after installation. Toolchains that
    the current environment already provides are skipped. Installation uses uv if available, which can also download
    a suitable Python, otherwise venv and pip.
    """
    from segexport.commands.documents import InstalledDocument
    from segexport.commands.toolchain import install_toolchains
    from segexport.ui.error_document import ErrorDetail

    say, told = console(), []

    def tell(text: str) -> None:
        told.append(text)
        say.say(text)

    failed = install_toolchains(names, progress=say.progress, say=tell)
    for _, error in failed:
        say.error(error)
    details = {name: ErrorDetail.of(error) for name, error in failed}
    say.result(InstalledDocument(messages=tuple(told), failed=details))
    sys.exit(2 if failed else 0)


@toolchain.command(
    "remove",
    examples=["segexport toolchain remove paddle-lite", "segexport toolchain remove --outdated"],
    results=["commands.documents:RemovedDocument"],
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--outdated", is_flag=True, help="Remove environments that this version of segexport does not use.")
@click.pass_obj
def remove(console: Any, names: tuple[str, ...], outdated: bool) -> None:
    """Remove the environments of toolchains."""
    from segexport.commands.documents import RemovedDocument
    from segexport.commands.toolchain import remove_toolchains

    if not names and not outdated:
        raise click.UsageError("name a toolchain, or give --outdated")
    count, freed = remove_toolchains(names, outdated=outdated)
    say = console()
    say.say(f"{count} environments removed, {freed / 1e6:.0f} MB freed")
    say.result(RemovedDocument(removed=count, freed_bytes=freed))
