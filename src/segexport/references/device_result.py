"""Adds a phone's measurements to the report; its masks are compared here, not on the phone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.data.images import decode_label, image_size
from segexport.errors import MismatchError, UnreadableError
from segexport.judge.results import Export
from segexport.measure import metrics
from segexport.recipe.limits import Limits
from segexport.references.golden_pack import GoldenPack
from segexport.report.schema import ExportResult, Report
from segexport.runtimes.device_job import DeviceItem, DeviceProvider, DeviceResult, read_mask, read_result
from segexport.task.semantic.agreement_gates import agreement_checks
from segexport.verdict import Check, Verdict, overall


def with_device_rows(report: Report, exports: Sequence[Export], files: list[Path], pack: GoldenPack | None) -> Report:
    """The report with the rows of the result files, after the row of the export that the phone ran.

    A file gives one row, and one for each provider that the phone measured beside. Those do not decide: a provider that
    failed or computed other masks is SKIPPED, with the reason in its checks.

    Raises:
        InputError: A result belongs to a model that is not in `exports`, or to other images.
        WorkerFailed: The phone reports an error.
    """
    rows = list(report.exports)
    for file in files:
        result = read_result(file)
        export = _export_of(result, exports, file)
        place = next(index for index, row in enumerate(rows) if row.name == export.name)
        size_ratio = rows[place].size_ratio
        found = [device_row(export, result, file, pack, size_ratio=size_ratio)]
        found += [_beside(export, result, other, file, pack, size_ratio) for other in result.providers]
        rows[place + 1 : place + 1] = found
    return report.model_copy(update={"exports": tuple(rows), "verdict": overall(row.verdict for row in rows)})


def device_row(
    export: Export, result: DeviceResult, file: Path, pack: GoldenPack | None, *, size_ratio: float | None = None
) -> ExportResult:
    """One row: agreement with the expected masks, and the phone's times."""
    artifact, runtime = export.made, result.runtime
    if runtime is None:
        raise UnreadableError(f"{file}: nothing was run")
    limits = _limits(export, pack)
    if pack is not None and result.id != pack.digest:
        pack = None  # all packs have the same names of images
    pairs = [_masks(item, artifact, file, pack) for item in result.items]
    per_image = [metrics.agreement(found, wanted) for found, wanted in pairs]
    classes = artifact.manifest.num_classes
    counted = np.sum([metrics.confusion_matrix(wanted, found, classes, None) for found, wanted in pairs], axis=0)
    checks = agreement_checks(
        per_image,
        limits,
        mask_counts=metrics.class_counts(counted),
        images=[item.input for item in result.items],
        labels=[label.name for label in artifact.manifest.labels],
    )
    times = result.latency()
    ran = ", ".join(f"{count} on {name}" for name, count in runtime.operators.items())
    return ExportResult(
        name=f"{export.name} on {result.device_name}",
        format=export.format,
        precision=export.precision.value,
        runtime=f"{runtime.name} {runtime.version}",
        provider=runtime.provider,
        device=result.device_name,
        target=artifact.manifest.target.arch,
        digest=artifact.digest,
        verdict=overall(found.verdict for found in checks if found.gated),
        agreement=float(np.mean(per_image)),
        agreement_worst=min(per_image),
        size_bytes=artifact.size_bytes,
        size_ratio=size_ratio,
        latency=times,
        latency_ms=times.inference_ms,
        checks=tuple(checks),
        notes=(f"measured on the device, read from {file.name}", *([f"operators: {ran}"] if ran else [])),
    )


def _beside(
    export: Export,
    result: DeviceResult,
    other: DeviceProvider,
    file: Path,
    pack: GoldenPack | None,
    size_ratio: float | None,
) -> ExportResult:
    """The row of a provider that does not decide."""
    artifact = export.made
    name = f"{export.name} on {result.device_name}, {other.provider}"
    if other.error is not None:
        message = f"{other.provider} could not run the model: {other.error.message} ({other.error.kind})"
        return ExportResult(
            name=name,
            format=export.format,
            precision=export.precision.value,
            provider=other.provider,
            device=result.device_name,
            target=artifact.manifest.target.arch,
            digest=artifact.digest,
            verdict=Verdict.SKIPPED,
            size_bytes=artifact.size_bytes,
            size_ratio=size_ratio,
            checks=(Check(name="provider.run", verdict=Verdict.ERROR, message=f"{message}.", gated=False),),
            notes=(f"measured on the device, read from {file.name}",),
        )
    row = device_row(export, result.on(other), file, pack, size_ratio=size_ratio)
    checks = tuple(check.model_copy(update={"gated": False}) for check in row.checks)
    ran = other.runtime.operators if other.runtime is not None else {}
    idle = bool(ran) and other.provider not in ran
    if idle:
        message = f"{other.provider} ran none of the {sum(ran.values())} operators: the times are those of others"
        checks += (Check(name="provider.run", verdict=Verdict.FAIL, message=f"{message}.", gated=False),)
    verdict = Verdict.PASS if row.verdict is Verdict.PASS and not idle else Verdict.SKIPPED
    return row.model_copy(update={"name": name, "verdict": verdict, "checks": checks})


def _export_of(result: DeviceResult, exports: Sequence[Export], file: Path) -> Export:
    model = result.model
    if model is None:
        raise UnreadableError(f"{file}: nothing was run")
    for export in exports:
        if export.artifact is not None and model.sha256 in _digests(export.artifact):
            return export
    names = ", ".join(export.name for export in exports)
    raise MismatchError(
        f"{file}: {result.device_name} ran another model than any of {names}",
        cause=f"it ran {model.name} ({model.format}, {model.precision}), sha256 {model.sha256[:12]}...",
        hint="give the export that was put into the app, or run the app's self-test again with this one",
    )


def _digests(artifact: ModelArtifact) -> set[str]:
    return {entry.sha256 for entry in artifact.manifest.files if entry.role == "model"}


def _limits(export: Export, pack: GoldenPack | None) -> Limits:
    if pack is not None:
        return pack.limits(export.precision, export.limits)
    return export.effective_limits


def _masks(
    item: DeviceItem, artifact: ModelArtifact, file: Path, pack: GoldenPack | None
) -> tuple[np.ndarray, np.ndarray]:
    """(the phone's mask, the expected mask), with equal sizes."""
    found = read_mask(file.parent, item)
    sample = artifact.manifest.sample
    if pack is not None and item.input in {image.name for image in pack.pack.images}:
        wanted = pack.expected_mask(item.input)
    elif sample is not None and item.input == sample.input:
        wanted = decode_label(artifact.path / sample.expected_mask)
        if wanted.shape != found.shape:  # a sample's mask may have the image's size
            size = image_size(artifact.path / sample.input)
            found = preprocess.restore_mask(found, preprocess.place(artifact.manifest.preprocess, *size))
    else:
        raise MismatchError(
            f"{file}: the expected result of {item.input} is unknown",
            cause="it is neither an image of the golden pack nor the export's own sample",
            hint="give the golden pack that the phone ran: --golden PACK",
        )
    if found.shape != wanted.shape:
        raise MismatchError(
            f"{file}: the mask of {item.input} is {found.shape[1]}x{found.shape[0]}, "
            f"{wanted.shape[1]}x{wanted.shape[0]} is expected",
            cause="it is a result of another export or another pack",
        )
    return found, wanted
