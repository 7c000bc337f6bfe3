"""Checks exports against the reference: runs them, times them, and hands what was measured to `conclude`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.check.classes import Classes, classes_of, object_classes, require_fitting
from segexport.data.dataset import Dataset
from segexport.errors import capture_error
from segexport.exporter.set_head import declared_small_mask
from segexport.judge.build_report import conclude
from segexport.judge.results import REFERENCE, Export, Measured, Measurement
from segexport.measure import latency, parity
from segexport.measure.audit import audited
from segexport.measure.environment import describe_machine
from segexport.measure.live_model import LiveModel
from segexport.measure.parity import ModelUnderTest
from segexport.progress import Progress, silent
from segexport.recipe.schema import CheckRecipe
from segexport.references.base import Reference
from segexport.references.trial import Accuser, Anew, charge_of
from segexport.report.schema import DatasetInfo, Report, WorstImage
from segexport.runtimes.base import RunOptions, Session
from segexport.runtimes.watched import timed_graph, with_graph
from segexport.task.instance.compare import InstanceCounts, ObjectScorer
from segexport.task.instance.draw import object_panel
from segexport.task.instance.judge import ObjectTruth
from segexport.ui.pictures import panel, suffix
from segexport.verdict import Check

_AUDITED_IMAGES = 4

__all__ = ["Export", "Probe", "check", "measure"]

Probe = Callable[[Export, Session], list[Check]]
"""Asks an opened export something more; what it finds becomes part of the export's checks."""


@dataclass
class _Opened(Measured):
    """An export on its way through the check."""

    model: LiveModel | None = None
    opened: ModelUnderTest | None = None

    @property
    def artifact(self) -> ModelArtifact:
        return self.subject.artifact


def check(
    reference: Reference,
    subjects: list[Export],
    data: Dataset,
    folder: Path,
    options: CheckRecipe,
    *,
    title: str = "",
    label_map: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
    probes: tuple[Probe, ...] = (),
    progress: Progress = silent,
) -> Report:
    """Runs the whole check and draws the worst images into `folder / "images"`.

    Args:
        reference: The model that the exports were made from (`LiveReference`), or a recording of it.
        label_map: Class of the model -> class of the data, by name.
        notes: What a reader of the report should know about how it came about.
        probes: More questions to every export.

    Raises:
        SegexportError: The reference or the data cannot be used. An export that cannot is an ERROR in the report.
    """
    arguments = {"title": title, "label_map": label_map, "notes": notes, "probes": probes, "progress": progress}
    return conclude(measure(reference, subjects, data, folder, options, **arguments))


def measure(
    reference: Reference,
    subjects: list[Export],
    data: Dataset,
    folder: Path,
    options: CheckRecipe,
    *,
    title: str = "",
    label_map: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
    probes: tuple[Probe, ...] = (),
    whole: Dataset | None = None,
    progress: Progress = silent,
) -> Measurement:
    """The part of `check` that runs models; arguments as there.

    Args:
        whole: The data that `data` is a share of; pictures are numbered, and audits are made, as of all of it.
    """
    whole = whole or data
    model = reference.artifact
    is_instance = model.manifest.task == "instance"
    require_fitting(model, data, [subject.artifact for subject in subjects])
    classes = object_classes(model, data, label_map) if is_instance else classes_of(model, data, label_map)
    reference.require_fit(subjects)
    opened = [_Opened(subject, error=subject.error) for subject in subjects]
    with ExitStack() as stack:
        own = _open(stack, reference)
        for entry in opened:
            if entry.error is None:
                with capture_error(entry):
                    entry.model = _live(entry.subject, options)
                    entry.opened = _open(stack, entry.model)
        running = [entry for entry in opened if entry.opened is not None]
        contract = reference.shared_preprocess([entry.artifact for entry in running])
        own = replace(own, preprocess=contract or own.preprocess, lookup=None if is_instance else classes.lookup)
        contenders = [_contender(entry, own.lookup) for entry in running]
        comparison, counter = _compared(own, contenders, data, model, classes, options, progress)
        for entry in running:
            entry.tally = comparison.exports[entry.subject.name]
            entry.error = entry.tally.error
            entry.info = entry.opened.session.info
            entry.worst = _worst(entry, classes, data, whole, folder)
            if entry.error is None:
                _ask(entry, probes)

        def anew(witness: ModelUnderTest, images: Sequence[int]) -> parity.Comparison:
            again = replace(own, session=witness.session)
            chosen = replace(data, entries=tuple(data.entries[index] for index in images))
            return _compared(again, contenders, chosen, model, classes, options, silent)[0]

        _try(reference, running, comparison, anew)
    timings = _times(reference, own, running, data, options, progress)
    for entry in running:
        if entry.error is None:
            entry.operators, checks = _audited(entry, whole, options)
            entry.more += checks
    if contract is not None:
        notes = (*notes, "the reference's input is free, so it was given the exports' input size")
    return Measurement(
        title=title,
        reference=reference.run(own, comparison, timings.get(REFERENCE)),
        exports=list(opened),
        comparison=comparison,
        labels=classes.labels,
        dataset=DatasetInfo(
            path=whole.root.name,
            split=whole.split,
            images=len(whole),
            labelled=comparison.labelled,
            fingerprint=whole.fingerprint,
            label_map=classes.label_map,
        ),
        environment=describe_machine(),
        notes=notes,
        truth=None if counter is None else ObjectTruth(counter, len(classes.labels), comparison.labelled),
    )


def _compared(
    reference: ModelUnderTest,
    exports: list[ModelUnderTest],
    data: Dataset,
    model: ModelArtifact,
    classes: Classes,
    options: CheckRecipe,
    progress: Progress,
) -> tuple[parity.Comparison, ObjectScorer | None]:
    """Runs everything over `data`; the scorer is that of a model that finds objects."""
    counter = None
    if model.manifest.task == "instance":
        counter = ObjectScorer(reference, model.manifest, data, classes.lookup, options.worst_images)
    comparison = parity.compare(
        reference,
        exports,
        data,
        num_classes=len(classes.labels),
        model_classes=model.manifest.num_classes,
        ignore_index=data.ignore_index,
        worst_images=options.worst_images,
        counter=counter,
        progress=progress,
    )
    return comparison, counter


def _try(reference: Reference, running: list[_Opened], comparison: parity.Comparison, anew: Anew) -> None:
    """Puts the reference on trial where exports contradict it; what comes out is among their checks."""
    objects = isinstance(comparison.reference, InstanceCounts)
    exports = {entry.subject.name: Accuser.of(entry.subject, objects=objects) for entry in running}
    if charge := charge_of(comparison, exports):
        found = reference.stand_trial(charge, comparison, anew)
        for entry in running:
            if check := found.get(entry.subject.name):
                entry.more.append(check)


def _ask(entry: _Opened, probes: tuple[Probe, ...]) -> None:
    with capture_error(entry):
        for probe in probes:
            entry.more += probe(entry.subject, entry.opened.session)


def _audited(entry: _Opened, data: Dataset, options: CheckRecipe) -> tuple[dict[str, dict[str, int]], list[Check]]:
    images = (data.read(index).image for index in range(min(len(data), _AUDITED_IMAGES)))
    manifest = entry.artifact.manifest
    inputs = [preprocess.feed(manifest.inputs, *preprocess.apply(manifest.preprocess, image)) for image in images]
    run = with_graph(_run_options(options), timed_graph(entry.opened.session))
    return audited(entry.artifact, inputs, run)


# -- before the run --------------------------------------------------------------------------------------------


def _open(stack: ExitStack, model: LiveModel | Reference) -> ModelUnderTest:
    opened = model.open()
    stack.callback(opened.session.close)
    return opened


def _live(export: Export, options: CheckRecipe) -> LiveModel:
    return LiveModel(export.name, export.artifact, _run_options(options))


def _run_options(options: CheckRecipe) -> RunOptions:
    """What is timed is watched: times are those of Paddle's optimized program where it gives the plain one's masks."""
    found = RunOptions(device=options.device, threads=options.threads, timeout_s=options.timeout_s)
    return with_graph(found, "watched" if options.latency_seconds else "plain")


def _contender(entry: _Opened, lookup: np.ndarray | None) -> ModelUnderTest:
    return replace(entry.opened, lookup=lookup, small_mask=declared_small_mask(entry.artifact.manifest))


# -- times -----------------------------------------------------------------------------------------------------


def _times(
    reference: Reference,
    own: ModelUnderTest,
    running: list[_Opened],
    data: Dataset,
    options: CheckRecipe,
    progress: Progress,
) -> dict[str, latency.Timing]:
    """Times what ran; the sessions that gave the masks are closed by now, each measurement opens its own."""
    if not options.latency_seconds:
        return {}
    image = data.read(0).image
    program = reference.program(image, own)
    programs = {} if program is None else {REFERENCE: program}
    for entry in running:
        if entry.error is None:
            programs[entry.subject.name] = entry.model.program(image, entry.opened.session)
    timings = latency.measure_steadily(programs, options.latency_seconds, progress=progress)
    for entry in running:
        entry.timing = timings.get(entry.subject.name)
        if entry.timing is not None and entry.timing.error is not None:
            entry.error = entry.timing.error
    return timings


# -- pictures -----------------------------------------------------------------------------------------------------


def _worst(entry: _Opened, classes: Classes, data: Dataset, whole: Dataset, folder: Path) -> tuple[WorstImage, ...]:
    """Draws the images on which the export agrees least, worst first; those that agree in every pixel show nothing."""
    found = []
    pictures = folder / "images"
    for negative, negative_index, own_mask, mask in sorted(entry.tally.worst, key=lambda item: item[:2], reverse=True):
        if negative == -1.0:
            continue
        index = -negative_index
        sample = data.read(index)
        if isinstance(entry.tally, InstanceCounts):
            drawn = object_panel(sample, data, own_mask, mask, entry.artifact.manifest.labels)
        else:
            drawn = panel(sample.image, sample.label, own_mask, mask, classes.labels, data.ignore_index)
        pictures.mkdir(parents=True, exist_ok=True)
        name = f"{entry.subject.name}-{whole.entries.index(data.entries[index]):05d}{suffix(drawn)}"
        (pictures / name).write_bytes(drawn)
        found.append(
            WorstImage(
                image=sample.name,
                agreement=-negative,
                miou=entry.tally.image_miou(index),
                picture=f"images/{name}",
            )
        )
    return tuple(found)
