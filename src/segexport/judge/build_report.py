"""From what was measured to the report: each export's figures are held against its limits. Nothing runs here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segexport import __version__
from segexport.artifact import LineageEntry, is_warning
from segexport.judge import cost_gates, gates
from segexport.judge.agreement_gates import agreement_checks, mask_iou_check
from segexport.judge.bootstrap import PairedDelta, paired_delta
from segexport.judge.results import Measured, Measurement, ReferenceRun
from segexport.judge.times import latency_of, percentiles_of, ratio_to, ratio_to_reference
from segexport.measure import metrics
from segexport.measure.environment import now
from segexport.measure.latency_statistics import LatencyRatio
from segexport.measure.parity import Counts
from segexport.recipe.limits import Limits
from segexport.report.schema import ExportResult, Reference, Report
from segexport.spec import Precision
from segexport.task.instance.judge import AP_CONVENTION, judged, reference_scores
from segexport.verdict import Check, Verdict, overall

_CHANGING = frozenset({"prune", "finetune", "qat"})  # steps after which the weights are others


def conclude(measured: Measurement) -> Report:
    """The report of a run."""
    results = tuple(_result(entry, measured) for entry in measured.exports)
    return Report(
        segexport_version=__version__,
        created=now(),
        title=measured.title or measured.reference.artifact.manifest.name,
        verdict=overall(result.verdict for result in results),
        metric=_metric(measured),
        task="semantic" if measured.truth is None else "instance",
        labels=measured.labels,
        dataset=measured.dataset,
        reference=_reference(measured.reference, measured),
        exports=results,
        environment=measured.environment,
        notes=(*measured.notes, *_remarks(measured)),
    )


def _metric(measured: Measurement) -> str:
    if measured.truth is not None:
        return AP_CONVENTION
    return metrics.MIOU_CONVENTION if measured.comparison.labelled else metrics.MASK_IOU_CONVENTION


def _remarks(measured: Measurement) -> list[str]:
    """What is odd about the data."""
    counts = measured.comparison.reference.counts
    if not measured.comparison.labelled or not len(counts):
        return []
    there = np.flatnonzero(np.sum(counts, axis=0)[1])
    if len(there) != 1:
        return []
    name, classes = measured.labels[there[0]].name, len(measured.labels)
    return [f"the labels hold one class only, {name}: mIoU tells little about a model with {classes} classes"]


def _notes(lineage: Sequence[LineageEntry]) -> tuple[str, ...]:
    """Those of the last step, and the warnings of the steps before it."""
    before = [note for entry in lineage[:-1] for note in entry.notes if is_warning(note)]
    return tuple(dict.fromkeys((*before, *lineage[-1].notes))) if lineage else ()


def _result(entry: Measured, measured: Measurement) -> ExportResult:
    export, reference, comparison = entry.export, measured.reference, measured.comparison
    common: dict[str, Any] = {
        "name": export.name,
        "format": export.format,
        "precision": export.precision.value,
    }
    if export.artifact is not None:
        manifest = export.artifact.manifest
        common |= {
            "target": manifest.target.arch,
            "digest": export.artifact.digest,
            "size_bytes": export.artifact.size_bytes,
            "size_ratio": export.artifact.size_bytes / reference.artifact.size_bytes,
            "notes": _notes(manifest.lineage),
        }
    if entry.info is not None:
        info = entry.info
        common |= {"runtime": f"{info.runtime} {info.version}", "provider": info.provider, "device": info.device}
        common["notes"] = (*common["notes"], *info.notes)
    if entry.error is not None or not entry.tally.images:
        message = str(entry.error) if entry.error is not None else "no image was run"
        failed = Check(name="export.runs", verdict=Verdict.ERROR, message=message.splitlines()[0])
        return ExportResult(**common, verdict=Verdict.ERROR, checks=(failed,), error=message)

    tally, own = entry.tally, comparison.reference
    base = _fp32_of_same_format(entry, measured.exports)
    limits = export.effective_limits
    ratio = ratio_to(base.timing, entry.timing) if base is not None else ratio_to_reference(reference, entry)
    against = base.export.name if base is not None else reference.as_baseline
    if measured.truth is None:
        found, figures = _pixels(tally, own, limits, measured)
    else:
        found, figures = judged(tally, own, measured.truth, limits, comparison.names, measured.groups)
    checks = [
        *found,
        *_cost_checks(entry, base, ratio, against, measured),
        *entry.more,
    ]
    return ExportResult(
        **common,
        **figures,
        verdict=overall(found.verdict for found in checks if found.gated),
        latency=latency_of(entry.timing, entry.info, tally, comparison.preprocess_ms),
        latency_ms=percentiles_of(entry.timing),
        latency_ratio=None if ratio is None else ratio.value,
        latency_ratio_interval=None if ratio is None else ratio.interval,
        latency_baseline="" if ratio is None else against,
        checks=tuple(checks),
        operators=entry.operators,
        worst_images=entry.worst,
    )


def _pixels(tally: Counts, own: Counts, limits: Limits, measured: Measurement) -> tuple[list[Check], dict[str, Any]]:
    """The checks of a model that gives the class of each pixel, and the figures of its row."""
    comparison = measured.comparison
    groups = measured.groups
    delta = paired_delta(np.stack(own.counts), np.stack(tally.counts), groups=groups)
    boundary = paired_delta(np.stack(own.boundary), np.stack(tally.boundary), groups=groups)
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
        *agreement_checks(
            tally.agreement,
            limits,
            confident=tally.decided_agreement,
            mask_counts=None if tally.mask_confusion is None else metrics.class_counts(tally.mask_confusion),
            images=comparison.names,
            labels=[label.name for label in measured.reference.artifact.manifest.labels],
        ),
        *_accuracy_checks(delta, boundary, limits, agreement, names, comparison.labelled),
    ]
    scores = metrics.scores(tally.confusion)
    own_iou = metrics.scores(own.confusion).class_iou
    figures = {
        "miou": delta.miou_export,
        "miou_reference": delta.miou_reference,
        "miou_delta": delta.delta,
        "miou_delta_interval": delta.interval,
        "pixel_accuracy": scores.pixel_accuracy,
        "kappa": scores.kappa,
        "agreement": agreement if tally.agreement else None,
        "agreement_worst": min(tally.agreement, default=None),
        "class_iou": scores.class_iou,
        "class_iou_delta": tuple(
            None if a is None or b is None else a - b for a, b in zip(scores.class_iou, own_iou, strict=True)
        ),
    }
    return checks, figures


def _fp32_of_same_format(entry: Measured, others: list[Measured]) -> Measured | None:
    """The export that a smaller precision has to beat, and one whose weights were changed; with the same head if any.

    None for an fp32 export of the model as it was.
    """
    if entry.export.precision is Precision.FP32 and not _changed(entry):
        return None
    found = [
        other
        for other in others
        if other.export.format == entry.export.format
        and other.export.precision is Precision.FP32
        and other.error is None
        and other.export.artifact is not None
        and (entry.export.precision is not Precision.FP32 or not _changed(other))
    ]
    same_head = [other for other in found if _head(other) == _head(entry)]
    return next(iter(same_head or found), None)


def _changed(entry: Measured) -> bool:
    """Whether it was pruned or trained again."""
    return any(step.step in _CHANGING for step in entry.export.artifact.manifest.lineage)


def _head(entry: Measured) -> dict[str, Any]:
    """What was asked of the head; empty where it was kept."""
    lineage = entry.export.artifact.manifest.lineage
    return next((step.params for step in reversed(lineage) if step.step == "set_head"), {})


def _accuracy_checks(
    delta: PairedDelta, boundary: PairedDelta, limits: Limits, agreement: float, names: list[str], labelled: bool
) -> list[Check]:
    alarm = gates.independence_check(delta, agreement=agreement)
    return [
        *([] if labelled else [mask_iou_check(delta.miou_export, limits)]),
        *([] if alarm is None else [alarm]),
        gates.miou_check(delta, limits, agreement=agreement, labelled=labelled),
        gates.class_check(delta, limits, labels=names, labelled=labelled),
        gates.boundary_check(boundary, limits, agreement=agreement, labelled=labelled),
    ]


def _cost_checks(
    entry: Measured, base: Measured | None, ratio: LatencyRatio | None, against: str, measured: Measurement
) -> list[Check]:
    """Size, latency, and whether the compression is real."""
    export, limits = entry.export, entry.export.effective_limits
    baseline = base.export.artifact if base is not None else measured.reference.artifact
    size_ratio = export.artifact.size_bytes / baseline.size_bytes
    common = {"against": against, "on_target": export.artifact.manifest.target.arch == "any"}
    effect = cost_gates.compression_check(size_ratio, ratio, export.precision, limits, **common)
    decides = export.latency_decides(measured.latency)
    if effect.verdict is Verdict.INCONCLUSIVE and not decides:  # for want of times
        effect = _told(effect)
    checks = [cost_gates.size_check(export.artifact.size_bytes, baseline.size_bytes, limits, against=against)]
    if ratio is not None:
        latency = cost_gates.latency_check(ratio, limits, **common, load=_load(measured))
        checks.append(latency if decides else _told(latency))
    return [*checks, effect]


def _told(check: Check) -> Check:
    return check.model_copy(update={"gated": False})


def _load(measured: Measurement) -> str:
    load, cores = measured.environment.get("load_average"), measured.environment.get("cores")
    return f" (load average {load['before timing']:g} on {cores} cores)" if load else ""


def _reference(run: ReferenceRun, measured: Measurement) -> Reference:
    own, labelled = measured.comparison.reference, measured.comparison.labelled
    figures: dict[str, Any]
    if measured.truth is not None:
        figures = {"objects": reference_scores(own, measured.truth)}
    else:
        scores = metrics.scores(own.confusion)
        figures = {
            "miou": scores.miou if labelled else None,
            "pixel_accuracy": scores.pixel_accuracy if labelled else None,
            "kappa": scores.kappa if labelled else None,
            "class_iou": scores.class_iou,
        }
    return Reference(
        **figures,
        name=run.artifact.manifest.name,
        runtime=f"{run.info.runtime} {run.info.version}",
        provider=run.info.provider,
        device=run.info.device,
        is_gpu=run.is_gpu,
        recorded=run.recorded,
        digest=run.artifact.digest,
        size_bytes=run.artifact.size_bytes,
        latency=None if run.is_gpu else run.times,
        gpu_latency=run.times if run.is_gpu else None,
        proof=run.proof,
        notes=run.notes,
    )
