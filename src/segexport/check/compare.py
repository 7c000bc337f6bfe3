"""Runs exports beside their reference on the same images, and hands what was measured to `conclude`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from segexport.check.audit import audit_export
from segexport.check.classes import Classes, classes_of, object_classes, require_fitting
from segexport.check.request import CheckRequest
from segexport.check.sessions import RunningExport, open_exports, open_model, require_runtimes
from segexport.check.timing import time_models
from segexport.check.worst_images import draw_worst
from segexport.data.dataset import Dataset
from segexport.data.label_scan import look
from segexport.errors import capture_error
from segexport.exporter.set_head import declared_small_mask
from segexport.judge.build_report import conclude
from segexport.judge.results import Measurement
from segexport.measure import parity
from segexport.measure.environment import describe_machine, load_average
from segexport.measure.parity import ModelUnderTest
from segexport.progress import silent
from segexport.references.base import Reference
from segexport.references.trial import Accuser, Anew, charge_of
from segexport.report.schema import DatasetInfo, Groups, Report
from segexport.task.instance.compare import ObjectScorer
from segexport.task.instance.judge import ObjectTruth


def check(request: CheckRequest) -> Report:
    """Runs the whole check.

    Raises:
        SegexportError: The reference or the data cannot be used. An export that cannot is an ERROR in the report.
    """
    return conclude(measure(request))


def measure(request: CheckRequest) -> Measurement:
    """The part of `check` that runs models; nobody has judged what it gives.

    Raises:
        SegexportError: As `check`.
    """
    request = request.read_for_reference()
    reference, data, options = request.reference, request.data, request.options
    manifest = reference.artifact.manifest
    is_instance = manifest.task == "instance"
    require_fitting(reference.artifact, data, [export.artifact for export in request.exports])
    classes_for = object_classes if is_instance else classes_of
    classes: Classes = classes_for(reference.artifact, data, request.label_map)
    reference.require_fit(request.exports)
    require_runtimes(options.runtimes, request.exports)
    with ExitStack() as stack:
        own = open_model(reference, stack)
        exports = open_exports(request.exports, options, stack)
        running = [export for export in exports if isinstance(export, RunningExport)]
        contract = reference.shared_preprocess([export.model.artifact for export in running])
        lookup = None if is_instance else classes.lookup
        own = replace(own, preprocess=contract or own.preprocess, lookup=lookup)
        models = [
            replace(one.opened, lookup=lookup, small_mask=declared_small_mask(one.model.artifact.manifest))
            for one in running
        ]
        comparison, counter = _compared(request, own, models, data, classes)
        for export in running:
            tally = comparison.exports[export.model.name]
            export.tally, export.error, export.info = tally, tally.error, export.opened.session.info
            export.worst = draw_worst(request, export, tally, classes)
            _ask(request, export)

        def anew(witness: ModelUnderTest, images: Sequence[int]) -> parity.Comparison:
            again = replace(own, session=witness.session)
            chosen = replace(data, entries=tuple(data.entries[index] for index in images))
            return _compared(replace(request, progress=silent), again, models, chosen, classes)[0]

        _try_reference(reference, running, comparison, anew)
    loads = [load_average()]
    timing = time_models(request, own, running)
    loads.append(load_average())
    for export in running:
        if export.error is None:
            audit_export(request, export)
    notes, environment = request.notes, describe_machine()
    if options.timing_seconds and None not in loads:
        environment["load_average"] = {"before timing": loads[0], "after timing": loads[1]}
    if not is_instance and (suspicion := look(data, len(classes.labels))):
        notes = (*notes, suspicion)
    if contract is not None:
        notes = (*notes, "the reference's input is free, so it was given the exports' input size")
    return Measurement(
        title=request.title,
        reference=reference.run(own, comparison, timing),
        exports=exports,
        comparison=comparison,
        labels=classes.labels,
        dataset=_described(request, classes),
        environment=environment,
        latency=options.latency,
        notes=notes,
        groups=data.image_groups,
        truth=None if counter is None else ObjectTruth(counter, len(classes.labels), comparison.labelled),
    )


def _compared(
    request: CheckRequest, reference: ModelUnderTest, exports: list[ModelUnderTest], data: Dataset, classes: Classes
) -> tuple[parity.Comparison, ObjectScorer | None]:
    """Runs everything over `data`; the scorer is that of models that find objects."""
    manifest, worst_images = request.reference.artifact.manifest, request.options.worst_images
    counter = None
    if manifest.task == "instance":
        counter = ObjectScorer(reference, manifest, data, classes.lookup, worst_images)
    comparison = parity.compare(
        reference,
        exports,
        data,
        num_classes=len(classes.labels),
        model_classes=manifest.num_classes,
        ignore_index=data.ignore_index,
        worst_images=worst_images,
        counter=counter,
        progress=request.progress,
    )
    return comparison, counter


def _try_reference(
    reference: Reference, running: list[RunningExport], comparison: parity.Comparison, anew: Anew
) -> None:
    """Puts the reference on trial where exports contradict it; what comes out is among their checks."""
    objects = reference.artifact.manifest.task == "instance"
    accusers = {one.export.name: Accuser.of(one.export, objects=objects) for one in running}
    if charge := charge_of(comparison, accusers):
        found = reference.stand_trial(charge, comparison, anew)
        for one in running:
            if check := found.get(one.export.name):
                one.more.append(check)


def _ask(request: CheckRequest, export: RunningExport) -> None:
    """Puts the probes' questions, in their order; the first error ends it."""
    if export.error is None:
        with capture_error(export):
            for probe in request.probes:
                export.more += probe(export.export, export.opened.session)


def _described(request: CheckRequest, classes: Classes) -> DatasetInfo:
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
