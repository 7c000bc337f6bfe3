"""Golden packs: a few images with the expected masks, for a phone or a CI without a data set.

A pack is a folder, or the same files in a zip:

    pack.json          the fields below; `digest` covers all other files
    job.json           the same items for the Android app (`runtimes.device_job`)
    input-0.png        8-bit RGB, so that every decoder gives the same pixels; .npy for a model with other channels
    expected-0.png     8-bit grey: the class of each pixel, at the size of the model's output
    manifest.json, ... the export, if the pack was made from one: then the app can run the pack
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, field_validator

from segexport import preprocess
from segexport.artifact import Manifest, ModelArtifact, digest_of, file_digest
from segexport.data.dataset import Dataset
from segexport.data.dataset_list import DatasetEntry
from segexport.data.images import decode_image, decode_label
from segexport.errors import AlteredError, MissingInputError, TooLargeError, UnreadableError, VersionError, one_line
from segexport.files.atomic import write_file
from segexport.files.foreign import guarded
from segexport.files.json_reader import parse_json
from segexport.judge.gates import skipped
from segexport.judge.results import Export
from segexport.recipe.limits import Limits
from segexport.references.logits import LogitDigest, deviation
from segexport.references.recorded_reference import RecordedImage, RecordedReference
from segexport.report.schema import Recorded, Report
from segexport.runtimes.base import Prediction, Session, SessionInfo
from segexport.spec import Frozen, Precision, score_output
from segexport.verdict import Check, Verdict, overall

PACK_NAME = "pack.json"
KIND = "segexport-golden-pack"
SCHEMA_VERSION = 1
AGAIN = "segexport golden make MODEL --data DIR -o PACK"
_HINT = f"make it again: {AGAIN}"
_MAX_BYTES = 1 << 30
_WHAT = "a golden pack"


class Tolerance(Frozen):
    """Limits for an export of one precision on the pack; the first three as in `limits.Limits`."""

    agreement_min: float | None = Field(default=None, ge=0, le=1)
    agreement_worst_image_min: float | None = Field(default=None, ge=0, le=1)
    agreement_class_min: float | None = Field(default=None, ge=0, le=1)
    logits_max: float | None = Field(default=None, ge=0)


class GoldenImage(RecordedImage):
    """An image of the pack: `name` is its file in the pack, `source` its name in the data."""

    source: str
    expected_mask: str
    mask_sha256: str
    logits: LogitDigest | None = None

    @field_validator("name", "expected_mask")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if PurePosixPath(value).name != value or not value or "\\" in value:
            raise ValueError(f"a file of a pack must be in its folder, this one is not: {value!r}")
        return value


class Pack(Frozen):
    """pack.json without `kind`, `schema_version` and `digest`."""

    created: str
    segexport_version: str
    model: Manifest
    runtime: str
    version: str
    provider: str
    device: str
    threads: int
    tolerances: dict[Precision, Tolerance]
    groups: str = ""
    images: tuple[GoldenImage, ...] = Field(min_length=1)


class GoldenPack:
    """A pack that was read and verified."""

    def __init__(self, path: Path, folder: Path, pack: Pack, digest: str) -> None:
        self.path, self.folder, self.pack, self.digest = path, folder, pack, digest

    def data(self) -> Dataset:
        """Its images, without labels."""
        entries = tuple(DatasetEntry(image.name, group=image.group) for image in self.pack.images)
        return Dataset(self.folder, "", entries, groups=self.pack.groups)

    def expected_mask(self, name: str) -> np.ndarray:
        """(H, W) uint8, at the size of the model's output."""
        image = next(image for image in self.pack.images if image.name == name)
        return decode_label(self.folder / image.expected_mask)

    def limits(self, precision: Precision, changes: Limits | None = None) -> Limits:
        """The limits for an export: agreement only, because a pack has no labels and no times."""
        tolerance = self.pack.tolerances.get(precision, Tolerance())
        given = tolerance.model_dump(exclude={"logits_max"})
        return Limits(**given, size_ratio_max=None, latency_ratio_max=None).overridden(changes)

    def as_reference(self) -> RecordedReference:
        """The pack as the check's reference."""
        pack = self.pack
        info = SessionInfo(pack.runtime, pack.version, pack.provider, pack.device, pack.threads, 0.0)
        return RecordedReference(
            source=str(self.path),
            artifact=ModelArtifact(self.folder, pack.model),
            info=info,
            is_gpu="gpu" in pack.provider.lower() or "cuda" in pack.provider.lower(),
            recorded=Recorded(kind="golden pack", created=pack.created, digest=self.digest, images=len(pack.images)),
            images={image.name: image for image in pack.images},
            predict=lambda name: Prediction(self.expected_mask(name), None, True, 0.0, 0.0),
            again=AGAIN,
        )

    def probe(self, export: Export, session: Session) -> list[Check]:
        """Compares the raw scores with the recorded ones; a `check.Probe`."""
        name, manifest = "golden.logits", export.made.manifest
        place = score_output(manifest.outputs)
        recorded = [(image, image.logits) for image in self.pack.images if image.logits is not None]
        if place is None or not recorded:
            who = "the pack" if place is not None else "the export"
            return [skipped(name, f"{who} has classes only, no scores to compare.")]
        worst, where = 0.0, ""
        for image, logits in recorded:
            pixels = decode_image(self.folder / image.name, pixels=manifest.preprocess.pixels)
            tensor, _ = preprocess.apply(manifest.preprocess, pixels, input_spec=manifest.inputs[0])
            found = deviation(session.outputs([tensor])[place], manifest.outputs[place], logits)
            if found >= worst:
                worst, where = found, image.name
        limit = self.pack.tolerances.get(export.precision, Tolerance()).logits_max
        message = f"the scores are {worst:.2g} standard deviations off at worst, on {where}"
        value = worst if math.isfinite(worst) else None
        if limit is None:
            return [skipped(name, f"{message}; not gated at {export.precision.value}.", value=value)]
        verdict = Verdict.PASS if worst <= limit else Verdict.FAIL
        text = f"{message}; the limit is {limit:g}."
        return [Check(name=name, verdict=verdict, message=text, value=value, limit=limit)]


_COSTS = ("size.", "latency.", "compression.")


def agreement_only(report: Report) -> Report:
    """Changes a report on a pack: an export's costs are reported, not gated.

    The pack's model may be the export itself, and there are too few images for times.
    """
    rows = []
    for export in report.exports:
        checks = tuple(
            check.model_copy(update={"gated": False}) if check.name.startswith(_COSTS) else check
            for check in export.checks
        )
        verdict = overall(check.verdict for check in checks if check.gated)
        rows.append(export.model_copy(update={"checks": checks, "verdict": verdict}))
    return report.model_copy(update={"exports": tuple(rows), "verdict": overall(row.verdict for row in rows)})


@contextmanager
def open_pack(path: Path) -> Iterator[GoldenPack]:
    """Reads a pack, folder or zip, and verifies every file that pack.json names.

    Raises:
        InputError: The pack is missing, truncated, edited or of another version, or the file is no pack.
    """
    import tempfile

    if path.is_dir():
        yield _read(path, path)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / (path.stem or "pack")
        folder.mkdir()
        _unzip(path, folder)
        yield _read(path, folder)


@guarded(_WHAT)
def _unzip(path: Path, folder: Path) -> None:
    """The pack's files without the export's, which are in folders and not needed here."""
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file or folder", hint=_HINT)
    try:
        with zipfile.ZipFile(path) as file:
            entries = [entry for entry in file.infolist() if _belongs_to_pack(entry.filename)]
            size = sum(entry.file_size for entry in entries)
            if size > _MAX_BYTES:
                raise TooLargeError(f"{path}: {size} bytes when unpacked; at most {_MAX_BYTES} are read", hint=_HINT)
            for entry in entries:
                write_file(folder / entry.filename, file.read(entry))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UnreadableError(
            f"{path}: not a golden pack, or one that was cut off", cause=str(error), hint=_HINT
        ) from error


def _belongs_to_pack(name: str) -> bool:
    return PurePosixPath(name).name == name and name.endswith((".png", ".npy", ".json"))


@guarded(_WHAT)
def _read(path: Path, folder: Path) -> GoldenPack:
    file = folder / PACK_NAME
    if not file.is_file():
        raise UnreadableError(f"{path}: not a golden pack", cause=f"there is no {PACK_NAME} in it", hint=_HINT)
    try:
        raw: Any = parse_json(file.read_bytes())
    except ValueError as error:
        raise UnreadableError(f"{path}: {PACK_NAME} is not JSON", cause=str(error), hint=_HINT) from error
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        raise UnreadableError(f"{path}: not a golden pack", cause=f"{PACK_NAME} is of another kind", hint=_HINT)
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise VersionError(
            f"{path}: schema_version is {version!r}, this segexport reads {SCHEMA_VERSION}",
            cause="another version of segexport wrote it",
            hint=f"update segexport, or {_HINT}",
        )
    digest = raw.pop("digest", None)
    if digest != digest_of(raw):
        raise AlteredError(f"{path}: {PACK_NAME} was edited or damaged", cause="it has another digest", hint=_HINT)
    try:
        pack = Pack.model_validate(
            {name: value for name, value in raw.items() if name not in ("kind", "schema_version")}
        )
    except ValidationError as error:
        raise UnreadableError(f"{path}: not a valid golden pack", cause=one_line(error)[:800], hint=_HINT) from error
    for image in pack.images:
        for name, wanted in ((image.name, image.image_sha256), (image.expected_mask, image.mask_sha256)):
            if not (folder / name).is_file():
                raise MissingInputError(f"{path}: {name} is missing", cause=f"{PACK_NAME} lists it", hint=_HINT)
            if file_digest(folder / name) != wanted:
                raise AlteredError(f"{path}: {name} was edited or damaged", cause="it has another sha256", hint=_HINT)
    return GoldenPack(path, folder, pack, digest)
