"""From what was measured to the report: each export's figures are held against its limits. Nothing runs here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segexport import __version__
from segexport.artifact import ModelArtifact
from segexport.errors import SegexportError
from segexport.judge import cost_gates, gates
from segexport.judge.bootstrap import PairedDelta, paired_delta
from segexport.judge.limits import Limits, limits_for
from segexport.measure import latency, metrics, parity
from segexport.measure.environment import now
from segexport.measure.latency_statistics import (
    LatencyRatio,
    latency_ratio,
    percentiles,
    ratio_of_separate,
    session_times,
)
from segexport.measure.parity import Tally
from segexport.report.schema import (
    DatasetInfo,
    ExportResult,
    Latency,
    Percentiles,
    Recorded,
    Reference,
    Report,
    WorstImage,
)
from segexport.runtimes.base import SessionInfo
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
class Measured:
    """What was measured of one export.

    Attributes:
        info: What ran it; None where nothing could be opened.
        worst: The images on which it agrees least, drawn.
        operators: Precision -> operator -> how many ran so.
        more: Checks beyond those that follow from the tally and the times.
    """

    subject: Subject
    info: SessionInfo | None = None
    tally: Tally | None = None
    timing: latency.Timing | None = None
    worst: tuple[WorstImage, ...] = ()
    operators: dict[str, dict[str, int]] = field(default_factory=dict)
    more: list[Check] = field(default_factory=list)
    error: SegexportError | None = None


@dataclass(frozen=True)
class ReferenceRun:
    """How the reference's masks came about.

    Attributes:
        artifact: The model; of a recording, its manifest alone.
        times: As the report shows them.
        timing: For ratios, where the times were taken in turn with the exports', or on the same device.
        recorded: What is known of the recording; None where the reference ran just now.
    """

    artifact: ModelArtifact
    info: SessionInfo
    is_gpu: bool
    times: Latency | None = None
    timing: latency.Timing | None = None
    recorded: Recorded | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """A whole run, before anybody judged it."""

    title: str
    reference: ReferenceRun
    exports: list[Measured]
    comparison: parity.Comparison
    labels: tuple[Label, ...]
    dataset: DatasetInfo
    environment: dict[str, object]
    notes: tuple[str, ...] = ()


def conclude(measured: Measurement) -> Report:
    """The report of a run."""
    results = tuple(_result(entry, measured) for entry in measured.exports)
    return Report(
        segexport_version=__version__,
        created=now(),
        title=measured.title or measured.reference.artifact.manifest.name,
        verdict=overall(result.verdict for result in results),
        metric=metrics.MIOU_CONVENTION,
        labels=measured.labels,
        dataset=measured.dataset,
        reference=_reference(measured.reference, measured.comparison),
        exports=results,
        environment=measured.environment,
        notes=measured.notes,
    )


def _result(entry: Measured, measured: Measurement) -> ExportResult:
    subject, reference, comparison = entry.subject, measured.reference, measured.comparison
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
            "size_ratio": subject.artifact.size_bytes / reference.artifact.size_bytes,
            "notes": manifest.lineage[-1].notes if manifest.lineage else (),
        }
    if entry.info is not None:
        info = entry.info
        common |= {"runtime": f"{info.runtime} {info.version}", "provider": info.provider, "device": info.device}
        common["notes"] = (*common["notes"], *info.notes)
    if entry.error is not None or not entry.tally.counts:
        message = str(entry.error) if entry.error is not None else "no image was run"
        failed = Check(name="export.runs", verdict=Verdict.ERROR, message=message.splitlines()[0])
        return ExportResult(**common, verdict=Verdict.ERROR, checks=(failed,), error=message)

    tally, own = entry.tally, comparison.reference
    base = _fp32_of_same_format(entry, measured.exports)
    limits = limits_for(subject.precision, overrides=subject.limits)
    delta = paired_delta(np.stack(own.counts), np.stack(tally.counts))
    boundary = paired_delta(np.stack(own.boundary), np.stack(tally.boundary))
    ratio = _ratio_to(base.timing, entry.timing) if base is not None else _ratio_to_reference(reference, entry)
    against = base.subject.name if base is not None else REFERENCE
    agreement = float(np.mean(tally.agreement)) if tally.agreement else 0.0
    names = [label.name for label in measured.labels]
    checks = [
        *gates.tripwire_checks(
            images=len(tally.counts),
            not_finite=tally.not_finite,
            constant_images=tally.constant_images,
            reference_constant_images=own.constant_images,
            wrong_shape=tally.wrong_shape,
            repeatable=tally.repeatable,
        ),
        *gates.agreement_checks(
            tally.agreement,
            limits,
            confident=tally.decided_agreement,
            mask_counts=None if tally.mask_confusion is None else metrics.class_counts(tally.mask_confusion),
            images=comparison.names,
            labels=[label.name for label in reference.artifact.manifest.labels],
        ),
        *_accuracy_checks(delta, boundary, limits, agreement, names, comparison.labelled),
        *_cost_checks(subject, reference.artifact, base, ratio, limits, against),
        *entry.more,
    ]
    scores = metrics.scores(tally.confusion)
    own_iou = metrics.scores(own.confusion).class_iou
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
        latency=latency_of(entry.timing, entry.info, tally, comparison.preprocess_ms),
        latency_ms=_percentiles(entry.timing),
        latency_ratio=None if ratio is None else ratio.value,
        latency_ratio_interval=None if ratio is None else ratio.interval,
        latency_baseline="" if ratio is None else against,
        checks=tuple(checks),
        operators=entry.operators,
        worst_images=entry.worst,
    )


def _fp32_of_same_format(entry: Measured, others: list[Measured]) -> Measured | None:
    """The export that a smaller precision has to beat."""
    if entry.subject.precision is Precision.FP32:
        return None
    for other in others:
        same = other.subject.format is entry.subject.format and other.subject.precision is Precision.FP32
        if same and other.error is None and other.subject.artifact is not None:
            return other
    return None


def _ratio_to_reference(reference: ReferenceRun, entry: Measured) -> LatencyRatio | None:
    """None for recorded times, except where the same device gave them, with as many threads."""
    if reference.recorded is None:
        return _ratio_to(reference.timing, entry.timing)
    own, info = reference.info, entry.info
    same = (own.device, own.threads) == (info.device, info.threads)
    if not same or not _taken(reference.timing) or not _taken(entry.timing):
        return None
    return ratio_of_separate(session_times(entry.timing.sessions_ms), session_times(reference.timing.sessions_ms))


def _accuracy_checks(
    delta: PairedDelta, boundary: PairedDelta, limits: Limits, agreement: float, names: list[str], labelled: bool
) -> list[Check]:
    return [
        gates.miou_check(delta, limits, agreement=agreement, labelled=labelled),
        gates.class_check(delta, limits, labels=names, labelled=labelled),
        gates.boundary_check(boundary, limits, agreement=agreement, labelled=labelled),
    ]


def _cost_checks(
    subject: Subject,
    reference: ModelArtifact,
    base: Measured | None,
    ratio: LatencyRatio | None,
    limits: Limits,
    against: str,
) -> list[Check]:
    baseline_bytes = base.subject.artifact.size_bytes if base is not None else reference.size_bytes
    on_target = subject.artifact.manifest.target.arch == "any"
    checks = [cost_gates.size_check(subject.artifact.size_bytes, baseline_bytes, limits, against=against)]
    if ratio is not None:
        checks.append(cost_gates.latency_check(ratio, limits, against=against, on_target=on_target))
    size_ratio = subject.artifact.size_bytes / baseline_bytes
    checks.append(
        cost_gates.compression_check(size_ratio, ratio, subject.precision, limits, against=against, on_target=on_target)
    )
    return checks


def _ratio_to(baseline: latency.Timing | None, timing: latency.Timing | None) -> LatencyRatio | None:
    """Of two that were timed side by side."""
    if not _taken(timing) or not _taken(baseline):
        return None
    return latency_ratio(timing.sessions_ms, baseline.sessions_ms)


def _taken(timing: latency.Timing | None) -> bool:
    return timing is not None and bool(timing.sessions_ms.size) and timing.error is None


def _percentiles(timing: latency.Timing | None) -> Percentiles | None:
    if not _taken(timing):
        return None
    return Percentiles(**percentiles(timing.samples_ms)._asdict())


def latency_of(
    timing: latency.Timing | None, info: SessionInfo | None, tally: Tally, preprocess_ms: float
) -> Latency | None:
    """Times as the report holds them; None where none were taken."""
    if not _taken(timing):
        return None
    return times_of(timing, info.threads, info.device, preprocess_ms, float(np.median(tally.postprocess_ms)))


def times_of(timing: latency.Timing, threads: int, device: str, preprocess_ms: float, postprocess_ms: float) -> Latency:
    """Raw times, and what came before and after them, as the report holds them."""
    return Latency(
        inference_ms=_percentiles(timing),
        samples_ms=tuple(round(float(value), 4) for value in timing.samples_ms[:: _step(timing)]),
        sessions_ms=tuple(round(float(value), 4) for value in session_times(timing.sessions_ms)),
        load_ms=timing.load_ms,
        first_ms=timing.first_ms,
        preprocess_ms=preprocess_ms,
        postprocess_ms=postprocess_ms,
        peak_rss_bytes=timing.peak_rss_bytes or None,
        threads=threads,
        device=device,
    )


def _step(timing: latency.Timing) -> int:
    """Every how manieth sample is kept."""
    return -(-timing.samples_ms.size // _TIMES_KEPT)


def _reference(run: ReferenceRun, comparison: parity.Comparison) -> Reference:
    scores = metrics.scores(comparison.reference.confusion)
    return Reference(
        name=run.artifact.manifest.name,
        runtime=f"{run.info.runtime} {run.info.version}",
        provider=run.info.provider,
        device=run.info.device,
        is_gpu=run.is_gpu,
        recorded=run.recorded,
        digest=run.artifact.digest,
        miou=scores.miou if comparison.labelled else None,
        pixel_accuracy=scores.pixel_accuracy if comparison.labelled else None,
        kappa=scores.kappa if comparison.labelled else None,
        class_iou=scores.class_iou,
        size_bytes=run.artifact.size_bytes,
        latency=None if run.is_gpu else run.times,
        gpu_latency=run.times if run.is_gpu else None,
        notes=run.notes,
    )
