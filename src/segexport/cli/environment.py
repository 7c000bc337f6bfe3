"""`segexport doctor` and `cache`: this machine."""

from __future__ import annotations

import sys
from typing import Any

import click

from segexport.cli.command import Command, Group, format_option
from segexport.cli.options import TABLE_OR_JSON


@click.command(cls=Command, examples=["segexport doctor"], results=["commands.doctor:DoctorDocument"])
@format_option(*TABLE_OR_JSON)
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


@click.group(
    cls=Group,
    invoke_without_command=True,
    examples=["segexport cache ls", "segexport cache gc --older-than-days 7", "segexport cache gc --shared --dry-run"],
)
@click.pass_context
def cache(context: click.Context) -> None:
    """Build cache: list and remove outputs of earlier runs.

    Without a command: what is in the local cache and in the shared store, and what they have saved.
    """
    if context.invoked_subcommand is None:
        from segexport.commands.cache import levels

        context.obj().data(levels())


SHARED = click.option("--shared", is_flag=True, help="Those in the shared store: --store, or $SEGEXPORT_STORE.")


@cache.command(
    "ls",
    examples=["segexport cache ls", "segexport cache ls --shared --store s3://team/segexport"],
    results=["commands.documents:CacheDocument"],
)
@SHARED
@click.pass_obj
def cache_ls(console: Any, shared: bool) -> None:
    """List the cached outputs."""
    from segexport.commands.cache import entries

    say, found = console(), entries(shared)
    if say.form == "json":
        from segexport.commands.documents import CacheDocument

        say.result(CacheDocument.of(found, shared=shared))
        return
    for entry in found:
        say.data(f"{entry.key[:16]}  {entry.size_bytes:>12,} bytes")
    say.say(f"{len(found)} outputs, {sum(entry.size_bytes for entry in found):,} bytes")


@cache.command(
    "gc",
    examples=[
        "segexport cache gc",
        "segexport cache gc --older-than-days 0",
        "segexport cache gc --shared --dry-run --store s3://team/segexport",
    ],
    results=["commands.documents:RemovedDocument"],
)
@click.option(
    "--older-than-days",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Minimum time unused, in days; 0: all.",
)
@SHARED
@click.option("--dry-run", is_flag=True, help="With --shared: list what would be removed, and remove nothing.")
@click.pass_obj
def cache_gc(console: Any, older_than_days: float, shared: bool, dry_run: bool) -> None:
    """Remove outputs that have not been used for a while.

    In the shared store, an output that somebody has used within the last hour stays at any age.
    """
    from segexport.commands.cache import collect, collect_shared
    from segexport.commands.documents import RemovedDocument

    say = console()
    if not shared:
        if dry_run:
            raise click.UsageError("--dry-run goes with --shared")
        removed, freed = collect(older_than_days)
        say.say(f"{removed} outputs removed, {freed:,} bytes freed")
        say.result(RemovedDocument(removed=removed, freed_bytes=freed))
        return
    found = collect_shared(older_than_days, dry_run)
    for output in found.outputs if dry_run and say.form != "json" else ():
        say.data(f"{output.key[:16]}  {output.size_bytes:>12,} bytes")
    words = ("would be removed", "would be freed") if dry_run else ("removed", "freed")
    in_use = f"; {found.in_use} in use stay" if found.in_use else ""
    leftovers = f" and {len(found.leftovers)} files of killed uploads" if found.leftovers else ""
    say.say(f"{len(found.outputs)} outputs{leftovers} {words[0]}, {found.freed_bytes:,} bytes {words[1]}{in_use}")
    counts = {"leftovers": len(found.leftovers), "in_use": found.in_use, "dry_run": dry_run}
    say.result(RemovedDocument(removed=len(found.outputs), freed_bytes=found.freed_bytes, **counts))
