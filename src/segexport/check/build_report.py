"""Builds the report from the measurements: compares each export's figures with its limits. Nothing runs here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segexport import __version__
from segexport.artifact import LineageEntry, is_warning
from segexport.judge import cost_gates
from segexport.judge.gates import values_check
from segexport.judge.results import REFERENCE, Measured, Measurement, ReferenceRun
from segexport.judge.times import latency_of, percentiles_of, ratio_to, ratio_to_reference
from segexport.measure.audit import NOT_RUN
from segexport.measure.environment import now
from segexport.measure.latency_statistics import LatencyRatio
from segexport.report.schema import ExportResult, ReferenceResult, Report, ShownImage
from segexport.spec import Precision
from segexport.verdict import Check, Verdict, overall

_CHANGING = frozenset({"prune", "finetune", "qat"})  # steps that change the weights


def conclude(measured: Measurement) -> Report:
    """The report of a run."""
    results = tuple(_result(entry, measured) for entry in measured.exports)
    return Report(
        segexport_version=__version__,
        created=now(),
        title=measured.title or measured.reference.artifact.manifest.name,
        verdict=overall(result.verdict for result in results),
        metric=measured.judge.convention,
        task=measured.judge.task,
        labels=measured.labels,
        dataset=measured.dataset,
        reference=_reference(measured.reference, measured),
        exports=results,
        environment=measured.environment,
        notes=(*measured.notes, *measured.judge.remarks()),
    )


def _notes(lineage: Sequence[LineageEntry]) -> tuple[str, ...]:
    """The notes of the last step, and the warnings of the steps before it."""
    before = [note for entry in lineage[:-1] for note in entry.notes if is_warning(note)]
    return tuple(dict.fromkeys((*before, *lineage[-1].notes))) if lineage else ()


def _result(entry: Measured, measured: Measurement) -> ExportResult:
    export, reference = entry.export, measured.reference
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
    if entry.error is not None or entry.counts is None or not entry.counts.images:
        message = str(entry.error) if entry.error is not None else "no image was run"
        failed = Check(name="export.runs", verdict=Verdict.ERROR, message=message.splitlines()[0])
        return ExportResult(**common, verdict=Verdict.ERROR, checks=(failed,), error=message)

    base = _fp32_of_same_format(entry, measured.exports)
    limits = export.effective_limits
    ratio = ratio_to(base.timing, entry.timing) if base is not None else ratio_to_reference(reference, entry)
    against = base.export.name if base is not None else REFERENCE
    gated, figures = measured.judge.export(entry.counts, limits)
    shown = _each_once(entry.shown)
    checks = [
        *gated,
        *_cost_checks(entry, base, ratio, against, measured),
        *entry.more,
        *_values_checks(entry),
    ]
    return ExportResult(
        **common,
        **figures,
        verdict=overall(check.verdict for check in checks if check.gated),
        latency=latency_of(entry.timing, entry.info, entry.counts, measured.comparison.preprocess_ms),
        latency_ms=percentiles_of(entry.timing),
        latency_ratio=None if ratio is None else ratio.value,
        latency_ratio_interval=None if ratio is None else ratio.interval,
        latency_baseline="" if ratio is None else against,
        instructions=entry.instructions.counts if entry.instructions is not None else {},
        checks=tuple(checks),
        operators=entry.operators,
        worst_images=tuple(one for one in shown if one.chosen == "worst"),
        other_images=tuple(one for one in shown if one.chosen != "worst"),
    )


def _each_once(images: Sequence[ShownImage]) -> tuple[ShownImage, ...]:
    """Removes repeated images: one with several reasons is kept at its first place."""
    first: dict[str, ShownImage] = {}
    for image in images:
        first.setdefault(image.image, image)
    return tuple(first.values())


def _values_checks(entry: Measured) -> list[Check]:
    """Reports if another file or other arithmetic ran instead of the export's."""
    not_run = entry.info.not_run if entry.info is not None else ""
    not_run = not_run or next((check.details[NOT_RUN] for check in entry.more if NOT_RUN in check.details), "")
    return [values_check(not_run)] if not_run else []


def _fp32_of_same_format(entry: Measured, others: list[Measured]) -> Measured | None:
    """The baseline for size and latency of a smaller precision, or of changed weights: an export in the same runtime.

    Prefers one with the same head. None for an fp32 export of the unchanged model.
    """
    if entry.export.precision is Precision.FP32 and not _changed(entry):
        return None
    found = [
        other
        for other in others
        if (other.export.format, other.export.runtime) == (entry.export.format, entry.export.runtime)
        and other.export.precision is Precision.FP32
        and other.error is None
        and other.export.artifact is not None
        and (entry.export.precision is not Precision.FP32 or not _changed(other))
    ]
    same_head = [other for other in found if _head(other) == _head(entry)]
    return next(iter(same_head or found), None)


def _changed(entry: Measured) -> bool:
    """Whether it was pruned or trained again."""
    return any(step.step in _CHANGING for step in entry.export.made.manifest.lineage)


def _head(entry: Measured) -> dict[str, Any]:
    """The export's head option; empty if the head was kept."""
    lineage = entry.export.made.manifest.lineage
    return next((step.params for step in reversed(lineage) if step.step == "set_head"), {})


def _cost_checks(
    entry: Measured, base: Measured | None, ratio: LatencyRatio | None, against: str, measured: Measurement
) -> list[Check]:
    """Size, latency, instructions, and whether the compression is real."""
    export, limits = entry.export, entry.export.effective_limits
    artifact = export.made
    baseline = base.export.made if base is not None else measured.reference.artifact
    size_ratio = artifact.size_bytes / baseline.size_bytes
    common = {"against": against, "on_target": artifact.manifest.target.arch == "any"}
    effect = cost_gates.compression_check(size_ratio, ratio, export.precision, limits, **common)
    decides = export.latency_decides(measured.latency)
    if effect.verdict is Verdict.INCONCLUSIVE and not decides:  # because there are no times
        effect = _told(effect)
    name = base.export.name if base is not None else REFERENCE
    checks = [cost_gates.size_check(artifact.size_bytes, baseline.size_bytes, limits, against=name)]
    latency = None
    if ratio is not None:
        latency = cost_gates.latency_check(ratio, limits, **common, load=_load(measured))
    elif base is None and entry.timing is not None and measured.reference.unoptimized:
        latency = cost_gates.no_latency_baseline(limits)
    if latency is not None:
        checks.append(latency if decides else _told(latency))
    if entry.instructions is not None:
        before = None if base is None else base.instructions
        checks.append(cost_gates.instructions_check(entry.instructions, before, limits, against=name))
    return [*checks, effect]


def _told(check: Check) -> Check:
    return check.model_copy(update={"gated": False})


def _load(measured: Measurement) -> str:
    load, cores = measured.environment.get("load_average"), measured.environment.get("cores")
    return f" (load average {load['before timing']:g} on {cores} cores)" if isinstance(load, dict) else ""


def _reference(run: ReferenceRun, measured: Measurement) -> ReferenceResult:
    return ReferenceResult(
        **measured.judge.reference(),
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
