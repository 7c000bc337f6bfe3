"""A recorded reference: returns recorded masks instead of running a model, and refuses other images or models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segexport.artifact import Manifest, ModelArtifact
from segexport.data.dataset import Dataset
from segexport.errors import InputError, MismatchError
from segexport.judge.results import REFERENCE, Export, ReferenceRun
from segexport.measure import latency
from segexport.measure.mask_proof import MaskProof
from segexport.measure.parity import Comparison, ModelUnderTest
from segexport.preprocess import place
from segexport.recipe.limits import require_margin_above_noise
from segexport.references.recheck import Again, Contradiction, without_model
from segexport.report.schema import Latency, Recorded
from segexport.runtimes.base import Prediction, SessionInfo
from segexport.spec import Frozen, Preprocess
from segexport.verdict import Check


class RecordedImage(Frozen):
    """An image of a recording.

    Attributes:
        name: Path inside the data set.
        image_sha256, label_sha256: Digests of the files; the second is missing without a label.
        width, height: Size of the decoded image in pixels.
        group: Group of the image, if the data has groups.
    """

    name: str
    image_sha256: str
    label_sha256: str | None = None
    width: int
    height: int
    group: str = ""


@dataclass(frozen=True)
class RecordedReference:
    """A recording that replaces the model; a `Reference`.

    Attributes:
        source: Its path, for messages.
        artifact: The model's manifest, without files.
        images: The recorded images by name.
        fingerprint: Fingerprint of the whole data set when recorded; empty: only the images are compared.
        groups: Grouping of the images; empty: each image is a separate group.
        predict: Returns the recorded prediction of an image, by name.
        times, timing: The times for the report, and raw times by block.
        again: The command that records it again.
        proof: Origin of the masks, if recorded.
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
    groups: str = ""
    times: Latency | None = None
    timing: latency.Timing | None = None
    proof: MaskProof | None = None

    @property
    def unproven(self) -> bool:
        """Whether the masks are those of Paddle's optimized program, which is wrong for some networks.

        Recordings without a proof come from versions that ran the optimized program, unless it was wrong on the first
        image.
        """
        return self.info.runtime == "paddle" and self.proof is None and "plain" not in self.info.provider

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report on how the masks were made."""
        if not self.unproven:
            return self.info.notes
        found = f"the {self.recorded.kind}'s masks are those of Paddle's optimized program ({self.info.provider})"
        return (*self.info.notes, f"{found}, and nothing proves that they are right; make it again: {self.again}")

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.artifact.manifest.name, self.artifact.digest, self.recorded.digest)

    def open(self) -> ModelUnderTest:
        """A session that replays recorded results; the caller names each image, which its tensor cannot identify."""
        manifest, session = self.artifact.manifest, RecordedSession(self.info, self.predict)
        return ModelUnderTest(REFERENCE, session, manifest, manifest.preprocess, choose=session.choose)

    def open_again(self) -> ModelUnderTest:
        """Refuses: there is no model."""
        raise _refused("there is no model that could run again")

    def shared_preprocess(self, exports: Sequence[ModelArtifact]) -> None:
        """None: the masks belong to the recorded tensors."""

    def program(self, image: np.ndarray, graph: str, contract: Preprocess) -> None:
        """None: its times were recorded, if at all."""

    def recheck(self, contradiction: Contradiction, comparison: Comparison, again: Again) -> dict[str, Check]:
        """Uses only the recorded proof: there is no model to run."""
        return without_model(contradiction, comparison, unproven=self.unproven, again=self.again)

    def run(
        self, info: SessionInfo, proof: MaskProof | None, comparison: Comparison, timing: latency.Timing | None
    ) -> ReferenceRun:
        """The recorded proof."""
        return self.recorded_run

    @property
    def recorded_run(self) -> ReferenceRun:
        """Describes the recording for the report."""
        notes = self.notes
        if not self.is_gpu:
            notes = (*notes, f"the {self.recorded.kind} was made on the CPU, as a substitute for a GPU")
        return ReferenceRun(
            self.artifact, self.info, self.is_gpu, self.times, self.timing, self.recorded, notes, self.proof
        )

    def require_data(self, data: Dataset) -> None:
        """Refuses other images, other labels, or fewer images than recorded.

        Raises:
            InputError: They differ; the error says how many and which.
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
        if not faults and self.fingerprint and data.ungrouped().fingerprint != self.fingerprint:
            faults = ["the files are the same, but not their order, the class names or ignore_index"]
        if faults:
            hint = f"give the data that it was recorded with, or make it again: {self.again}"
            if unknown and not missing and not changed:
                hint = f"it contains {len(self.images)} of these images: --limit {len(self.images)}, or {self.again}"
            raise MismatchError(
                f"{self.source}: recorded with other images than {data.root}, split {data.split!r}",
                cause="; ".join(faults),
                hint=hint,
            )

    def with_groups(self, data: Dataset) -> Dataset:
        """The data with the recorded groups, if it has none."""
        if data.groups or not self.groups:
            return data
        entries = tuple(replace(entry, group=self.images[entry.image].group) for entry in data.entries)
        return replace(data, entries=entries, groups=self.groups)

    def require_fit(self, exports: Sequence[Export]) -> None:
        """Refuses exports of another model or with another preprocessing, and margins below the noise.

        Raises:
            InputError: An export does not match; the error names the first one.
        """
        for export in exports:
            if export.artifact is not None:
                self._require_same_model(export.name, export.artifact.manifest)
                self._require_same_preprocess(export.name, export.artifact.manifest)
                if self.recorded.noise_miou_delta is not None:
                    require_margin_above_noise(export.effective_limits, self.recorded.noise_miou_delta)

    def _require_same_model(self, export: str, manifest: Manifest) -> None:
        own, given = self.artifact.manifest.source_sha256, manifest.source_sha256
        if not given:
            raise MismatchError(
                f"{export}: does not record which model it was made from, so {self.source} may not be its reference",
                cause="its manifest's lineage has no digest of the model's files",
                hint="export it again with this version of segexport, or check it against the model itself",
            )
        if given != own:
            raise MismatchError(
                f"{export}: made from another model than the one recorded in {self.source}",
                cause=f"the model's files have the digest {given[:12]}..., recorded is {own[:12]}... "
                f"({self.artifact.manifest.name})",
                hint=f"record the model that it was made from: {self.again}",
            )

    def _require_same_preprocess(self, export: str, manifest: Manifest) -> None:
        sizes = {(image.width, image.height) for image in self.images.values()}
        own, given = self.artifact.manifest.preprocess, manifest.preprocess
        if effective(own, sizes) != effective(given, sizes):
            differs = [name for name in Preprocess.model_fields if getattr(own, name) != getattr(given, name)]
            shown = "; ".join(f"{name} {getattr(given, name)}, recorded {getattr(own, name)}" for name in differs)
            raise MismatchError(
                f"{export}: another preprocessing than the one recorded in {self.source}",
                cause=shown,
                hint=f"masks of other tensors cannot be compared pixel by pixel; record it again: {self.again}",
            )


def effective(preprocess: Preprocess, sizes: set[tuple[int, int]]) -> Preprocess:
    """The contract without operations that change none of these (width, height) of images."""
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


class RecordedSession:
    """A `Session` without a model. `choose` selects the image; the result is its recorded prediction."""

    ahead = 1

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

    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise _refused("the model's raw outputs are not in it")

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        raise _refused("nothing runs that could be timed")

    def operators(self, tensors: Sequence[np.ndarray]) -> list[list[str]]:
        raise _refused("nothing runs that could be profiled")

    def peak_rss_bytes(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> RecordedSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refused(cause: str) -> InputError:
    return InputError("a recording answers with its masks only", cause=cause)
