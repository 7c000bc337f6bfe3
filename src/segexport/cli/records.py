"""`segexport sbom`, `attest` and `verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command
from segexport.cli.options import FILE


@click.command(
    cls=Command,
    examples=["segexport sbom out -o sbom.cdx.json"],
    results=["commands.documents:FileDocument"],
)
@click.argument("folder", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="File to write.")
@click.pass_obj
def sbom(console: Any, folder: Path, output: Path) -> None:
    """List the models in FOLDER, and the pinned packages of the toolchains that made them.

    The list is a bill of materials in CycloneDX's JSON, with digests.
    """
    from segexport.commands.documents import FileDocument
    from segexport.files.atomic import write_file
    from segexport.records.sbom import sbom

    say, file = console(), write_file(output, sbom(folder))
    say.say(f"bill of materials: {file}")
    say.result(FileDocument.of(file, "CycloneDX 1.6"))


@click.command(
    cls=Command,
    examples=["segexport attest out --key release.key --new-key", "segexport attest out --key release.key"],
    results=["commands.documents:FileDocument"],
)
@click.argument("folder", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key, in PEM: Ed25519 or ECDSA.")
@click.option("--new-key", is_flag=True, help="Make the key, and its public half KEY.pub.")
@click.pass_obj
def attest(console: Any, folder: Path, key: Path, new_key: bool) -> None:
    """Sign every file in FOLDER: exports, reports, and a bill of materials, which is written.

    The signature needs no network. $SEGEXPORT_KEY_PASSWORD is the password of the key, if it has one.
    """
    from segexport.commands.documents import FileDocument
    from segexport.records.attestation import attest
    from segexport.records.keys import public_path

    say = console()
    file = attest(folder, key, make_key=new_key)
    say.say(f"attestation: {file}; to verify: --key {public_path(key)}")
    say.result(FileDocument.of(file, f"to verify: --key {public_path(key)}"))


@click.command(
    cls=Command,
    examples=["segexport verify out --key release.key.pub"],
    results=["records.attestation:Verified"],
)
@click.argument("folder", type=FILE)
@click.option("--key", type=FILE, required=True, help="Public key, in PEM.")
@click.pass_obj
def verify(console: Any, folder: Path, key: Path) -> None:
    """Compare FOLDER with its signed attestation.

    Exit codes: 0 it is what was signed; 1 a file was changed, added or removed, or another key signed; 2 an error.
    """
    from segexport.records.attestation import verify
    from segexport.ui.console import printable

    say, found = console(), verify(folder, key)
    if say.form != "json":
        shown = [printable(f"{folder / fault.path}: {fault.what}") for fault in found.faults]
        made = f"as signed on {found.created} by segexport {found.segexport_version}"
        say.data("\n".join(shown or [f"{folder}: {found.files} files, {made}"]))
    say.result(found)
    sys.exit(1 if found.faults else 0)
