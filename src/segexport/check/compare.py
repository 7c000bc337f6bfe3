"""Checks exports against the reference: runs them, times them, and hands what was measured to `conclude`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.check.classes import Classes, classes_of, object_classes, require_fitting
from segexport.data.dataset import Dataset
from segexport.errors import capture_error
from segexport.exporter.set_head import declared_small_mask
from segexport.judge.build_report import conclude
from segexport.judge.results import REFERENCE, Export, Measured, Measurement, ReferenceRun
from segexport.judge.times import latency_of
from segexport.measure import latency, parity
from segexport.measure.audit import audited
from segexport.measure.environment import describe_machine
from segexport.measure.parity import ModelUnderTest
from segexport.pipeline.registry import runtime_for
from segexport.progress import Progress, silent
from segexport.recipe.schema import CheckRecipe
from segexport.references.recorded_reference import Playback
from segexport.report.schema import DatasetInfo, Report, WorstImage
from segexport.runtimes.base import RunOptions, Session
from segexport.spec import Preprocess
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

    session: Session | None = None

    @property
    def artifact(self) -> ModelArtifact:
        return self.subject.artifact


def check(
    reference: ModelArtifact | Playback,
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
        reference: The model that the exports were made from, or a recording of it.
        label_map: Class of the model -> class of the data, by name.
        notes: What a reader of the report should know about how it came about.
        probes: More questions to every export.

    Raises:
        SegexportError: The reference or the data cannot be used. An export that cannot is an ERROR in the report.
    """
    arguments = {"title": title, "label_map": label_map, "notes": notes, "probes": probes, "progress": progress}
    return conclude(measure(reference, subjects, data, folder, options, **arguments))


def measure(
    reference: ModelArtifact | Playback,
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
    playback = reference if isinstance(reference, Playback) else None
    model = playback.artifact if playback is not None else reference
    is_instance = model.manifest.task == "instance"
    require_fitting(model, data, [subject.artifact for subject in subjects])
    classes = object_classes(model, data, label_map) if is_instance else classes_of(model, data, label_map)
    opened = [_Opened(subject, error=subject.error) for subject in subjects]
    if playback is not None:
        playback.require_fit([subject for subject in subjects if subject.artifact is not None])
    with ExitStack() as stack:
        own = _open(stack, model, options, options.reference_device) if playback is None else playback.session()
        for entry in opened:
            if entry.error is None:
                with capture_error(entry):
                    entry.session = _open(stack, entry.artifact, options, options.device)
        running = [entry for entry in opened if entry.session is not None]
        contract = _shared_preprocess(model, running) if playback is None else None
        contender = ModelUnderTest(
            REFERENCE,
            own,
            contract or model.manifest.preprocess,
            model.manifest.image,
            None if is_instance else classes.lookup,
            None if playback is None else own.choose,
            inputs=model.manifest.inputs,
        )
        counter = None
        if is_instance:
            counter = ObjectScorer(contender, model.manifest, data, classes.lookup, options.worst_images)
        comparison = parity.compare(
            contender,
            [_contender(entry, contender.lookup) for entry in running],
            data,
            num_classes=len(classes.labels),
            model_classes=model.manifest.num_classes,
            ignore_index=data.ignore_index,
            worst_images=options.worst_images,
            counter=counter,
            progress=progress,
        )
        for entry in running:
            entry.tally = comparison.exports[entry.subject.name]
            entry.error = entry.tally.error
            entry.info = entry.session.info
            entry.worst = _worst(entry, classes, data, whole, folder)
            if entry.error is None:
                _ask(entry, probes)
    timings = _times(None if playback is not None else model, contender, running, data, options, progress)
    for entry in running:
        if entry.error is None:
            entry.operators, checks = _audited(entry, whole, options)
            entry.more += checks
    if contract is not None:
        notes = (*notes, "the reference's input is free, so it was given the exports' input size")
    return Measurement(
        title=title,
        reference=_reference_run(reference, own, comparison, timings.get(REFERENCE), options),
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


def _ask(entry: _Opened, probes: tuple[Probe, ...]) -> None:
    with capture_error(entry):
        for probe in probes:
            entry.more += probe(entry.subject, entry.session)


def _audited(entry: _Opened, data: Dataset, options: CheckRecipe) -> tuple[dict[str, dict[str, int]], list[Check]]:
    images = (data.read(index).image for index in range(min(len(data), _AUDITED_IMAGES)))
    manifest = entry.artifact.manifest
    inputs = [preprocess.feed(manifest.inputs, *preprocess.apply(manifest.preprocess, image)) for image in images]
    return audited(entry.artifact, inputs, _run_options(options, options.device))


def _reference_run(
    reference: ModelArtifact | Playback,
    own: Session,
    comparison: parity.Comparison,
    timing: latency.Timing | None,
    options: CheckRecipe,
) -> ReferenceRun:
    if isinstance(reference, Playback):
        return reference.run()
    on_gpu = options.reference_device.startswith("gpu")
    notes = own.info.notes
    if not on_gpu:
        notes = (*notes, "the reference ran on the CPU, as a substitute for a GPU")
    times = latency_of(timing, own.info, comparison.reference, comparison.preprocess_ms)
    return ReferenceRun(reference, own.info, on_gpu, times, timing, None, notes)


# -- before the run --------------------------------------------------------------------------------------------


def _open(stack: ExitStack, artifact: ModelArtifact, options: CheckRecipe, device: str) -> Session:
    session = _opened(artifact, options, device)
    stack.callback(session.close)
    return session


def _opened(artifact: ModelArtifact, options: CheckRecipe, device: str) -> Session:
    return runtime_for(artifact.manifest.format, device).open(artifact, _run_options(options, device))


def _run_options(options: CheckRecipe, device: str) -> RunOptions:
    return RunOptions(device=device, threads=options.threads, timeout_s=options.timeout_s)


def _contender(entry: _Opened, lookup: np.ndarray | None) -> ModelUnderTest:
    manifest = entry.artifact.manifest
    small = declared_small_mask(manifest)
    return ModelUnderTest(
        entry.subject.name,
        entry.session,
        manifest.preprocess,
        manifest.image,
        lookup,
        small_mask=small,
        inputs=manifest.inputs,
    )


def _shared_preprocess(reference: ModelArtifact, running: list[_Opened]) -> Preprocess | None:
    """The exports' preprocessing where the reference takes any size: both must see the same tensor."""
    contracts = {entry.artifact.manifest.preprocess for entry in running}
    free = -1 in reference.manifest.image.shape[2:]
    if free and len(contracts) == 1 and contracts != {reference.manifest.preprocess}:
        return contracts.pop()
    return None


# -- times -----------------------------------------------------------------------------------------------------


def _times(
    own: ModelArtifact | None,
    contender: ModelUnderTest,
    running: list[_Opened],
    data: Dataset,
    options: CheckRecipe,
    progress: Progress,
) -> dict[str, latency.Timing]:
    """Times what ran; the sessions that gave the masks are closed by now, each measurement opens its own."""
    if not options.latency_seconds:
        return {}
    image = data.read(0).image

    def program(artifact: ModelArtifact, device: str, contract: Preprocess) -> latency.Program:
        tensors = preprocess.feed(artifact.manifest.inputs, *preprocess.apply(contract, image))
        return latency.Program(lambda: _opened(artifact, options, device), tensors)

    programs = {} if own is None else {REFERENCE: program(own, options.reference_device, contender.preprocess)}
    for entry in running:
        if entry.error is None:
            contract = entry.artifact.manifest.preprocess
            programs[entry.subject.name] = program(entry.artifact, options.device, contract)
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
