"""Merges the parts of a sharded check; `shard` defines their content."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from segexport import errors
from segexport.artifact import ModelArtifact, digest_of
from segexport.errors import MismatchError, OptionError, SegexportError, UnreadableError, one_line
from segexport.files.foreign import guarded
from segexport.judge.results import Export, Measured, Measurement, ReferenceRun
from segexport.measure.mask_proof import TwinRecord
from segexport.measure.parity import BEST_IMAGES, RANDOM_IMAGES, Comparison, drawn_number
from segexport.references import recheck
from segexport.references.archive import Archive, npy_array, open_archive
from segexport.references.shard import (
    ARRAYS,
    KIND,
    POOLED,
    SCHEMA_VERSION,
    Contestant,
    Part,
    RecordedError,
    StableSessionInfo,
)
from segexport.report.schema import Chosen, ShownImage
from segexport.runtimes.base import SessionInfo
from segexport.task.semantic.counts import PixelCounts
from segexport.task.semantic.judge import PixelJudge
from segexport.verdict import Check, overall

_HINT = "write it again: segexport check EXPORT... --shard I/N -o PART"


@dataclass(frozen=True)
class _Read:
    path: Path
    part: Part
    archive: Archive

    def array(self, place: int, name: str) -> np.ndarray | None:
        member = f"tallies/{place}/{name}.npy"
        if member not in self.archive.names:
            return None
        return npy_array(self.archive.read(member), f"{self.path}: {member}")


@guarded("parts of one sharded check")
def merge(paths: Sequence[Path], pictures: Path) -> Measurement:
    """Merges the parts of one run for `conclude`.

    Args:
        paths: The parts, in any order.
        pictures: Folder for the images that the report shows.

    Raises:
        InputError: Parts are missing, duplicate, damaged, of different runs, or measured by different runtimes.
    """
    parts = sorted((_read(path) for path in paths), key=lambda read: read.part.index)
    _require_whole(parts)
    first = parts[0].part
    order = _order(parts)
    exports = [_merged(parts, place, order) for place in range(1, len(first.contestants))]
    notes = first.notes
    machines = {digest_of(read.part.environment) for read in parts}
    if len(machines) > 1:
        notes = (*notes, f"the parts were measured on {len(machines)} different machines; the first one is described")
    for entry in exports:
        entry.shown = _shown(parts, entry.export.name, order, pictures)
    names = [name for read in parts for name in read.part.names]
    groups = [group for read in parts for group in read.part.groups or ()]
    grouped = tuple(groups[place] for place in order) if groups else None
    reference = _reference(parts)
    comparison = Comparison(
        reference=_counts(parts, 0, order),
        exports={one.export.name: one.counts for one in exports if isinstance(one.counts, PixelCounts)},
        names=tuple(names[place] for place in order),
        labelled=first.dataset.labelled,
        preprocess_ms=0.0,
    )
    return Measurement(
        title=first.title,
        reference=reference,
        exports=exports,
        comparison=comparison,
        judge=PixelJudge(comparison, first.labels, reference.artifact.manifest.labels, grouped),
        groups=grouped,
        labels=first.labels,
        dataset=first.dataset,
        environment=first.environment,
        notes=notes,
    )


def _read(path: Path) -> _Read:
    archive = open_archive(path, kind=KIND, schema_version=SCHEMA_VERSION, what="a part of a sharded check", hint=_HINT)
    try:
        part = Part.model_validate(archive.header)
    except ValidationError as error:
        raise UnreadableError(f"{path}: not a valid part", cause=one_line(error)[:800], hint=_HINT) from error
    shown = [one for contestant in part.contestants for one in contestant.shown]
    pictures = [one.picture for one in shown if one.picture is not None]
    outside = [picture for picture in pictures if not re.fullmatch(r"images/[^/\\]+\.(png|jpg)", picture)]
    unknown = [one.image for one in shown if one.image not in part.names]
    if outside or unknown:
        raise UnreadableError(
            f"{path}: not a valid part", cause=f"a picture of {(unknown or outside)[0]!r}", hint=_HINT
        )
    return _Read(path, part, archive)


def _require_whole(parts: list[_Read]) -> None:
    if not parts:
        raise OptionError("no parts were given", hint="segexport merge PART... -o DIR")
    first = parts[0]
    for read in parts[1:]:
        if (read.part.run, _names(read)) != (first.part.run, _names(first)):
            raise MismatchError(
                f"{read.path}: a part of another run than {first.path}",
                cause="data, exports, reference, limits, options or segexport's version differ",
                hint="all shards have to be called alike, but for --shard and -o",
            )
    indices = [read.part.index for read in parts]
    doubled = sorted({index for index in indices if indices.count(index) > 1})
    missing = sorted(set(range(1, first.part.count + 1)) - set(indices))
    if doubled or missing:
        raise MismatchError(
            f"{len(parts)} parts are not the {first.part.count} of the run",
            cause="; ".join(
                f"{what}: {', '.join(map(str, which))}"
                for what, which in (("missing", missing), ("twice", doubled))
                if which
            ),
            hint="give every part once",
        )
    for read in parts[1:]:
        for one, other in zip(first.part.contestants, read.part.contestants, strict=True):
            if one.runner and other.runner and _program(one.runner) != _program(other.runner):
                raise MismatchError(
                    f"{read.path}: {one.name or 'the reference'} ran in another runtime than in {first.path}",
                    cause=f"{' '.join(_program(other.runner))}, and {' '.join(_program(one.runner))}",
                    hint="install the same versions on all machines",
                )
    for read in parts:
        own, groups = read.part.names, read.part.groups
        if (groups is None) != (first.part.groups is None) or len(groups or own) != len(own):
            raise UnreadableError(f"{read.path}: a part without the groups of its images", hint=_HINT)
    places = sorted(place for read in parts for place in _places(read.part))
    if len(places) != first.part.total or places != list(range(len(places))):
        raise MismatchError(f"{first.path}: the parts hold other images than the data", hint=_HINT)


def _names(read: _Read) -> list[str]:
    return [contestant.name for contestant in read.part.contestants]


def _program(runner: StableSessionInfo) -> tuple[str, str, str]:
    return runner.runtime, runner.version, runner.provider


def _places(part: Part) -> range:
    """Indices of the part's images in the data set."""
    return range(part.first, part.first + part.step * len(part.names), part.step)


def _order(parts: list[_Read]) -> list[int]:
    """Indices into the concatenated parts in the order of the data."""
    return np.argsort(np.concatenate([_places(read.part) for read in parts])).tolist()


def _reference(parts: list[_Read]) -> ReferenceRun:
    first = parts[0].part
    own = first.contestants[0]
    info = _info([read.part.contestants[0] for read in parts])
    if own.manifest is None or info is None:
        raise UnreadableError(f"{parts[0].path}: a part without its reference", hint=_HINT)
    return ReferenceRun(
        artifact=ModelArtifact(Path("."), own.manifest),
        info=info,
        is_gpu=first.is_gpu,
        times=first.recorded_times,
        recorded=first.recorded,
        notes=first.reference_notes,
        proof=first.reference_proof,
        twin=_twin([read.part.contestants[0] for read in parts]),
    )


def _merged(parts: list[_Read], place: int, order: list[int]) -> Measured:
    shares = [read.part.contestants[place] for read in parts]
    first = shares[0]
    artifact = None if first.manifest is None else ModelArtifact(Path("."), first.manifest)
    failed = next((one.error for one in shares if one.error is not None), None)
    return Measured(
        export=Export(first.name, first.format, first.precision, artifact, None, first.limits, first.runtime),
        info=_info(shares),
        counts=None if failed is not None else _counts(parts, place, order),
        operators=first.operators,
        more=_more(shares),
        twin=_twin(shares),
        error=None if failed is None else _error(failed),
    )


def _info(shares: list[Contestant]) -> SessionInfo | None:
    """The session's runtime and device; None if the model was not run."""
    runner = next((one.runner for one in shares if one.runner is not None), None)
    return None if runner is None else SessionInfo(**runner.model_dump(), load_ms=0.0)


def _twin(shares: list[Contestant]) -> TwinRecord | None:
    records = [one.twin for one in shares if one.twin is not None]
    return TwinRecord.joined(records) if records else None


def _more(shares: list[Contestant]) -> list[Check]:
    """The first part's further checks; if the reference is wrong in one part, it is wrong in all."""
    trials = [check for one in shares for check in one.more if check.name == recheck.NAME]
    others = [check for check in shares[0].more if check.name != recheck.NAME]
    verdict = overall(check.verdict for check in trials)
    return others + [check for check in trials if check.verdict is verdict][:1]


def _counts(parts: list[_Read], place: int, order: list[int]) -> PixelCounts:
    shares = [read.part.contestants[place] for read in parts]
    rows = {name: [_rows(read, place, name) for read in parts] for name in ARRAYS}
    pooled = {name: [read.array(place, name) for read in parts] for name in POOLED}
    joined = {name: np.concatenate(arrays) for name, arrays in rows.items()}
    # Images whose mask had a wrong shape have no agreement; then the others are in the order of the parts.
    ordered = {name: array[order] if len(array) == len(order) else array for name, array in joined.items()}
    names = [name for read in parts for name in read.part.names]
    bad = {name for one in shares for name in one.not_finite}
    return PixelCounts(
        class_counts=list(ordered["counts"]),
        boundary=list(ordered["boundary"]),
        confusion=_sum(pooled["confusion"]),
        mask_confusion=_sum(pooled["mask_confusion"]),
        agreement=ordered["agreement"].tolist(),
        decided_agreement=ordered["decided"].tolist(),
        in_common=_in_common(shares),
        not_finite=[names[one] for one in order if names[one] in bad],
        constant_images=sum(one.constant_images for one in shares),
        wrong_shape=next((one.wrong_shape for one in reversed(shares) if one.wrong_shape), ""),
        repeatable=all(one.repeatable for one in shares),
    )


def _in_common(shares: list[Contestant]) -> dict[str, tuple[int, int]]:
    """The sums over the parts."""
    found: dict[str, tuple[int, int]] = {}
    for one in shares:
        for other, (same, differing) in one.in_common.items():
            before = found.get(other, (0, 0))
            found[other] = before[0] + same, before[1] + differing
    return found


def _rows(read: _Read, place: int, name: str) -> np.ndarray:
    """An array with a row per image of the part; the agreement has a row per image with an agreement."""
    rows = read.array(place, name)
    if rows is None or (name == "counts" and len(rows) != len(read.part.names)):
        who = read.part.contestants[place].name or "the reference"
        raise UnreadableError(f"{read.path}: a part without counts for {who} on every image", hint=_HINT)
    return rows


def _sum(arrays: list[np.ndarray | None]) -> np.ndarray | None:
    there = [array for array in arrays if array is not None]
    return np.sum(there, axis=0) if there else None


def _error(failure: RecordedError) -> SegexportError:
    kind = getattr(errors, failure.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, SegexportError)):
        kind = SegexportError
    return kind(failure.what, cause=failure.cause, hint=failure.hint)


def _shown(parts: list[_Read], export: str, order: list[int], pictures: Path) -> tuple[ShownImage, ...]:
    """The images that a check of the whole data shows, chosen among those of the parts."""
    names = [name for read in parts for name in read.part.names]
    turn = {names[place]: index for index, place in enumerate(order)}
    ranks: dict[Chosen, tuple[Callable[[ShownImage], float], int]] = {
        "worst": (lambda image: image.agreement, parts[0].part.worst_images),
        "best": (lambda image: -image.agreement, BEST_IMAGES),
        "random": (lambda image: drawn_number(image.image), RANDOM_IMAGES),
    }
    kept = []
    for chosen, (rank, most) in ranks.items():
        found = [
            (rank(image), turn[image.image], image, read)
            for read in parts
            for one in read.part.contestants
            if one.name == export
            for image in one.shown
            if image.chosen == chosen
        ]
        kept += sorted(found, key=lambda entry: entry[:2])[:most]
    for *_, image, read in kept:
        if (picture := image.picture) is None:  # drawn after the merge
            continue
        place = pictures / picture
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(read.archive.read(picture))
    return tuple(image for _, _, image, _ in kept)
