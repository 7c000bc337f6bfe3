"""The file of a recorded reference: its content, writer, and reader, which returns a `RecordedReference`.

`docs/reference-format.md` describes it for other languages. Masks and certainty are PNG files: lossless, small, and
easy to view.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from segexport.artifact import Manifest, ModelArtifact
from segexport.data.dataset import Dataset
from segexport.data.images import decode_label
from segexport.errors import UnreadableError, one_line
from segexport.files.foreign import guarded
from segexport.judge.times import times_of
from segexport.measure import latency, metrics
from segexport.measure.mask_proof import MaskProof
from segexport.references.archive import Archive, ArchiveWriter, new_archive, npy_array, npy_bytes, open_archive
from segexport.references.logits import LogitDigest
from segexport.references.recorded_reference import RecordedImage, RecordedReference
from segexport.report.schema import Latency, Recorded
from segexport.runtimes.base import Prediction, SessionInfo
from segexport.spec import Frozen, Label
from segexport.task.semantic.certainty import decided_pixels

KIND = "segexport-reference"
SCHEMA_VERSION = 1
AGAIN = "segexport reference record MODEL --data DIR -o REF"
_HINT = f"record it again: {AGAIN}"


class Image(RecordedImage):
    """One image of the recording; its arrays are members `images/<index>/...`.

    Attributes:
        margin_edges: No longer written; earlier versions stored margins besides `decided.png`.
    """

    finite: bool = True
    inference_ms: float
    postprocess_ms: float
    margin_edges: tuple[float, ...] = ()
    logits: LogitDigest | None = None


class Data(Frozen):
    """The data set; `label_map` and the classes define the confusion matrices.

    Attributes:
        fingerprint: Fingerprint of the images without their groups, which do not affect masks.
        groups: Grouping of the images; empty: each image is a separate group.
    """

    path: str
    split: str
    labels: tuple[Label, ...]
    labelled: bool
    ignore_index: int
    fingerprint: str
    label_map: dict[str, str] = Field(default_factory=dict)
    groups: str = ""


class RuntimeRecord(Frozen):
    """Runtime and machine of the recording.

    Attributes:
        asked: The requested device.
        driver: The GPU's driver; empty on a CPU.
        processor: The machine, from `environment.describe_machine`.
    """

    runtime: str
    version: str
    provider: str
    device: str
    asked: str
    is_gpu: bool
    driver: str = ""
    threads: int
    load_ms: float
    notes: tuple[str, ...] = ()
    machine: dict[str, Any] = Field(default_factory=dict)


class Noise(Frozen):
    """Compares a second run, in a separate process, with the first: a confident margin has to be larger.

    Attributes:
        differing_pixels: Number in all masks.
        worst_image: Largest fraction of an image's pixels that differ.
        miou_delta: Second run's mIoU minus the first's; without labels, against the first's masks.
    """

    images: int
    pixels: int
    differing_pixels: int
    worst_image: float
    miou_delta: float


class Times(Frozen):
    """Milliseconds of inference, by block, in measuring order; and of preprocessing and postprocessing.

    Attributes:
        sessions: Number of processes; each has the same number of consecutive blocks.
        peak_rss_bytes: Peak memory of a process; 0 if not measured.
    """

    sessions: int = Field(default=1, ge=1)
    peak_rss_bytes: int = Field(default=0, ge=0)
    blocks_ms: tuple[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], ...] = Field(min_length=1)
    first_ms: float
    warm_up_runs: int
    preprocess_ms: float
    postprocess_ms: float


class Header(Frozen):
    """`header.json` without the fields that every archive has.

    Attributes:
        proof: Origin of the masks; missing in older recordings, and for runtimes other than Paddle.
    """

    created: str
    segexport_version: str
    model: Manifest
    data: Data
    runner: RuntimeRecord
    noise: Noise
    proof: MaskProof | None = None
    times: Times | None
    images: tuple[Image, ...] = Field(min_length=1)


@dataclass
class Recorder:
    """Adds images to a reference that is being written."""

    _writer: ArchiveWriter
    _count: int = 0

    def add(self, prediction: Prediction, confusion: np.ndarray) -> None:
        """Writes the arrays of the next image."""
        folder = f"images/{self._count:05d}"
        self._count += 1
        self._writer.add(f"{folder}/mask.png", _png(prediction.mask))
        self._writer.add(f"{folder}/confusion.npy", npy_bytes(confusion.astype(np.int32)))
        if prediction.margin is not None:
            self._writer.add(f"{folder}/decided.png", _png(decided_pixels(prediction.margin)))

    def finish(self, header: Header) -> None:
        """Writes the header."""
        self._writer.finish(KIND, SCHEMA_VERSION, header.model_dump(mode="json"))


@contextmanager
def new_reference(path: Path) -> Iterator[Recorder]:
    """A recording that appears at `path` once it is complete; raises as `archive.new_archive`."""
    with new_archive(path) as writer:
        yield Recorder(writer)


def _png(array: np.ndarray) -> bytes:
    """A PNG whose grey levels are the values: 1 bit for bool, 8 for uint8, 16 for uint16."""
    from PIL import Image as Pillow

    stream = io.BytesIO()
    Pillow.fromarray(array).save(stream, "PNG", optimize=True)
    return stream.getvalue()


@dataclass(frozen=True)
class ReferenceFile:
    """A reference that was read and verified."""

    archive: Archive
    header: Header

    @property
    def digest(self) -> str:
        return self.archive.digest

    def mask(self, index: int) -> np.ndarray:
        """(H, W) uint8 or uint16: the model's classes, at the size of its output."""
        return self._picture(index, "mask.png")

    def decided(self, index: int) -> np.ndarray | None:
        """(H, W) bool: true where the model was confident; None if it outputs no scores."""
        kept = f"images/{index:05d}/decided.png" in self.archive.names
        return self._picture(index, "decided.png").astype(bool) if kept else None

    def confusion(self, index: int) -> np.ndarray:
        """(C, C) int64, or (C, C + 1) with a label map: rows are the truth (without labels, the masks themselves)."""
        name = f"images/{index:05d}/confusion.npy"
        found = npy_array(self.archive.read(name), f"{self.archive.path}: {name}")
        classes = len(self.header.data.labels)
        if (
            found.ndim != 2
            or found.dtype.kind not in "iu"
            or found.shape not in ((classes, classes), (classes, classes + 1))
        ):
            raise UnreadableError(f"{self.archive.path}: {name} is {found.dtype} {found.shape}", hint=_HINT)
        return found.astype(np.int64)

    def scores(self) -> metrics.Scores:
        """The reference's metrics, from the recorded confusion matrices."""
        return metrics.scores(np.sum([self.confusion(index) for index in range(len(self.header.images))], axis=0))

    def as_reference(self) -> RecordedReference:
        """The recording as the check's reference."""
        header, runner = self.header, self.header.runner
        info = SessionInfo(
            runner.runtime, runner.version, runner.provider, runner.device, runner.threads, runner.load_ms, runner.notes
        )
        recorded = Recorded(
            kind="recording",
            created=header.created,
            digest=self.digest,
            images=len(header.images),
            driver=runner.driver,
            noise_pixels=header.noise.differing_pixels,
            noise_miou_delta=header.noise.miou_delta,
        )
        timing = self._timing()
        return RecordedReference(
            source=str(self.archive.path),
            artifact=ModelArtifact(self.archive.path, header.model),
            info=info,
            is_gpu=runner.is_gpu,
            recorded=recorded,
            images={image.name: image for image in header.images},
            predict=self.prediction,
            again=AGAIN,
            fingerprint=header.data.fingerprint,
            groups=header.data.groups,
            times=self._latency(timing),
            timing=timing,
            proof=header.proof,
        )

    def prediction(self, name: str) -> Prediction:
        """The recorded prediction of an image."""
        index = self._places[name]
        image = self.header.images[index]
        mask, decided = self.mask(index), self.decided(index)
        if decided is not None and decided.shape != mask.shape:
            raise UnreadableError(f"{self.archive.path}: mask and certainty of {image.name} differ in size", hint=_HINT)
        return Prediction(mask, None, image.finite, image.inference_ms, image.postprocess_ms, decided)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {image.name: index for index, image in enumerate(self.header.images)}

    def _timing(self) -> latency.Timing | None:
        times = self.header.times
        if times is None:
            return None
        blocks = np.array(times.blocks_ms, np.float64)
        return latency.Timing(
            sessions_ms=blocks.reshape(times.sessions, -1, blocks.shape[1]),
            loads_ms=[self.header.runner.load_ms],
            firsts_ms=[times.first_ms],
            warm_up_runs=times.warm_up_runs,
            peak_rss_bytes=times.peak_rss_bytes,
        )

    def _latency(self, timing: latency.Timing | None) -> Latency | None:
        times, runner = self.header.times, self.header.runner
        if timing is None or times is None:
            return None
        return times_of(timing, runner.threads, runner.device, times.preprocess_ms, times.postprocess_ms)

    def _picture(self, index: int, name: str) -> np.ndarray:
        member = f"images/{index:05d}/{name}"
        return decode_label(self.archive.read(member), name=f"{self.archive.path}: {member}")


@guarded("a recorded reference")
def read_reference(path: Path) -> ReferenceFile:
    """Reads a recording and verifies every byte of it.

    Raises:
        InputError: The recording is missing, truncated, edited or of another version, or the file is no recording.
    """
    archive = open_archive(path, kind=KIND, schema_version=SCHEMA_VERSION, what="a recorded reference", hint=_HINT)
    try:
        header = Header.model_validate(archive.header)
    except ValidationError as error:
        raise UnreadableError(f"{path}: not a valid reference", cause=one_line(error)[:800], hint=_HINT) from error
    if fault := _fault(header, archive.names):
        raise UnreadableError(f"{path}: not a valid reference", cause=fault, hint=_HINT)
    return ReferenceFile(archive, header)


def recording_for(path: Path, data: Dataset, limited: Dataset) -> RecordedReference:
    """Reads a recording that replaces the model on `limited`; it was made on that or on all of `data`.

    Raises:
        InputError: As `read_reference`; or it was recorded on other images.
    """
    recorded = read_reference(path).as_reference()
    recorded.require_data(limited if len(limited) == len(recorded.images) else data)
    return recorded


def _fault(header: Header, members: frozenset[str]) -> str:
    """Faults that the schema does not find; empty if there are none."""
    wanted = {
        f"images/{index:05d}/{name}"
        for index, image in enumerate(header.images)
        for name in ("mask.png", "confusion.npy", *(("decided.png",) if image.margin_edges else ()))
    }
    if len({image.name for image in header.images}) < len(header.images):
        return "an image is named twice"
    if missing := wanted - members:
        return f"{min(missing)} is missing"
    if header.times is not None and len({len(row) for row in header.times.blocks_ms}) != 1:
        return "blocks of times of different lengths"
    if header.times is not None and len(header.times.blocks_ms) % header.times.sessions:
        return f"{len(header.times.blocks_ms)} blocks of times are not those of {header.times.sessions} sessions"
    if sum(entry.size_bytes for entry in header.model.files if entry.role in ("model", "params")) <= 0:
        return "the model has no bytes"
    return ""
