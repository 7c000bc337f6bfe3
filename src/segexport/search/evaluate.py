"""Measures an attempt: makes or loads the export, runs it on the search images, times it alternately with fp32."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact, digest_of
from segexport.data.dataset import Dataset
from segexport.errors import EnvironmentMissingError, Interrupted, SegexportError, StorageError, WorkerFailed
from segexport.exporter import cost, program
from segexport.files.store import Store
from segexport.judge.bootstrap import paired_delta
from segexport.measure import latency, parity
from segexport.measure.latency_statistics import LatencyRatio, latency_ratio
from segexport.measure.parity import ModelUnderTest
from segexport.pipeline.plan import Planned, PlanRunner, plan
from segexport.pipeline.registry import runtime_for
from segexport.pipeline.step import StepContext
from segexport.process.settled import settled
from segexport.progress import Progress, silent
from segexport.recipe.export import export_name
from segexport.recipe.schema import Recipe
from segexport.references.live_model import LiveModel
from segexport.references.recorded_reference import RecordedSession
from segexport.runtimes.base import Prediction, RunOptions, SessionInfo
from segexport.search.candidate import Attempt, Candidate, Fidelity, Trial
from segexport.search.halving import RUNGS
from segexport.search.score_distance import distance, scores
from segexport.spec import Format
from segexport.task.semantic.certainty import decided_pixels
from segexport.task.semantic.classes import scored_classes
from segexport.task.semantic.scorer import PixelScorer

_SCREEN_SESSIONS, _SCREEN_SECONDS = 3, 1.5  # timing; three sessions are the minimum for an interval
_FULL_SECONDS = 6.0
_REFERENCE = "reference"


@dataclass(frozen=True)
class Workbench:
    """The data shared by all attempts.

    Attributes:
        source: The model, as a Paddle artifact.
        images: The search images.
        learning: Images for calibration and training.
        label_map: Class of the model -> class of the data, by name.
        screened: Number of images for a screening.
    """

    source: ModelArtifact
    images: Dataset
    learning: Dataset | None
    store: Store
    label_map: Mapping[str, str] | None = None
    threads: int = 1
    device: str = "cpu"
    screened: int = 16
    timeout_s: float = 300.0
    progress: Progress = field(default=silent, compare=False)

    @property
    def options(self) -> RunOptions:
        return RunOptions(device=self.device, threads=self.threads, timeout_s=self.timeout_s)

    def shown(self, rung: Fidelity) -> Dataset:
        """Returns the images of a fidelity level; glances take the first ones of theirs."""
        return self.images.at_most({"glance": RUNGS[-1], "screen": self.screened, "full": None}[rung])

    def remembers(self, rung: Fidelity) -> bool:
        """Whether the original's results on the images of a fidelity level are in the store."""
        return self.store.find(_reference_key(self, rung)) is not None

    def chain(self, candidate: Candidate) -> tuple[Planned, ...]:
        """Returns the steps from the model to the candidate's export."""
        recipe = Recipe.model_construct(model=None, data=None, steps=candidate.steps, exports=(candidate.export,))
        fingerprint = self.learning.fingerprint if self.learning is not None else ""
        return plan(recipe, self.source, fingerprint).chains[export_name(candidate.export)]

    def make(self, candidate: Candidate) -> ModelArtifact:
        """Returns the candidate's export, from the store if it was made before.

        Raises:
            SegexportError: A step failed.
        """
        return self._build(candidate, self.chain(candidate))

    def program_macs(self, candidate: Candidate) -> int | None:
        """Returns the multiply-accumulates of the exported program; None if a size is dynamic."""
        if not candidate.steps:
            return self._source_macs
        return _macs(self._build(candidate, self.chain(candidate)[: len(candidate.steps)]))

    @cached_property
    def _source_macs(self) -> int | None:
        return _macs(self.source)

    def _build(self, candidate: Candidate, chain: tuple[Planned, ...]) -> ModelArtifact:
        progress = self.progress if candidate.steps else silent  # a training takes minutes, a conversion seconds
        context = StepContext(data=self.learning, threads=self.threads, progress=progress)
        return PlanRunner(self.store, context).build(export_name(candidate.export), self.source, chain)


class Evaluator:
    """Turns attempts into trials. A failed export is a trial with the reason.

    A machine fault is not a result: a process that is killed twice or times out raises `Interrupted`; a full disk or a
    missing runtime ends the search.
    """

    def __init__(self, bench: Workbench, baseline: Candidate) -> None:
        self._bench, self._baseline = bench, baseline
        self._classes = scored_classes(bench.source.manifest, bench.images, bench.label_map)
        self._original: dict[Fidelity, Remembered] = {}
        self._scores: list[np.ndarray] = []
        self._candidates: dict[str, Candidate] = {baseline.key: baseline}

    def know(self, candidate: Candidate) -> None:
        """Registers a candidate that later attempts may be timed against."""
        self._candidates[candidate.key] = candidate

    def __call__(self, attempt: Attempt) -> Trial:
        return self._tried(attempt, lambda: self._counted(attempt) | (self._timed(attempt) if attempt.timed else {}))

    def counted(self, attempt: Attempt) -> Trial:
        """The trial without times."""
        return self._tried(attempt, lambda: self._counted(attempt))

    def timed(self, attempt: Attempt) -> Trial:
        """The times only."""
        return self._tried(attempt, lambda: self._timed(attempt))

    def _tried(self, attempt: Attempt, measured: Callable[[], dict[str, Any]]) -> Trial:
        start = time.monotonic()
        self.know(attempt.candidate)
        found: dict[str, Any]
        try:
            found = settled(measured)
        except (Interrupted, StorageError, EnvironmentMissingError):
            raise
        except SegexportError as error:
            found = {"error": str(error)}
        return Trial(attempt=attempt, seconds=round(time.monotonic() - start, 2), **found)

    def _counted(self, attempt: Attempt) -> dict[str, Any]:
        bench = self._bench
        start = time.monotonic()
        artifact = bench.make(attempt.candidate)
        found: dict[str, Any] = {
            "making_seconds": round(time.monotonic() - start, 2),
            "size_bytes": artifact.size_bytes,
            "macs": bench.program_macs(attempt.candidate),
            "notes": artifact.manifest.lineage[-1].notes,
        }
        start = time.monotonic()
        if attempt.rung == "glance":
            self._scores = self._scores or remember_scores(bench)
            compared = partial(self._distance, artifact, attempt.images)
        else:
            compared = partial(self._accuracy, artifact, attempt.rung, self._remembered(attempt.rung))
        found["original_seconds"] = round(time.monotonic() - start, 2)
        return found | compared()

    def _distance(self, artifact: ModelArtifact, count: int) -> dict[str, object]:
        images = self._bench.shown("glance")
        images = replace(images, entries=images.entries[:count])
        with LiveModel("export", artifact, self._bench.options).open_session() as session:
            found = list(scores(session, artifact.manifest, images))
        return {"images": len(images), "distance": distance(self._scores[: len(images)], found)}

    def _timed(self, attempt: Attempt) -> dict[str, Any]:
        start = time.monotonic()
        found = self._times(self._bench.make(attempt.candidate), attempt)
        return found | {"timing_seconds": round(time.monotonic() - start, 2)}

    def _remembered(self, rung: Fidelity) -> Remembered:
        if rung not in self._original:
            known = self._original.get("screen")
            self._original[rung] = remember(self._bench, rung, known)
        return self._original[rung]

    def _accuracy(self, artifact: ModelArtifact, rung: Fidelity, original: Remembered) -> dict[str, object]:
        images, manifest, classes = self._bench.shown(rung), self._bench.source.manifest, self._classes
        played = RecordedSession(original.info, original.predict)
        own = ModelUnderTest(_REFERENCE, played, manifest, manifest.preprocess, choose=played.choose)
        model = LiveModel("export", artifact, self._bench.options).open()
        with model.session:
            scorer = PixelScorer(manifest, images, classes, worst_images=0)
            comparison = parity.compare(own, [model], images, scorer)
        counts = comparison.exports[model.name]
        if counts.error is not None:
            raise counts.error
        if counts.not_finite:
            raise WorkerFailed(f"NaN or infinity in the output on {len(counts.not_finite)} of {len(images)} images")
        if counts.wrong_shape:
            raise WorkerFailed(f"the output is {counts.wrong_shape}")
        both = np.stack(comparison.reference.class_counts), np.stack(counts.class_counts)
        delta = paired_delta(*both, groups=images.image_groups)
        return {
            "images": len(images),
            "miou": delta.miou_export,
            "miou_delta": delta.delta,
            "miou_interval": delta.interval,
            "agreement": float(np.mean(counts.agreement)),
        }

    def _times(self, artifact: ModelArtifact, attempt: Attempt) -> dict[str, object]:
        """Times alternately with fp32 and, at full fidelity, also with the best candidate so far."""
        rung = attempt.rung
        programs = {"export": self._program(artifact)}
        if attempt.candidate.key != self._baseline.key:
            programs["fp32"] = self._program(self._bench.make(self._baseline))
        rival = self._candidates.get(attempt.against) if rung == "full" else None
        if rival is not None and rival.key not in (attempt.candidate.key, self._baseline.key):
            programs["against"] = self._program(self._bench.make(rival))
        if rung == "full":  # repeat if the machine drifted: these times decide
            timings = latency.measure_steadily(programs, _FULL_SECONDS)
        else:
            timings = latency.measure(programs, _SCREEN_SECONDS, sessions=_SCREEN_SESSIONS)
        if (error := next((t.error for t in timings.values() if t.error is not None), None)) is not None:
            raise error
        own = timings["export"]
        found: dict[str, object] = {"latency_ms": float(np.median(own.samples_ms))}
        if "fp32" in timings:
            ratio = _ratio(own, timings["fp32"])
            found |= {"latency_ratio": ratio.value, "latency_interval": ratio.interval}
        else:
            found["latency_ratio"] = 1.0
        if "against" in timings:
            ratio = _ratio(own, timings["against"])
            found |= {"against_ratio": ratio.value, "against_interval": ratio.interval}
        return found

    def _program(self, artifact: ModelArtifact) -> latency.TimedModel:
        return LiveModel("export", artifact, self._bench.options).program(self._bench.images.read(0).image)


def _ratio(own: latency.Timing, other: latency.Timing) -> LatencyRatio:
    return latency_ratio(own.sessions_ms, other.sessions_ms)


def _macs(artifact: ModelArtifact) -> int | None:
    return cost.flops(program.read(artifact.file("model"), artifact.file("params")))


# -- the original ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Remembered:
    """The original model's results on images, by their names."""

    info: SessionInfo
    masks: dict[str, np.ndarray]
    decided: dict[str, np.ndarray]

    def predict(self, name: str) -> Prediction:
        return Prediction(self.masks[name], None, True, 0.0, 0.0, self.decided.get(name))


def _reference_key(bench: Workbench, rung: Fidelity) -> str:
    kind = {"search scores": 1} if rung == "glance" else {"search reference": 3}
    return digest_of({**kind, "model": bench.source.digest, "data": bench.shown(rung).fingerprint})


def remember_scores(bench: Workbench) -> list[np.ndarray]:
    """Runs the original on the images of glances and returns its scores, or loads those of an earlier run."""
    key, images = _reference_key(bench, "glance"), bench.shown("glance")

    def run(folder: Path) -> None:
        options = RunOptions(threads=bench.threads, timeout_s=bench.timeout_s)
        with runtime_for(Format.PADDLE).open(bench.source, options) as session:
            np.savez_compressed(folder / "scores.npz", *scores(session, bench.source.manifest, images))

    path = (bench.store.find(key) or bench.store.keep(key, run)) / "scores.npz"
    with np.load(path, allow_pickle=False) as found:
        return [found[name] for name in found.files]


def remember(bench: Workbench, rung: Fidelity, known: Remembered | None = None) -> Remembered:
    """Runs the original on images that are not `known`, or loads the results of an earlier run."""
    key, images = _reference_key(bench, rung), bench.shown(rung)
    names = [entry.image for entry in images.entries]

    def run(folder: Path) -> None:
        arrays: dict[str, Any] = {}
        new = []
        for index, name in enumerate(names):
            if known is None or name not in known.masks:
                new.append(index)
                continue
            arrays[f"mask/{index}"] = known.masks[name]
            if name in known.decided:
                arrays[f"decided/{index}"] = known.decided[name]
        arrays |= _run(bench, images, new)
        np.savez_compressed(folder / "reference.npz", **arrays)

    path = (bench.store.find(key) or bench.store.keep(key, run)) / "reference.npz"
    kinds: dict[str, dict[str, np.ndarray]] = {"mask": {}, "decided": {}}
    with np.load(path, allow_pickle=False) as found:
        for member in found.files:
            kind, _, index = member.partition("/")
            kinds[kind][names[int(index)]] = found[member]
    info = SessionInfo("paddle", "", "", "cpu", bench.threads, 0.0)
    return Remembered(info, kinds["mask"], kinds["decided"])


def _run(bench: Workbench, images: Dataset, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """Masks of some of the images, and the pixels on which the original is confident."""
    manifest, arrays = bench.source.manifest, {}
    options = RunOptions(threads=bench.threads, timeout_s=bench.timeout_s)
    with (
        runtime_for(Format.PADDLE).open(bench.source, options) as session,
        bench.progress("running the original", len(indices)) as bar,
    ):
        for index in indices:
            tensor, _ = preprocess.example(manifest.preprocess, images.read(index).image, input_spec=manifest.inputs[0])
            found = session.infer([tensor], margin=True)
            arrays[f"mask/{index}"] = found.mask
            if (decided := decided_pixels(found.margin)) is not None:
                arrays[f"decided/{index}"] = decided
            bar.advance()
    return arrays
