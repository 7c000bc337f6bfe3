"""A reference that ran before: it answers with recorded masks where a model would run, and refuses to be misused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.judge.results import Export, ReferenceRun
from segexport.measure import latency
from segexport.preprocess import place
from segexport.recipe.limits import require_margin_above_noise
from segexport.report.schema import Latency, Recorded
from segexport.runtimes.base import Prediction, SessionInfo
from segexport.spec import Frozen, Preprocess


class RecordedImage(Frozen):
    """An image that a recording knows.

    Attributes:
        name: Its path inside the data set.
        image_sha256, label_sha256: Of the files; no label, no digest.
        width, height: Of the decoded image.
    """

    name: str
    image_sha256: str
    label_sha256: str | None = None
    width: int
    height: int


@dataclass(frozen=True)
class Playback:
    """A recording, ready to stand in for the reference.

    Attributes:
        source: How messages call it: its path.
        artifact: The model's manifest; there are no files behind it.
        images: By name.
        fingerprint: Of the whole data set as it was; empty where only the images count.
        predict: The recorded answer for an image, by name.
        times, timing: As the report shows them, and raw, by block.
        again: The command that makes it anew.
    """

    source: str
    artifact: ModelArtifact
    info: SessionInfo
    is_gpu: bool
    recorded: Recorded
    images: dict[str, RecordedImage]
    predict: Callable[[str], Prediction]
    again: str
    fingerprint: str = ""
    times: Latency | None = None
    timing: latency.Timing | None = None

    def session(self) -> PlaybackSession:
        """What `parity.compare` asks for masks."""
        return PlaybackSession(self.info, self.predict)

    def run(self) -> ReferenceRun:
        """For the report."""
        notes = self.info.notes
        if not self.is_gpu:
            notes = (*notes, f"the {self.recorded.kind} was made on the CPU, as a substitute for a GPU")
        return ReferenceRun(self.artifact, self.info, self.is_gpu, self.times, self.timing, self.recorded, notes)

    def require_data(self, data: Dataset) -> None:
        """Refuses other images, other labels, or fewer of them than were recorded.

        Raises:
            InputError: They differ; how many and which.
        """
        here = {entry.image: entry.label for entry in data.entries}
        missing = [name for name in self.images if name not in here]
        unknown = [name for name in here if name not in self.images]
        changed = [
            f"{name} ({what})"
            for name, label in here.items()
            if name in self.images and (what := _changed(data, self.images[name], label))
        ]
        faults = [
            f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for names, what in (
                (unknown, "not recorded"),
                (missing, "recorded and not here"),
                (changed, "other than recorded"),
            )
            if names
        ]
        if not faults and self.fingerprint and data.fingerprint != self.fingerprint:
            faults = ["the files are the same, but not their order, the class names or ignore_index"]
        if faults:
            hint = f"give the data that it was recorded with, or make it again: {self.again}"
            if unknown and not missing and not changed:
                hint = f"it holds {len(self.images)} of these images: --limit {len(self.images)}, or {self.again}"
            raise InputError(
                f"{self.source}: recorded with other images than {data.root}, split {data.split!r}",
                cause="; ".join(faults),
                hint=hint,
            )

    def require_fit(self, subjects: Sequence[Export]) -> None:
        """Refuses exports of another model or with another preprocessing, and margins below the noise.

        Raises:
            InputError: The first export that does not fit.
        """
        for subject in subjects:
            self._require_same_model(subject)
            self._require_same_preprocess(subject)
            if self.recorded.noise_miou_delta is not None:
                require_margin_above_noise(subject.effective_limits, self.recorded.noise_miou_delta)

    def _require_same_model(self, subject: Export) -> None:
        own, found = self.artifact.manifest.source_sha256, subject.artifact.manifest.source_sha256
        if not found:
            raise InputError(
                f"{subject.name}: does not say which model it was made from, so {self.source} cannot vouch for it",
                cause="its manifest's lineage has no digest of the model's files",
                hint="export it again with this version of segexport, or check it against the model itself",
            )
        if found != own:
            raise InputError(
                f"{subject.name}: made from another model than the one recorded in {self.source}",
                cause=f"the model's files have the digest {found[:12]}..., recorded is {own[:12]}... "
                f"({self.artifact.manifest.name})",
                hint=f"record the model that it was made from: {self.again}",
            )

    def _require_same_preprocess(self, subject: Export) -> None:
        sizes = {(image.width, image.height) for image in self.images.values()}
        own, found = self.artifact.manifest.preprocess, subject.artifact.manifest.preprocess
        if effective(own, sizes) != effective(found, sizes):
            differs = [name for name in Preprocess.model_fields if getattr(own, name) != getattr(found, name)]
            shown = "; ".join(f"{name} {getattr(found, name)}, recorded {getattr(own, name)}" for name in differs)
            raise InputError(
                f"{subject.name}: another preprocessing than the one recorded in {self.source}",
                cause=shown,
                hint=f"masks of other tensors cannot be compared pixel by pixel; record it again: {self.again}",
            )


def effective(preprocess: Preprocess, sizes: set[tuple[int, int]]) -> Preprocess:
    """The contract without the operations that change none of these images' (width, height)."""
    placements = [place(preprocess, *size).sizes for size in sorted(sizes)]
    kept = tuple(
        op
        for index, op in enumerate(preprocess.geometry)
        if any(steps[index] != steps[index + 1] for steps in placements)
    )
    return preprocess.model_copy(update={"geometry": kept})


def _changed(data: Dataset, recorded: RecordedImage, label: str | None) -> str:
    if data.digest(recorded.name) != recorded.image_sha256:
        return "image"
    found = None if label is None else data.digest(label)
    return "" if found == recorded.label_sha256 else "label"


class PlaybackSession:
    """A `Session` without a model. `choose` names the image; its recorded prediction is the answer."""

    def __init__(self, info: SessionInfo, predict: Callable[[str], Prediction]) -> None:
        self.info, self._predict, self._name = info, predict, ""

    def choose(self, name: str) -> None:
        self._name = name

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction:
        return self._predict(self._name)

    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None:
        """Nothing runs."""

    def result(self) -> Prediction:
        return self._predict(self._name)

    def close(self) -> None:
        """Nothing is open."""
