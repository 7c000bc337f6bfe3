"""`segexport doctor` and `cache`: this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from segexport.cli.command import Command, Group
from segexport.cli.options import TABLE_OR_JSON, format_option


@click.command(cls=Command, examples=["segexport doctor"])
@format_option(TABLE_OR_JSON)
@click.pass_obj
def doctor(console: Any, form: str) -> None:
    """Check installed runtimes and converters.

    Exit code 2: no export target or no runtime works.
    """
    from segexport.commands.doctor import examine, obstacle, render

    say = console()
    findings = examine(say.progress)
    say.data(render(findings, form, color=say.stdout_color, width=say.stdout_width))
    if (error := obstacle(findings)) is not None:
        say.error(error)
        sys.exit(2)


@click.group(cls=Group, examples=["segexport cache ls", "segexport cache gc --older-than-days 7"])
def cache() -> None:
    """Build cache: list and remove outputs of earlier runs."""


@cache.command("ls", examples=["segexport cache ls"])
@click.pass_obj
def cache_ls(console: Any) -> None:
    """List the cached outputs."""
    from segexport.files.store import Store

    entries = list(Store().entries())
    for entry in entries:
        console().data(f"{entry.key[:16]}  {entry.size_bytes:>12,} bytes")
    console().say(f"{len(entries)} outputs, {sum(entry.size_bytes for entry in entries):,} bytes")


@cache.command("gc", examples=["segexport cache gc", "segexport cache gc --older-than-days 0"])
@click.option(
    "--older-than-days", type=float, default=30.0, show_default=True, help="Minimum time unused, in days; 0: all."
)
@click.pass_obj
def cache_gc(console: Any, older_than_days: float) -> None:
    """Remove outputs that have not been used for a while."""
    from segexport.files.store import Store

    removed, freed = Store().collect(older_than_days=older_than_days)
    console().say(f"{removed} outputs removed, {freed:,} bytes freed")
