"""A check on several machines: each measures a part of the images, `merge` combines them and decides.

Parts contain counts per image; all figures are computed after the merge, from the images in their original order. So
the merged report equals that of one run without times, byte for byte, except for `created`. Parts of `check --shard`
are files, which another machine merges without models; those of an engine (`check.sharded`) live as long as the check,
which then draws pictures, runs a doubtful reference again, and takes times.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from segexport import __version__
from segexport.artifact import Manifest, digest_of
from segexport.errors import OptionError
from segexport.judge.results import Measured, Measurement, ReferenceRun
from segexport.measure.mask_proof import MaskProof, TwinRecord
from segexport.measure.parity import Counts
from segexport.recipe.limits import Limits
from segexport.references.archive import ArchiveWriter, new_archive, npy_bytes
from segexport.report.schema import DatasetInfo, Latency, Recorded, ShownImage
from segexport.runtimes.base import SessionInfo
from segexport.spec import Format, Frozen, Label, Precision
from segexport.task.semantic.counts import PixelCounts
from segexport.verdict import Check

KIND = "segexport-part"
SCHEMA_VERSION = 2
ARRAYS = ("counts", "boundary", "agreement", "decided")  # a row for each image
POOLED = ("confusion", "mask_confusion")


class StableSessionInfo(Frozen):
    """`SessionInfo` without the fields that differ between starts."""

    runtime: str
    version: str
    provider: str
    device: str
    threads: int
    notes: tuple[str, ...] = ()
    not_run: str = ""


class RecordedError(Frozen):
    """A `SegexportError` in a file."""

    kind: str
    what: str
    cause: str = ""
    hint: str = ""


class Contestant(Frozen):
    """The reference (`name` is empty) or an export; its arrays are members `tallies/<index>/...`.

    Attributes:
        runtime: Name of the requested runtime; empty: the format's first one.
        twin: The record of a watched session.
        in_common: As in `parity.Counts`.
    """

    name: str = ""
    runtime: str = ""
    format: Format
    precision: Precision
    manifest: Manifest | None = None
    limits: Limits | None = None
    runner: StableSessionInfo | None = None
    error: RecordedError | None = None
    not_finite: tuple[str, ...] = ()
    constant_images: int = 0
    wrong_shape: str = ""
    repeatable: bool = True
    twin: TwinRecord | None = None
    in_common: dict[str, tuple[int, int]] = Field(default_factory=dict)
    operators: dict[str, dict[str, int]] = Field(default_factory=dict)
    more: tuple[Check, ...] = ()
    shown: tuple[ShownImage, ...] = ()


class Part(Frozen):
    """header.json of a part.

    Attributes:
        run: Digest of everything that the parts of a run have in common.
        index: Index of the part, from 1.
        first, step: The part has the images `first`, `first + step`, ... of the data set.
        names: The images of this part, in order.
        groups: The group of each image; None: each image is a separate group.
        total: Number of images of all parts.
    """

    segexport_version: str
    run: str
    index: int = Field(ge=1)
    count: int = Field(ge=1)
    first: int = Field(ge=0)
    step: int = Field(ge=1)
    names: tuple[str, ...] = Field(min_length=1)
    groups: tuple[str, ...] | None = None
    total: int
    title: str
    dataset: DatasetInfo
    labels: tuple[Label, ...]
    notes: tuple[str, ...]
    environment: dict[str, Any]
    worst_images: int
    is_gpu: bool
    recorded: Recorded | None = None
    recorded_times: Latency | None = None
    reference_proof: MaskProof | None = None
    reference_notes: tuple[str, ...] = ()
    contestants: tuple[Contestant, ...] = Field(min_length=2)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` -> (2, 8).

    Raises:
        InputError: The text is not `INDEX/COUNT`, or the index is above the count.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise OptionError(f"--shard {text}: not a shard", hint="I/N, for example 2/8 for the second of eight parts")
    return index, count


# -- writing ---------------------------------------------------------------------------------------------------


def write_part(
    path: Path,
    measured: Measurement,
    pictures: Path,
    *,
    index: int,
    count: int,
    worst_images: int,
    first: int | None = None,
) -> None:
    """Writes the measurements of a shard.

    Args:
        measured: The measurements of the shard's images; its `dataset` is the whole data set.
        pictures: The folder that the images of the report were drawn into.
        first: Index of the first image, if the shard is a run of images; None: it has every `count`-th image from its
            index on, as `Dataset.shard`.
    """
    reference, comparison = measured.reference, measured.comparison
    entries = [
        _reference(reference, _pixels(comparison.reference)),
        *(_contestant(entry) for entry in measured.exports),
    ]
    contestants = [contestant for contestant, _ in entries]
    shared = {
        "version": __version__,
        "count": count,
        "dataset": measured.dataset.model_dump(mode="json"),
        "labels": [label.name for label in measured.labels],
        "recorded": measured.reference.recorded and measured.reference.recorded.digest,
        "worst_images": worst_images,
        "models": [[one.name, one.manifest and _identity(one.manifest)] for one in contestants],
        "limits": [one.limits and one.limits.model_dump(exclude_unset=True) for one in contestants],
        "threads": reference.info.threads,
        "title": measured.title,
    }
    part = Part(
        segexport_version=__version__,
        run=digest_of(shared),
        index=index,
        count=count,
        first=index - 1 if first is None else first,
        step=count if first is None else 1,
        names=comparison.names,
        groups=measured.groups,
        total=measured.dataset.images,
        title=measured.title,
        dataset=measured.dataset,
        labels=measured.labels,
        notes=measured.notes,
        environment=measured.environment,
        worst_images=worst_images,
        is_gpu=reference.is_gpu,
        recorded=reference.recorded,
        recorded_times=reference.times if reference.recorded is not None else None,
        reference_proof=reference.proof,
        reference_notes=reference.notes,
        contestants=tuple(contestants),
    )
    with new_archive(path) as writer:
        for place, (contestant, counts) in enumerate(entries):
            if counts is not None and contestant.error is None:
                _write_counts(writer, place, counts)
            for picture in dict.fromkeys(image.picture for image in contestant.shown if image.picture):
                writer.add(picture, (pictures / picture).read_bytes())
        writer.finish(KIND, SCHEMA_VERSION, part.model_dump(mode="json"))


def _reference(run: ReferenceRun, counts: PixelCounts) -> tuple[Contestant, PixelCounts]:
    manifest = run.artifact.manifest
    contestant = Contestant(
        format=manifest.format,
        precision=manifest.target.precision,
        manifest=manifest,
        runner=_runner(run.info),
        twin=run.twin,
        **{name: getattr(counts, name) for name in _SCALARS},
    )
    return contestant, counts


def _identity(manifest: Manifest) -> str:
    return digest_of(manifest.model_dump(mode="json"))


def _contestant(entry: Measured) -> tuple[Contestant, PixelCounts | None]:
    export, error = entry.export, entry.error
    counts = None if entry.counts is None else _pixels(entry.counts)
    failure = error and RecordedError(kind=type(error).__name__, what=error.what, cause=error.cause, hint=error.hint)
    scalars = {} if counts is None else {name: getattr(counts, name) for name in _SCALARS}
    contestant = Contestant(
        name=export.name,
        runtime=export.runtime,
        format=export.format,
        precision=export.precision,
        manifest=export.artifact.manifest if export.artifact is not None else None,
        limits=export.limits,
        runner=None if entry.info is None else _runner(entry.info),
        error=failure or None,
        twin=entry.twin,
        in_common={} if counts is None else counts.in_common,
        operators=entry.operators,
        more=tuple(entry.more),
        shown=entry.shown,
        **scalars,
    )
    return contestant, counts


_SCALARS = ("not_finite", "constant_images", "wrong_shape", "repeatable")


def _runner(info: SessionInfo) -> StableSessionInfo:
    return StableSessionInfo(**{name: getattr(info, name) for name in StableSessionInfo.model_fields})


def _pixels(counts: Counts) -> PixelCounts:
    """Refuses models that do not output the class of each pixel (`task.features`)."""
    if not isinstance(counts, PixelCounts):
        raise TypeError(f"{type(counts).__name__}: a part holds pixels")
    return counts


def _write_counts(writer: ArchiveWriter, place: int, counts: PixelCounts) -> None:
    arrays = {  # `ARRAYS` and `POOLED`
        "counts": np.stack(counts.class_counts),
        "boundary": np.stack(counts.boundary),
        "agreement": np.array(counts.agreement, np.float64),
        "decided": np.array(counts.decided_agreement, np.float64),
        "confusion": counts.confusion,
        "mask_confusion": counts.mask_confusion,
    }
    for name, array in arrays.items():
        if array is not None:
            writer.add(f"tallies/{place}/{name}.npy", npy_bytes(array))
