"""Signed attestations of folders: an in-toto Statement v1 about every file, in a DSSE envelope.

DSSE: https://github.com/secure-systems-lab/dsse. in-toto: https://github.com/in-toto/attestation, spec v1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import field_validator

from segexport import __version__
from segexport import report as reports
from segexport.artifact import file_digest
from segexport.errors import InputError, MissingInputError, UnreadableError, cannot_read
from segexport.files.atomic import write_file
from segexport.files.json_reader import parse_json
from segexport.measure.environment import now
from segexport.records.keys import new_key, public_key, signer
from segexport.records.sbom import SBOM_NAME, models_in, sbom, toolchains_of
from segexport.records.small_file import read_small
from segexport.spec import Frozen

ATTESTATION_NAME = "attestation.intoto.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://github.com/segexport/segexport/blob/main/docs/records.md#attestation-v1"
_PAYLOAD = "application/vnd.in-toto+json"
_MAX_BYTES = 64 << 20


class Fault(Frozen):
    """A difference between a folder and its attestation.

    Attributes:
        path: The file, relative to the folder; bytes that are no text are escaped.
        what: What is wrong with it.
    """

    path: str
    what: str

    @field_validator("path", mode="before")
    @classmethod
    def _text(cls, path: str) -> str:
        return os.fsencode(path).decode(errors="backslashreplace")


class Verified(Frozen):
    """The result of a verification; the folder is the attested one if there are no faults.

    Attributes:
        files: How many files the attestation names; 0 if its signature does not hold.
        created, segexport_version: When it was signed, and by which segexport; empty if the signature does not hold.
    """

    faults: tuple[Fault, ...] = ()
    files: int = 0
    created: str = ""
    segexport_version: str = ""


def attest(folder: Path, key: Path, *, make_key: bool = False) -> Path:
    """Writes a bill of materials and an attestation of every file into a folder; returns the attestation's path.

    Args:
        key: The private key.
        make_key: Whether the key is made; it must not exist.

    Raises:
        SegexportError: The folder has a link, a broken model or a broken report; the key cannot be used; a package is
            missing.
    """
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: no such folder")
    for file in (key, key.with_name(f"{key.name}.pub")):
        if file.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{file}: the key lies in the folder that it signs", hint="keep it apart from the files")
    models, report = models_in(folder), folder / reports.REPORT_NAME
    result = reports.read(report) if report.is_file() else None
    bill = sbom(folder)
    for name, path in _paths(folder):
        if not _is_plain(path):
            raise InputError(f"{path}: a link, or no plain file", cause="an attestation is about bytes")
        if os.fsencode(name).decode(errors="replace") != name:
            raise InputError(f"{name!r}: a file's name that is no text", hint="rename it")
    holder = new_key(key) if make_key else signer(key)
    write_file(folder / SBOM_NAME, bill)
    subjects = [{"name": path, "digest": {"sha256": digest}} for path, digest in _digests(folder)]
    predicate: dict[str, Any] = {
        "created": now(),
        "segexport": __version__,
        "models": [
            {
                "path": model.path.relative_to(folder).as_posix(),
                "name": model.manifest.name,
                "format": str(model.manifest.format),
                "precision": model.manifest.target.precision.value,
                "digest": {"sha256": model.digest},
            }
            for model in models
        ],
        "toolchains": [
            {"name": chain.name, "lock": {"sha256": file_digest(chain.lock)}} for chain in toolchains_of(models)
        ],
    }
    if result is not None:
        predicate["verdict"] = result.verdict.value
        predicate["exports"] = {export.name: export.verdict.value for export in result.exports}
    statement = {"_type": STATEMENT, "subject": subjects, "predicateType": PREDICATE, "predicate": predicate}
    from securesystemslib.dsse import Envelope

    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    envelope = Envelope(payload, _PAYLOAD, {})
    envelope.sign(holder)
    return write_file(folder / ATTESTATION_NAME, json.dumps(envelope.to_dict(), indent=2) + "\n")


def verify(folder: Path, key: Path) -> Verified:
    """Compares a folder with its attestation, and that with a public key. Nothing of the attestation is used before its
    signature holds.

    Raises:
        InputError: There is no attestation, it is not readable, or the key is not.
        EnvironmentMissingError: A package is missing.
    """
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: no such folder")
    holder = public_key(key)
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    file = folder / ATTESTATION_NAME
    hint = "`segexport attest FOLDER --key KEY` writes it"
    raw = _json(read_small(file, "an attestation", limit=_MAX_BYTES, hint=hint), file)
    try:
        envelope = Envelope.from_dict(raw)
    except Exception as error:  # the library's errors for a wrong form are of many kinds
        cause = f"{type(error).__name__}: {error}"[:200]
        raise UnreadableError(f"{file}: not a DSSE envelope", cause=cause) from None
    try:
        envelope.verify([holder], threshold=1)
    except VerificationError:
        own = holder.keyid in envelope.signatures
        what = "the signature does not hold: the attestation was changed" if own else f"not signed with the key {key}"
        return Verified(faults=(Fault(path=ATTESTATION_NAME, what=what),))
    statement = _json(envelope.payload, file)
    if envelope.payload_type != _PAYLOAD or statement.get("_type") != STATEMENT:
        raise UnreadableError(f"{file}: no in-toto statement", cause=f"{envelope.payload_type}, signed with this key")
    try:
        attested = {str(one["name"]): str(one["digest"]["sha256"]) for one in statement["subject"]}
        predicate = dict(statement["predicate"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{file}: a statement without files", cause=repr(error)) from None
    return Verified(
        faults=tuple(_faults(attested, dict(_digests(folder)))),
        files=len(attested),
        created=str(predicate.get("created", "")),
        segexport_version=str(predicate.get("segexport", "")),
    )


def _faults(attested: dict[str, str], found: dict[str, str | None]) -> Iterator[Fault]:
    for path in sorted({*attested, *found}):
        if path not in found:
            yield Fault(path=path, what="missing")
        elif found[path] is None:
            yield Fault(path=path, what="a link, or no plain file")
        elif path not in attested:
            yield Fault(path=path, what="not in the attestation: it was added later")
        elif found[path] != attested[path]:
            yield Fault(path=path, what="changed: another sha256")


def _paths(folder: Path) -> list[tuple[str, Path]]:
    """Every file below a folder but the attestation, and every link, with its name in the folder; sorted."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [Path(root) / name for name in (*names, *links)]
    named = sorted((path.relative_to(folder).as_posix(), path) for path in found)
    return [(name, path) for name, path in named if name != ATTESTATION_NAME or path.is_symlink()]


def _is_plain(path: Path) -> bool:
    return not path.is_symlink() and path.is_file()


def _digests(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Each file's name and sha256 (hex); None for what is no plain file."""
    for name, path in _paths(folder):
        try:
            yield name, file_digest(path) if _is_plain(path) else None
        except OSError as error:
            raise cannot_read(path, error) from None


def _json(data: bytes, file: Path) -> dict[str, Any]:
    try:
        found = parse_json(data)
    except ValueError as error:
        raise UnreadableError(f"{file}: not JSON", cause=str(error)) from None
    if not isinstance(found, dict):
        raise UnreadableError(f"{file}: not an attestation", cause=f"it is a {type(found).__name__}")
    return found
