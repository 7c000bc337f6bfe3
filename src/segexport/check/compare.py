"""Runs exports and their reference on the same images, and passes the measurements to `conclude`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from segexport.artifact import ModelArtifact
from segexport.check.audit import audit_export
from segexport.check.build_report import conclude
from segexport.check.calibration_domain import CalibrationDomain
from segexport.check.counting import count_exports
from segexport.check.request import CheckRequest, Probe
from segexport.check.sessions import RunningExport, in_each_runtime, open_exports, open_model
from segexport.check.shown_images import draw_images
from segexport.check.timing import time_models
from segexport.data.dataset import Dataset
from segexport.errors import MismatchError, capture_error
from segexport.judge.results import Measurement
from segexport.measure import parity
from segexport.measure.environment import describe_machine, load_average
from segexport.measure.parity import ModelUnderTest
from segexport.references.base import Reference
from segexport.references.recheck import Anew, RequiredAgreement, contradiction_of
from segexport.report.schema import DatasetInfo, Groups, Report
from segexport.task.base import ScoredClasses, Task
from segexport.task.registry import task_of


def check(request: CheckRequest) -> Report:
    """Runs the whole check.

    Raises:
        SegexportError: The reference or the data cannot be used. An unusable export is an ERROR in the report.
    """
    return conclude(measure(request))


def measure(request: CheckRequest) -> Measurement:
    """The part of `check` that runs models; it does not decide verdicts.

    Raises:
        SegexportError: As `check`.
    """
    request = request.read_for_reference()
    reference, data, options = request.reference, request.data, request.options
    model = reference.artifact
    task = task_of(model.manifest)
    for artifact in (export.artifact for export in request.exports):
        if artifact is not None:
            _require_comparable(artifact, model)
    task.require_data(data)
    classes = task.scored_classes(model.manifest, data, request.label_map)
    reference.require_fit(request.exports)
    rows = in_each_runtime(request.exports, options.runtimes)
    with ExitStack() as stack:
        own = open_model(reference, stack)
        exports = open_exports(rows, options, stack)
        running = [export for export in exports if isinstance(export, RunningExport)]
        contract = reference.shared_preprocess([export.model.artifact for export in running])
        own = replace(own, preprocess=contract or own.preprocess)
        opened = [export.opened for export in running]
        scorer = task.scorer(model.manifest, data, classes, options.worst_images)
        comparison = parity.compare(own, opened, data, scorer, progress=request.progress)
        probes = (*request.probes, CalibrationDomain(request.all_data))
        for export in running:
            counts = comparison.exports[export.model.name]
            export.counts, export.error, export.info = counts, counts.error, export.opened.session.info
            export.shown = draw_images(request, export.model.name, counts, comparison.reference, scorer)
            _ask(probes, export)

        def anew(model: ModelUnderTest, images: Sequence[int]) -> parity.Comparison:
            chosen = replace(data, entries=tuple(data.entries[index] for index in images))
            scorer = task.scorer(model.manifest, chosen, classes, options.worst_images)
            return parity.compare(replace(own, session=model.session), opened, chosen, scorer)

        _try_reference(task, reference, running, comparison, anew)
    loads = [load_average()]
    timing = time_models(request, own, running)
    loads.append(load_average())
    for export in running:
        if export.error is None:
            audit_export(request, export)
    count_exports(request, running)
    notes, environment = (*request.notes, *task.suspicions(data, len(classes.labels))), describe_machine()
    if options.timing_seconds and None not in loads:
        environment["load_average"] = {"before timing": loads[0], "after timing": loads[1]}
    if contract is not None:
        notes = (*notes, "the reference's input size is dynamic, so it was given the exports' input size")
    return Measurement(
        title=request.title,
        reference=reference.run(own, comparison, timing),
        exports=exports,
        comparison=comparison,
        judge=scorer.judge(comparison),
        labels=classes.labels,
        dataset=_described(request, classes),
        environment=environment,
        latency=options.latency,
        notes=notes,
        groups=data.image_groups,
    )


def _require_comparable(export: ModelArtifact, reference: ModelArtifact) -> None:
    """Raises InputError for an export of another task, and for one whose images are decoded differently."""
    if export.manifest.task != reference.manifest.task:
        raise MismatchError(
            f"{export.path}: its task is {export.manifest.task}, that of the reference {reference.manifest.task}"
        )
    if export.manifest.preprocess.tiles != reference.manifest.preprocess.tiles:
        raise MismatchError(
            f"{export.path}: it is run in {_tiles(export)}, the reference in {_tiles(reference)}",
            cause="the masks would differ by the tiles, and not by the export",
            hint="--tile-size runs both in the same tiles",
        )
    own, other = reference.manifest.preprocess.pixels, export.manifest.preprocess.pixels
    if other != own:
        raise MismatchError(
            f"{export.path}: it takes {other.channels} channels ({other.color}, {other.depth}), "
            f"the reference {own.channels} ({own.color}, {own.depth})",
            hint="check it against the model that it was made from",
        )


def _tiles(artifact: ModelArtifact) -> str:
    tiles = artifact.manifest.preprocess.tiles
    if tiles is None:
        return "whole images"
    (width, height), (across, down) = tiles.size, tiles.overlap
    return f"tiles of {width}x{height} that overlap by {across}x{down} ({tiles.blend})"


def _try_reference(
    task: Task[Any], reference: Reference, running: list[RunningExport], comparison: parity.Comparison, anew: Anew
) -> None:
    """Checks the reference if exports contradict it; adds the result to their checks."""
    required = {one.model.name: RequiredAgreement.of(one.export, task) for one in running}
    if contradiction := contradiction_of(comparison, required):
        checks = reference.recheck(contradiction, comparison, anew)
        for one in running:
            if check := checks.get(one.model.name):
                one.more.append(check)


def _ask(probes: Iterable[Probe], export: RunningExport) -> None:
    """Runs the probes in order, up to the first error."""
    if export.error is None:
        with capture_error(export):
            for probe in probes:
                export.more += probe(export.export, export.opened.session)


def _described(request: CheckRequest, classes: ScoredClasses) -> DatasetInfo:
    data = request.all_data
    return DatasetInfo(
        path=data.root.name,
        split=data.split,
        images=len(data),
        labelled=request.data.labelled,
        fingerprint=data.fingerprint,
        label_map=classes.label_map,
        groups=_groups(data),
    )


def _groups(data: Dataset) -> Groups | None:
    sizes = Counter(data.image_groups or ()).values()
    return Groups(how=data.groups, count=len(sizes), smallest=min(sizes), largest=max(sizes)) if sizes else None
