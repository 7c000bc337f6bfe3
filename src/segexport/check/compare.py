"""Runs exports and their reference on the same images, and passes the measurements to `conclude`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from segexport.artifact import ModelArtifact
from segexport.check.audit import audit_export
from segexport.check.build_report import conclude
from segexport.check.calibration_domain import CalibrationDomain
from segexport.check.counting import count_exports
from segexport.check.request import CheckRequest, Probe
from segexport.check.sessions import OpenModels, RunningExport, in_each_runtime, open_models
from segexport.check.shown_images import draw_images
from segexport.check.timing import time_models
from segexport.data.dataset import Dataset
from segexport.errors import MismatchError, capture_error
from segexport.judge.results import Export, Measured, Measurement
from segexport.measure import parity
from segexport.measure.environment import describe_machine, load_average
from segexport.progress import Progress
from segexport.references.recheck import RequiredAgreement, contradiction_of
from segexport.report.schema import DatasetInfo, Groups, Report
from segexport.runtimes.watched import proof_of, timed_graph
from segexport.task.base import ScoredClasses, Task, TaskScorer
from segexport.task.registry import task_of

SHARED_CONTRACT = "the reference's input size is dynamic, so it was given the exports' input size"


@dataclass(frozen=True)
class PreparedCheck:
    """A request that was examined: everything that can be known before a model runs.

    Attributes:
        request: With images in the reference's form.
        rows: The exports, one per requested runtime.
    """

    request: CheckRequest
    task: Task[Any]
    classes: ScoredClasses
    rows: tuple[Export, ...]

    def scorer(self, data: Dataset, keep: int | None = None) -> TaskScorer[Any]:
        """The scorer for some of the images; `keep`: number of worst images, by default the request's."""
        manifest = self.request.reference.artifact.manifest
        keep = self.request.options.worst_images if keep is None else keep
        return self.task.scorer(manifest, data, self.classes, keep)

    def notes(self) -> tuple[str, ...]:
        """The notes on the request and its data."""
        return (*self.request.notes, *self.task.suspicions(self.request.data, len(self.classes.labels)))

    def described(self) -> DatasetInfo:
        """The data, for the report; reads all files once."""
        data = self.request.all_data
        return DatasetInfo(
            path=data.root.absolute().name,
            split=data.split,
            images=len(data),
            labelled=self.request.data.labelled,
            fingerprint=data.fingerprint,
            label_map=self.classes.label_map,
            groups=_groups(data),
        )


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
    prepared = prepare(request)
    request, reference, data = prepared.request, prepared.request.reference, prepared.request.data
    with ExitStack() as stack:
        models = open_models(request, prepared.rows, stack)
        scorer = prepared.scorer(data)
        comparison = compared(models, data, scorer, progress=request.progress)
        probes = (*request.probes, CalibrationDomain(request.all_data))
        for export in models.running:
            counts = comparison.exports[export.model.name]
            export.shown = draw_images(request, export.model.name, counts, comparison.reference, scorer)
            _ask(probes, export)

        def again(images: Sequence[int]) -> parity.Comparison:
            return compared_again(prepared, models, [data.entries[index].image for index in images])

        try_reference(prepared, models.running, comparison, again)
    own = models.reference
    loads = [load_average()]
    graphs = {export.model.name: export.graph for export in models.running if export.error is None}
    timing = time_models(request, models, timed_graph(proof_of(own.session)), graphs)
    loads.append(load_average())
    for export in models.running:
        if export.error is None:
            audit_export(request, export, export.model, export.graph)
    count_exports(request, models.running)
    environment = describe_machine()
    if request.options.timing_seconds and None not in loads:
        environment["load_average"] = {"before timing": loads[0], "after timing": loads[1]}
    return Measurement(
        title=request.title,
        reference=reference.run(own.session.info, proof_of(own.session), comparison, timing),
        exports=list(models.exports),
        comparison=comparison,
        judge=scorer.judge(comparison),
        labels=prepared.classes.labels,
        dataset=prepared.described(),
        environment=environment,
        latency=request.options.latency,
        notes=(*prepared.notes(), *(() if models.contract is None else (SHARED_CONTRACT,))),
        groups=data.image_groups,
    )


def prepare(request: CheckRequest) -> PreparedCheck:
    """Examines a request.

    Raises:
        InputError: Reference, data and exports do not fit each other.
    """
    request = request.read_for_reference()
    model = request.reference.artifact
    task = task_of(model.manifest)
    for artifact in (export.artifact for export in request.exports):
        if artifact is not None:
            _require_comparable(artifact, model)
    task.require_data(request.data)
    classes = task.scored_classes(model.manifest, request.data, request.label_map)
    request.reference.require_fit(request.exports)
    return PreparedCheck(request, task, classes, in_each_runtime(request.exports, request.options.runtimes))


def compared(
    models: OpenModels, data: Dataset, scorer: TaskScorer[Any], *, progress: Progress, repeat: bool = True
) -> parity.Comparison:
    """Runs the opened models over `data`; each export keeps its counts and its error.

    Args:
        repeat: As in `parity.compare`.
    """
    opened = [export.opened for export in models.running]
    comparison = parity.compare(models.reference, opened, data, scorer, progress=progress, repeat=repeat)
    for export in models.running:
        counts = comparison.exports[export.model.name]
        export.counts, export.error, export.info = counts, counts.error, export.opened.session.info
    return comparison


def compared_again(prepared: PreparedCheck, models: OpenModels, images: Sequence[str]) -> parity.Comparison:
    """Compares the exports with the reference that is opened again, on some images."""
    data = prepared.request.data
    entries = {entry.image: entry for entry in data.entries}
    chosen = replace(data, entries=tuple(entries[name] for name in images))
    model = prepared.request.reference.open_again()
    with closing(model.session):
        own = replace(models.reference, session=model.session)
        opened = [export.opened for export in models.running]
        return parity.compare(own, opened, chosen, prepared.scorer(chosen, keep=0))


def try_reference(
    prepared: PreparedCheck,
    exports: Sequence[Measured],
    comparison: parity.Comparison,
    again: Callable[[Sequence[int]], parity.Comparison],
) -> None:
    """Checks the reference if exports contradict it; adds the result to their checks.

    Args:
        again: As in `Reference.recheck`.
    """
    required = {one.export.name: RequiredAgreement.of(one.export, prepared.task) for one in exports}
    if contradiction := contradiction_of(comparison, required):
        checks = prepared.request.reference.recheck(contradiction, comparison, again)
        for one in exports:
            if check := checks.get(one.export.name):
                one.more.append(check)


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


def _ask(probes: Iterable[Probe], export: RunningExport) -> None:
    """Runs the probes in order, up to the first error."""
    if export.error is None:
        with capture_error(export):
            for probe in probes:
                export.more += probe(export.export, export.opened.session)


def _groups(data: Dataset) -> Groups | None:
    sizes = Counter(data.image_groups or ()).values()
    return Groups(how=data.groups, count=len(sizes), smallest=min(sizes), largest=max(sizes)) if sizes else None
