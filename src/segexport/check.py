"""Checks exports against the reference: runs them, times them, holds the results against the limits, reports."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from segexport import __version__, cost_gates, gates, latency, metrics, parity, preprocess
from segexport.artifact import ModelArtifact
from segexport.bootstrap import PairedDelta, paired_delta
from segexport.dataset import Dataset
from segexport.environment import describe_machine
from segexport.errors import InputError, SegexportError
from segexport.latency_statistics import LatencyRatio, latency_ratio, percentiles
from segexport.limits import Limits, limits_for
from segexport.parity import Contender, Tally
from segexport.pictures import default_labels, panel, suffix
from segexport.progress import Progress, silent
from segexport.recipe import CheckRecipe
from segexport.registry import runtime_for
from segexport.report.schema import (
    DatasetInfo,
    ExportResult,
    Latency,
    Percentiles,
    Reference,
    Report,
    WorstImage,
)
from segexport.runtimes.base import RunOptions, Session
from segexport.spec import Format, Label, Precision
from segexport.verdict import Check, Verdict, overall

REFERENCE = "reference"
_TIMES_KEPT = 2000  # raw samples per export in the report


@dataclass(frozen=True)
class Subject:
    """An export that is to be checked: the artifact, or the error that kept it from being made."""

    name: str
    format: Format
    precision: Precision
    artifact: ModelArtifact | None = None
    error: SegexportError | None = None
    limits: Limits | None = None


@dataclass
class _Opened:
    """A subject on its way through the check."""

    subject: Subject
    session: Session | None = None
    tally: Tally | None = None
    timing: latency.Timing | None = None
    error: SegexportError | None = None

    @property
    def artifact(self) -> ModelArtifact:
        return self.subject.artifact


@dataclass(frozen=True)
class _Classes:
    """Which classes are scored, and how the model's become the data's."""

    labels: tuple[Label, ...]
    lookup: np.ndarray | None
    label_map: dict[str, str] = field(default_factory=dict)


def check(
    reference: ModelArtifact,
    subjects: list[Subject],
    data: Dataset,
    folder: Path,
    options: CheckRecipe,
    *,
    title: str = "",
    label_map: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
    progress: Progress = silent,
) -> Report:
    """Runs the whole check and draws the worst images into `folder / "images"`.

    Args:
        label_map: Class of the model -> class of the data, by name.
        notes: What a reader of the report should know about how it came about.

    Raises:
        SegexportError: The reference or the data cannot be used. An export that cannot is an ERROR in the report.
    """
    classes = _classes(reference, data, label_map)
    opened = [_Opened(subject, error=subject.error) for subject in subjects]
    with ExitStack() as stack:
        own = _open(stack, reference, options, options.reference_device)
        for entry in opened:
            if entry.error is None:
                try:
                    entry.session = _open(stack, entry.artifact, options, options.device)
                except SegexportError as error:
                    entry.error = error
        running = [entry for entry in opened if entry.session is not None]
        contract = _shared_preprocess(reference, running)
        contender = Contender(
            REFERENCE, own, contract or reference.manifest.preprocess, reference.manifest.inputs[0], classes.lookup
        )
        comparison = parity.compare(
            contender,
            [_contender(entry, classes.lookup) for entry in running],
            data,
            num_classes=len(classes.labels),
            model_classes=reference.manifest.num_classes,
            ignore_index=data.ignore_index,
            worst_images=options.worst_images,
            progress=progress,
        )
        for entry in running:
            entry.tally = comparison.exports[entry.subject.name]
            entry.error = entry.tally.error
        timings = _times(own, contender, running, data, options, progress)
    if contract is not None:
        notes = (*notes, "the reference's input is free, so it was given the exports' input size")
    results = tuple(
        _result(entry, opened, comparison, reference, own, timings.get(REFERENCE), classes, data, folder, options)
        for entry in opened
    )
    return Report(
        segexport_version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        title=title or reference.manifest.name,
        verdict=overall(result.verdict for result in results),
        metric=metrics.MIOU_CONVENTION,
        labels=classes.labels,
        dataset=DatasetInfo(
            path=data.root.name,
            split=data.split,
            images=len(comparison.names),
            labelled=comparison.labelled,
            fingerprint=data.fingerprint,
            label_map=classes.label_map,
        ),
        reference=_reference(reference, own, comparison, timings.get(REFERENCE), options),
        exports=results,
        environment=describe_machine(),
        notes=notes,
    )


# -- before the run --------------------------------------------------------------------------------------------


def _open(stack: ExitStack, artifact: ModelArtifact, options: CheckRecipe, device: str) -> Session:
    run = RunOptions(device=device, threads=options.threads, timeout_s=options.timeout_s)
    session = runtime_for(artifact.manifest.format).open(artifact, run)
    stack.callback(session.close)
    return session


def _contender(entry: _Opened, lookup: np.ndarray | None) -> Contender:
    manifest = entry.artifact.manifest
    return Contender(entry.subject.name, entry.session, manifest.preprocess, manifest.inputs[0], lookup)


def _shared_preprocess(reference: ModelArtifact, running: list[_Opened]):
    """The exports' preprocessing where the reference takes any size: both must see the same tensor."""
    contracts = {entry.artifact.manifest.preprocess for entry in running}
    free = -1 in reference.manifest.inputs[0].shape[2:]
    if free and len(contracts) == 1 and contracts != {reference.manifest.preprocess}:
        return contracts.pop()
    return None


def _classes(reference: ModelArtifact, data: Dataset, label_map: Mapping[str, str] | None) -> _Classes:
    model = tuple(label.name for label in reference.manifest.labels)
    if not data.labelled:
        return _Classes(reference.manifest.labels, None)
    names = data.labels or model
    if label_map or (set(names) == set(model) and names != model):
        lookup = metrics.label_map_lookup(model, names, label_map or {})
        shown = {one: names[to] if to < len(names) else "other" for one, to in zip(model, lookup, strict=True)}
        return _Classes(default_labels(names), lookup, shown)
    if len(names) != len(model):
        raise InputError(
            f"the model has {len(model)} classes, {data.root} has {len(names)}",
            cause=f"model: {', '.join(model[:20])}; data: {', '.join(names[:20])}",
            hint="say which is which with a label_map (model class: data class)",
        )
    return _Classes(reference.manifest.labels if names == model else default_labels(names), None)


# -- times -----------------------------------------------------------------------------------------------------


def _times(
    own: Session,
    contender: Contender,
    running: list[_Opened],
    data: Dataset,
    options: CheckRecipe,
    progress: Progress,
) -> dict[str, latency.Timing]:
    if not options.latency_seconds:
        return {}
    image = data.read(0).image
    sessions = {REFERENCE: (own, [preprocess.apply(contender.preprocess, image)[0]])}
    for entry in running:
        if entry.error is None:
            tensor, _ = preprocess.apply(entry.artifact.manifest.preprocess, image)
            sessions[entry.subject.name] = entry.session, [tensor]
    timings = latency.measure_steadily(sessions, options.latency_seconds, progress=progress)
    for entry in running:
        entry.timing = timings.get(entry.subject.name)
        if entry.timing is not None and entry.timing.error is not None:
            entry.error = entry.timing.error
    return timings


def _baseline(entry: _Opened, opened: list[_Opened]) -> _Opened | None:
    """The fp32 export of the same format, which a smaller precision has to beat."""
    if entry.subject.precision is Precision.FP32:
        return None
    for other in opened:
        same = other.subject.format is entry.subject.format and other.subject.precision is Precision.FP32
        if same and other.error is None and other.artifact is not None:
            return other
    return None


# -- results ---------------------------------------------------------------------------------------------------


def _result(
    entry: _Opened,
    opened: list[_Opened],
    comparison: parity.Comparison,
    reference: ModelArtifact,
    own: Session,
    own_timing: latency.Timing | None,
    classes: _Classes,
    data: Dataset,
    folder: Path,
    options: CheckRecipe,
) -> ExportResult:
    subject = entry.subject
    common: dict[str, Any] = {
        "name": subject.name,
        "format": subject.format.value,
        "precision": subject.precision.value,
    }
    if subject.artifact is not None:
        manifest = subject.artifact.manifest
        common |= {
            "target": manifest.target.arch,
            "digest": subject.artifact.digest,
            "size_bytes": subject.artifact.size_bytes,
            "size_ratio": subject.artifact.size_bytes / reference.size_bytes,
            "notes": manifest.lineage[-1].notes if manifest.lineage else (),
        }
    if entry.session is not None:
        info = entry.session.info
        common |= {"runtime": f"{info.runtime} {info.version}", "provider": info.provider, "device": info.device}
        common["notes"] = (*common["notes"], *info.notes)
    if entry.error is not None or not entry.tally.counts:
        message = str(entry.error) if entry.error is not None else "no image was run"
        failed = Check(name="export.runs", verdict=Verdict.ERROR, message=message.splitlines()[0])
        return ExportResult(**common, verdict=Verdict.ERROR, checks=(failed,), error=message)

    tally, reference_tally = entry.tally, comparison.reference
    base = _baseline(entry, opened)
    limits = limits_for(subject.precision, overrides=subject.limits)
    delta = paired_delta(np.stack(reference_tally.counts), np.stack(tally.counts))
    boundary = paired_delta(np.stack(reference_tally.boundary), np.stack(tally.boundary))
    ratio = _ratio(entry.timing, base.timing if base is not None else own_timing)
    against = base.subject.name if base is not None else REFERENCE
    agreement = float(np.mean(tally.agreement)) if tally.agreement else 0.0
    checks = [
        *gates.tripwire_checks(
            images=len(tally.counts),
            not_finite=tally.not_finite,
            constant_images=tally.constant_images,
            reference_constant_images=reference_tally.constant_images,
            wrong_shape=tally.wrong_shape,
            repeatable=tally.repeatable,
        ),
        *gates.agreement_checks(
            tally.agreement,
            limits,
            confident=tally.decided_agreement,
            mask_counts=None if tally.mask_confusion is None else metrics.class_counts(tally.mask_confusion),
            images=comparison.names,
            labels=[label.name for label in reference.manifest.labels],
        ),
        *_accuracy_checks(delta, boundary, limits, agreement, classes, comparison.labelled),
        *_cost_checks(subject, reference, base, ratio, limits, against),
    ]
    scores = metrics.scores(tally.confusion)
    own_iou = metrics.scores(reference_tally.confusion).class_iou
    return ExportResult(
        **common,
        verdict=overall(found.verdict for found in checks if found.gated),
        miou=delta.miou_export,
        miou_reference=delta.miou_reference,
        miou_delta=delta.delta,
        miou_delta_interval=delta.interval,
        pixel_accuracy=scores.pixel_accuracy,
        kappa=scores.kappa,
        agreement=agreement if tally.agreement else None,
        agreement_worst=min(tally.agreement, default=None),
        class_iou=scores.class_iou,
        class_iou_delta=tuple(
            None if a is None or b is None else a - b for a, b in zip(scores.class_iou, own_iou, strict=True)
        ),
        latency=_latency(entry.timing, entry.session, tally, comparison.preprocess_ms),
        latency_ms=_percentiles(entry.timing),
        latency_ratio=None if ratio is None else ratio.value,
        latency_ratio_interval=None if ratio is None else ratio.interval,
        latency_baseline="" if ratio is None else against,
        checks=tuple(checks),
        worst_images=_worst(entry, classes, data, folder),
    )


def _accuracy_checks(
    delta: PairedDelta, boundary: PairedDelta, limits: Limits, agreement: float, classes: _Classes, labelled: bool
) -> list[Check]:
    names = [label.name for label in classes.labels]
    return [
        gates.miou_check(delta, limits, agreement=agreement, labelled=labelled),
        gates.class_check(delta, limits, labels=names, labelled=labelled),
        gates.boundary_check(boundary, limits, agreement=agreement, labelled=labelled),
    ]


def _cost_checks(
    subject: Subject,
    reference: ModelArtifact,
    base: _Opened | None,
    ratio: LatencyRatio | None,
    limits: Limits,
    against: str,
) -> list[Check]:
    baseline_bytes = base.artifact.size_bytes if base is not None else reference.size_bytes
    on_target = subject.artifact.manifest.target.arch == "any"
    checks = [cost_gates.size_check(subject.artifact.size_bytes, baseline_bytes, limits, against=against)]
    if ratio is not None:
        checks.append(cost_gates.latency_check(ratio, limits, against=against, on_target=on_target))
    size_ratio = subject.artifact.size_bytes / baseline_bytes
    checks.append(
        cost_gates.compression_check(size_ratio, ratio, subject.precision, limits, against=against, on_target=on_target)
    )
    return checks


def _ratio(timing: latency.Timing | None, baseline: latency.Timing | None) -> LatencyRatio | None:
    if timing is None or baseline is None or not timing.blocks_ms.size or not baseline.blocks_ms.size:
        return None
    blocks = min(len(timing.blocks_ms), len(baseline.blocks_ms))
    return latency_ratio(timing.blocks_ms[:blocks], baseline.blocks_ms[:blocks])


def _percentiles(timing: latency.Timing | None) -> Percentiles | None:
    if timing is None or not timing.blocks_ms.size:
        return None
    return Percentiles(**percentiles(timing.samples_ms)._asdict())


def _latency(timing: latency.Timing | None, session: Session, tally: Tally, preprocess_ms: float) -> Latency | None:
    found = _percentiles(timing)
    if found is None:
        return None
    info = session.info
    return Latency(
        inference_ms=found,
        samples_ms=tuple(round(float(value), 4) for value in timing.samples_ms[:_TIMES_KEPT]),
        load_ms=timing.load_ms,
        first_ms=timing.first_ms,
        preprocess_ms=preprocess_ms,
        postprocess_ms=float(np.median(tally.postprocess_ms)),
        threads=info.threads,
        device=info.device,
    )


def _reference(
    reference: ModelArtifact,
    own: Session,
    comparison: parity.Comparison,
    timing: latency.Timing | None,
    options: CheckRecipe,
) -> Reference:
    scores = metrics.scores(comparison.reference.confusion)
    on_gpu = options.reference_device.startswith("gpu")
    times = _latency(timing, own, comparison.reference, comparison.preprocess_ms)
    notes = own.info.notes
    if not on_gpu:
        notes = (*notes, "the reference ran on the CPU, as a substitute for a GPU")
    return Reference(
        name=reference.manifest.name,
        runtime=f"{own.info.runtime} {own.info.version}",
        provider=own.info.provider,
        device=own.info.device,
        is_gpu=on_gpu,
        digest=reference.digest,
        miou=scores.miou if comparison.labelled else None,
        pixel_accuracy=scores.pixel_accuracy if comparison.labelled else None,
        kappa=scores.kappa if comparison.labelled else None,
        class_iou=scores.class_iou,
        size_bytes=reference.size_bytes,
        latency=None if on_gpu else times,
        gpu_latency=times if on_gpu else None,
        notes=notes,
    )


def _worst(entry: _Opened, classes: _Classes, data: Dataset, folder: Path) -> tuple[WorstImage, ...]:
    """Draws the images on which the export agrees least, worst first; those that agree in every pixel show nothing."""
    found = []
    pictures = folder / "images"
    for negative, negative_index, own_mask, mask in sorted(entry.tally.worst, key=lambda item: item[:2], reverse=True):
        if negative == -1.0:
            continue
        index = -negative_index
        sample = data.read(index)
        drawn = panel(sample.image, sample.label, own_mask, mask, classes.labels, data.ignore_index)
        pictures.mkdir(parents=True, exist_ok=True)
        name = f"{entry.subject.name}-{index:05d}{suffix(drawn)}"
        (pictures / name).write_bytes(drawn)
        found.append(
            WorstImage(
                image=sample.name,
                agreement=-negative,
                miou=_image_miou(entry.tally.counts[index]),
                picture=f"images/{name}",
            )
        )
    return tuple(found)


def _image_miou(counts: np.ndarray) -> float | None:
    return metrics.mean_iou(metrics.iou_per_class(counts))
