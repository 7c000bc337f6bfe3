"""Records the original model once, on its device, so that any machine can compare exports with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segexport import __version__, preprocess
from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset, Sample
from segexport.errors import DataError, ModelOutputError
from segexport.files.store import Store
from segexport.judge.bootstrap import MIN_IMAGES
from segexport.measure import latency, metrics
from segexport.measure.environment import describe_gpu, describe_machine, now
from segexport.progress import Progress, silent
from segexport.references.archive import require_new
from segexport.references.logits import LogitDigest, digest_logits
from segexport.references.recording_runtime import Engine, engine_for, full_precision
from segexport.references.reference_file import (
    Data,
    Header,
    Image,
    Noise,
    Recorder,
    ReferenceFile,
    RuntimeRecord,
    Times,
    new_reference,
    read_reference,
)
from segexport.runtimes.base import Prediction, RunOptions, Session
from segexport.runtimes.watched import proof_of, timed_graph
from segexport.spec import Label, score_output
from segexport.task.base import ScoredClasses
from segexport.task.semantic.classes import scored_classes


def record(
    source: ModelArtifact,
    data: Dataset,
    output: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    latency_seconds: float = 10.0,
    label_map: dict[str, str] | None = None,
    timeout_s: float = 300.0,
    store: Store | None = None,
    progress: Progress = silent,
) -> ReferenceFile:
    """Runs the model on all images, twice in two processes, and writes the results to one file.

    A third process runs Paddle's optimized program, for the proof of the masks and for times.

    Args:
        source: The trained model.
        data: The images; all are recorded.
        device: `cpu`, `gpu:0`, ...; another device is never used instead: that is an error.
        latency_seconds: Time for timing it; 0: it is not timed.
        label_map: Class of the model -> class of the data, by name; for the recorded confusions.

    Raises:
        InputError: There are too few images or no labelled pixels, the model predicts one class only, or `output`
            exists.
        EnvironmentMissingError: No runtime that could run the model has the device.
    """
    require_new(output)
    if len(data) < MIN_IMAGES:
        raise DataError(
            f"{data.root}, split {data.split!r}: {len(data)} images are too few for a reference",
            cause=f"gates need at least {MIN_IMAGES} images to decide anything",
            hint="for a handful of images make a golden pack: segexport golden make MODEL --data DIR -o PACK",
        )
    data = data.read_for(source.manifest.preprocess)
    with full_precision(), new_reference(output) as recorder:
        engine = engine_for(source, RunOptions(device, threads, timeout_s), data, store or Store(), progress)
        with engine.open("watched") as first, engine.open() as second:
            run = _Run(source, data, scored_classes(source.manifest, data, label_map), first, second, recorder)
            with progress("recording", len(data)) as bar:
                for sample in data:
                    run.add(sample)
                    bar.advance()
            noise = run.noise()
        graph = timed_graph(proof_of(first))
        times = run.times(engine, graph, latency_seconds, progress) if latency_seconds else None
        recorder.finish(
            Header(
                created=now(),
                segexport_version=__version__,
                model=source.manifest,
                data=run.described(),
                runner=_runner(engine, first),
                noise=noise,
                proof=proof_of(first),
                times=times,
                images=tuple(run.images),
            )
        )
    return read_reference(output)


def _runner(engine: Engine, session: Session) -> RuntimeRecord:
    info, asked = session.info, engine.options.device
    on_gpu = asked.startswith("gpu")
    name, driver = describe_gpu(int(asked.partition(":")[2] or 0)) if on_gpu else ("", "")
    return RuntimeRecord(
        runtime=info.runtime,
        version=info.version,
        provider=info.provider,
        device=name or info.device,
        asked=asked,
        is_gpu=on_gpu,
        driver=driver,
        threads=info.threads,
        load_ms=info.load_ms,
        notes=(*engine.notes, *info.notes),
        machine=describe_machine(),
    )


# -- the run ---------------------------------------------------------------------------------------------------


class _Run:
    """Runs the images in both sessions and counts the results."""

    def __init__(
        self,
        source: ModelArtifact,
        data: Dataset,
        classes: ScoredClasses,
        first: Session,
        second: Session,
        to: Recorder,
    ):
        self._manifest, self._data, self._classes = source.manifest, data, classes
        self._first, self._second, self._recorder = first, second, to
        self._scores = score_output(self._manifest.outputs)
        self.images: list[Image] = []
        self._confusion = self._confusion_again = np.zeros(1, np.int64)
        self._differing: list[tuple[int, int]] = []  # pixels that differ, pixels
        self._seen: set[int] = set()
        self._preprocess_ms: list[float] = []

    @property
    def labels(self) -> tuple[Label, ...]:
        return self._classes.labels

    def add(self, sample: Sample) -> None:
        """Runs and writes one image."""
        start = _milliseconds()
        tensor, placement = preprocess.apply(
            self._manifest.preprocess, sample.image, input_spec=self._manifest.inputs[0]
        )
        self._preprocess_ms.append(_milliseconds() - start)
        self._second.submit([tensor])
        found = self._first.infer([tensor], margin=True)
        again = self._second.result()
        if not found.finite:
            raise ModelOutputError(
                f"{sample.name}: the model's output contains NaN or infinity",
                cause="a model that fails on its own data cannot be a reference",
                hint="check its preprocessing (segexport inspect MODEL) and its weights",
            )
        confusion = self._counted(sample, found, placement, sample.label)
        truth = sample.label if sample.label is not None else self._restored(found, placement)
        self._confusion = self._confusion + confusion
        self._confusion_again = self._confusion_again + self._counted(sample, again, placement, truth)
        self._differing.append((int(np.count_nonzero(found.mask != again.mask)), found.mask.size))
        self._seen.update(np.flatnonzero(np.bincount(found.mask.reshape(-1))).tolist())
        height, width = sample.image.shape[:2]
        entry = self._data.entries[sample.index]
        self._recorder.add(found, confusion)
        self.images.append(
            Image(
                name=sample.name,
                image_sha256=self._data.digest(entry.image),
                group=entry.group if self._data.groups else "",
                label_sha256=None if entry.label is None else self._data.digest(entry.label),
                width=width,
                height=height,
                finite=found.finite,
                inference_ms=found.inference_ms,
                postprocess_ms=found.postprocess_ms,
                logits=self._digest(tensor),
            )
        )

    def noise(self) -> Noise:
        """The differences of the second run.

        Raises:
            InputError: The recorded results cannot distinguish exports.
        """
        if len(self._seen) < 2:
            raise ModelOutputError(
                f"the model's mask is one single class on all {len(self.images)} images",
                cause="a dead export would agree with it in every pixel",
                hint="check its preprocessing (segexport inspect MODEL), or give images with more classes",
            )
        if not self._confusion.any():
            raise DataError(
                f"{self._data.root}, split {self._data.split!r}: not one labelled pixel of a known class",
                cause=f"every pixel of every label is {self._data.ignore_index}, which is ignored",
                hint="compare labels.txt and ignore_index with the values in the label files",
            )
        one, two = metrics.scores(self._confusion).miou, metrics.scores(self._confusion_again).miou
        return Noise(
            images=len(self.images),
            pixels=sum(pixels for _, pixels in self._differing),
            differing_pixels=sum(differing for differing, _ in self._differing),
            worst_image=max(differing / pixels for differing, pixels in self._differing),
            miou_delta=0.0 if one is None or two is None else two - one,
        )

    def times(self, engine: Engine, graph: str, seconds: float, progress: Progress) -> Times:
        """Times the model on the first image; `graph` as in `Engine.open`."""
        tensor, _ = preprocess.example(self._manifest.preprocess, self._data.read(0).image)
        program = latency.TimedModel(lambda: engine.open(graph), [tensor])
        timing = latency.measure({"reference": program}, seconds, progress=progress)["reference"]
        if timing.error is not None:
            raise timing.error
        return Times(
            sessions=len(timing.sessions_ms),
            peak_rss_bytes=timing.peak_rss_bytes,
            blocks_ms=tuple(
                tuple(round(float(value), 4) for value in row) for session in timing.sessions_ms for row in session
            ),
            first_ms=float(np.median(timing.firsts_ms)),
            warm_up_runs=timing.warm_up_runs,
            preprocess_ms=float(np.median(self._preprocess_ms)),
            postprocess_ms=float(np.median([image.postprocess_ms for image in self.images])),
        )

    def described(self) -> Data:
        """Describes the data set for the header."""
        data = self._data
        return Data(
            path=data.root.name,
            split=data.split,
            labels=self.labels,
            labelled=data.labelled,
            ignore_index=data.ignore_index,
            fingerprint=data.ungrouped().fingerprint,
            groups=data.groups,
            label_map=self._classes.label_map,
        )

    def _counted(
        self, sample: Sample, found: Prediction, placement: preprocess.Placement, truth: np.ndarray | None
    ) -> np.ndarray:
        mask, classes = self._restored(found, placement), len(self.labels)
        columns = classes + (self._classes.lookup is not None)
        truth = mask if truth is None else truth
        ignore = self._data.ignore_index
        return metrics.confusion_matrix(truth, mask, classes, ignore, prediction_classes=columns, name=sample.name)

    def _restored(self, found: Prediction, placement: preprocess.Placement) -> np.ndarray:
        mask = preprocess.restore_mask(found.mask, placement)
        return mask if self._classes.lookup is None else metrics.apply_label_map(mask, self._classes.lookup)

    def _digest(self, tensor: np.ndarray) -> LogitDigest | None:
        if self._scores is None:
            return None
        return digest_logits(self._first.outputs([tensor])[self._scores], self._manifest.outputs[self._scores])


def _milliseconds() -> float:
    import time

    return time.perf_counter() * 1e3
