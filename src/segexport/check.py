"""Checks exports against the reference: runs them, times them, and hands what was measured to `conclude`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.errors import kept_in
from segexport.exporter.set_head import declared_small_mask
from segexport.instance.compare import InstanceTally, ObjectCounter
from segexport.instance.draw import object_panel
from segexport.instance.judge import ObjectTruth
from segexport.judge.conclude import conclude
from segexport.judge.measured import REFERENCE, Measured, Measurement, ReferenceRun, Subject
from segexport.judge.times import latency_of
from segexport.measure import latency, parity
from segexport.measure.audit import audited
from segexport.measure.environment import describe_machine
from segexport.measure.parity import Contender
from segexport.measure.reference_trial import Floor, charge_of, tried, without_model
from segexport.progress import Progress, silent
from segexport.recipe import CheckRecipe
from segexport.recorded.playback import Playback
from segexport.registry import runtime_for
from segexport.report.schema import DatasetInfo, Report, WorstImage
from segexport.runtimes.base import RunOptions, Session
from segexport.runtimes.watched import proof_of, timed_graph
from segexport.scored_classes import Classes, classes_of, object_classes, require_fitting
from segexport.show.pictures import panel, suffix
from segexport.spec import Preprocess
from segexport.verdict import Check

_AUDITED_IMAGES = 4

__all__ = ["Probe", "Subject", "check", "measure"]

Probe = Callable[[Subject, Session], list[Check]]
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
    subjects: list[Subject],
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
    subjects: list[Subject],
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
        # What is timed is watched: times are those of the optimized program, where it gives the plain one's masks.
        graph = "watched" if options.latency_seconds else "plain"
        own = _open(stack, model, options, options.reference_device, graph) if playback is None else playback.session()
        for entry in opened:
            if entry.error is None:
                with kept_in(entry):
                    entry.session = _open(stack, entry.artifact, options, options.device, graph)
        running = [entry for entry in opened if entry.session is not None]
        contract = _shared_preprocess(model, running) if playback is None else None
        contender = Contender(
            REFERENCE,
            own,
            contract or model.manifest.preprocess,
            model.manifest.image,
            None if is_instance else classes.lookup,
            None if playback is None else own.choose,
            inputs=model.manifest.inputs,
        )
        compared = partial(
            _compared, model, [_contender(entry, contender.lookup) for entry in running], classes, options
        )
        comparison, counter = compared(contender, data, progress)
        for entry in running:
            entry.tally = comparison.exports[entry.subject.name]
            entry.error = entry.tally.error
            entry.info = entry.session.info
            entry.worst = _worst(entry, classes, data, whole, folder)
            if entry.error is None:
                _ask(entry, probes)
        _try_reference(reference, contender, running, comparison, data, options, compared)
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


def _compared(
    model: ModelArtifact,
    exports: list[Contender],
    classes: Classes,
    options: CheckRecipe,
    reference: Contender,
    data: Dataset,
    progress: Progress,
) -> tuple[parity.Comparison, ObjectCounter | None]:
    """Runs everything over `data`; the counter is that of a model that finds objects."""
    counter = None
    if model.manifest.task == "instance":
        counter = ObjectCounter(reference, model.manifest, data, classes.lookup, options.worst_images)
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


def _try_reference(
    reference: ModelArtifact | Playback,
    contender: Contender,
    running: list[_Opened],
    comparison: parity.Comparison,
    data: Dataset,
    options: CheckRecipe,
    compared: Callable[..., tuple[parity.Comparison, ObjectCounter | None]],
) -> None:
    """Puts the reference on trial where exports contradict it; what comes out is among their checks."""
    by_name = {entry.subject.name: entry for entry in running}
    objects = isinstance(comparison.reference, InstanceTally)
    charge = charge_of(
        comparison, {name: Floor.of(entry.subject.held_to, objects=objects) for name, entry in by_name.items()}
    )
    if charge is None:
        return

    def anew(images: Sequence[int]) -> parity.Comparison:
        chosen = replace(data, entries=tuple(data.entries[index] for index in images))
        with _opened(reference, options, "cpu", "plain") as witness:
            return compared(replace(contender, session=witness), chosen, silent)[0]

    if isinstance(reference, Playback):
        formats = {name: entry.subject.format.value for name, entry in by_name.items()}
        found = without_model(charge, comparison, formats, unproven=reference.unproven, again=reference.again)
    else:
        found = tried(charge, comparison, anew, same_device=options.reference_device == "cpu")
    for name, check in found.items():
        by_name[name].more.append(check)


def _ask(entry: _Opened, probes: tuple[Probe, ...]) -> None:
    with kept_in(entry):
        for probe in probes:
            entry.more += probe(entry.subject, entry.session)


def _audited(entry: _Opened, data: Dataset, options: CheckRecipe) -> tuple[dict[str, dict[str, int]], list[Check]]:
    images = (data.read(index).image for index in range(min(len(data), _AUDITED_IMAGES)))
    manifest = entry.artifact.manifest
    inputs = [preprocess.feed(manifest.inputs, *preprocess.apply(manifest.preprocess, image)) for image in images]
    return audited(entry.artifact, inputs, _run_options(options, options.device, timed_graph(entry.session)))


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
    return ReferenceRun(reference, own.info, on_gpu, times, timing, None, notes, proof_of(own))


# -- before the run --------------------------------------------------------------------------------------------


def _open(stack: ExitStack, artifact: ModelArtifact, options: CheckRecipe, device: str, graph: str) -> Session:
    session = _opened(artifact, options, device, graph)
    stack.callback(session.close)
    return session


def _opened(artifact: ModelArtifact, options: CheckRecipe, device: str, graph: str) -> Session:
    return runtime_for(artifact.manifest.format, device).open(artifact, _run_options(options, device, graph))


def _run_options(options: CheckRecipe, device: str, graph: str) -> RunOptions:
    """`graph`: which of its programs Paddle runs; the other runtimes have one."""
    return RunOptions(device=device, threads=options.threads, timeout_s=options.timeout_s, options={"graph": graph})


def _contender(entry: _Opened, lookup: np.ndarray | None) -> Contender:
    manifest = entry.artifact.manifest
    small = declared_small_mask(manifest)
    return Contender(
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
    contender: Contender,
    running: list[_Opened],
    data: Dataset,
    options: CheckRecipe,
    progress: Progress,
) -> dict[str, latency.Timing]:
    """Times what ran; the sessions that gave the masks are closed by now, each measurement opens its own."""
    if not options.latency_seconds:
        return {}
    image = data.read(0).image

    def program(artifact: ModelArtifact, device: str, contract: Preprocess, ran: Session) -> latency.Program:
        tensors = preprocess.feed(artifact.manifest.inputs, *preprocess.apply(contract, image))
        return latency.Program(lambda: _opened(artifact, options, device, timed_graph(ran)), tensors)

    programs = {}
    if own is not None:
        device = options.reference_device
        programs[REFERENCE] = program(own, device, contender.preprocess, contender.session)
    for entry in running:
        if entry.error is None:
            contract = entry.artifact.manifest.preprocess
            programs[entry.subject.name] = program(entry.artifact, options.device, contract, entry.session)
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
        if isinstance(entry.tally, InstanceTally):
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
