"""A check on an engine: its workers count runs of images, and everything is decided from the merged counts.

The measurements equal those of `compare.measure`, except for times: the counts are integers per image, the same models
make each of them from the same image, and they are merged in the order of the data. So it does not matter which worker
counted what, or how often.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segexport.check import tasks
from segexport.check.audit import AUDITED_IMAGES
from segexport.check.build_report import conclude
from segexport.check.calibration_domain import COMPARED_IMAGES
from segexport.check.compare import PreparedCheck, measure, prepare, try_reference
from segexport.check.request import CheckRequest
from segexport.check.shown_images import places_of, write_pictures
from segexport.check.tasks import Entries, QuietTimes, Setting, Share
from segexport.engine.base import EngineTask, Shared, TaskEngine, TaskOutcome
from segexport.errors import KilledWorkers, OptionError, SegexportError, WorkerFailed
from segexport.judge.results import Measured, Measurement, ReferenceRun
from segexport.measure.parity import Comparison
from segexport.progress import silent
from segexport.references.merge import merge
from segexport.report.schema import Report
from segexport.runtimes.watched import timed_graph, with_record
from segexport.ui.pictures import Panel

RUNS_PER_SLOT = 4
"""Runs of images for each task that runs at the same time: what a slow or a lost worker has left is spread."""
LEAST_IMAGES, MOST_IMAGES = 8, 512
"""Images of a run: enough to be worth a task, and few enough to count again."""
TIMED_IMAGES = 8
"""Images whose preprocessing and postprocessing is timed, on the quiet machine."""
_MOST_ROUNDS = 2  # besides one for each export that ends workers


def check_on(engine: TaskEngine | None, request: CheckRequest) -> Report:
    """The whole check, on an engine or in this process.

    Raises:
        SegexportError: As `measure_on`. An unusable export is an ERROR in the report.
    """
    return conclude(measure(request) if engine is None else measure_on(engine, request))


def measure_on(engine: TaskEngine, request: CheckRequest) -> Measurement:
    """`compare.measure` in the workers of an engine.

    Raises:
        SegexportError: The reference or the data cannot be used, or the engine was lost.
    """
    prepared = prepare(request)
    if request.probes:
        raise OptionError("--golden cannot be combined with --on", cause="a pack has a few images only")
    setting = _setting(prepared)
    if "shard" not in prepared.task.features:
        return _whole(engine, setting, prepared.request)
    with engine.share(setting) as shared, tempfile.TemporaryDirectory() as scratch:
        return _Check(engine, prepared, shared, Path(scratch)).measured()


def runs_of(images: int, slots: int) -> list[tuple[int, int]]:
    """The runs of images that are counted in one task each: (first, end)."""
    size = min(max(-(-images // (slots * RUNS_PER_SLOT)), LEAST_IMAGES), MOST_IMAGES)
    return [(first, min(first + size, images)) for first in range(0, images, size)]


def _setting(prepared: PreparedCheck) -> Setting:
    request = prepared.request
    bare = replace(request, data=replace(request.data, entries=()), folder=Path(), full_dataset=None, progress=silent)
    artifacts = [row.artifact.path for row in prepared.rows if row.artifact is not None]
    paths = tuple(dict.fromkeys((request.data.root, request.reference.artifact.path, *artifacts)))
    return Setting(replace(prepared, request=bare), uuid.uuid4().hex, len(request.data), paths)


def _whole(engine: TaskEngine, setting: Setting, request: CheckRequest) -> Measurement:
    """A check whose counts cannot be sharded, in one task."""
    alone = bool(request.options.timing_seconds)
    title = f"check of {len(request.data)} images"
    task = EngineTask(tasks.measure_whole, (setting, replace(request, progress=silent)), title, alone=alone)
    (outcome,) = engine.run([task], until_error=True)
    measured, pictures = _value(outcome)
    for name, data in pictures.items():
        place = request.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return measured


class _Check:
    """One check on an engine.

    Args:
        shared: The `Setting`.
        scratch: Folder for the parts.
    """

    def __init__(self, engine: TaskEngine, prepared: PreparedCheck, shared: Shared, scratch: Path) -> None:
        self._engine, self._prepared, self._shared, self._scratch = engine, prepared, shared, scratch
        self._request, self._entries = prepared.request, prepared.request.data.entries
        self._failed: dict[str, SegexportError] = {}  # exports that ended workers

    def measured(self) -> Measurement:
        prepared, request = self._prepared, self._request
        with self._engine.counting():
            found = merge(self._parts(), request.folder)
            for entry, row in zip(found.exports, prepared.rows, strict=True):
                entry.export = row
                if entry.info is not None:
                    entry.info = with_record(entry.info, entry.twin)
            sound = [entry for entry in found.exports if entry.error is None]
            try_reference(prepared, sound, found.comparison, self._again)
            self._draw(sound)
            self._examine(sound)
            dataset = prepared.described()
        times = self._times(found.reference, sound) if request.options.timing_seconds else None
        comparison, environment = found.comparison, dict(found.environment)
        if times is not None:
            comparison = replace(comparison, preprocess_ms=times.preprocess_ms)
            if None not in times.loads:
                environment["load_average"] = dict(zip(("before timing", "after timing"), times.loads, strict=True))
        return replace(
            found,
            reference=self._reference(found.reference, comparison, times),
            comparison=comparison,
            dataset=dataset,
            environment=environment,
            latency=request.options.latency,
            notes=(*prepared.notes(), *found.notes),
        )

    # -- counting

    def _parts(self) -> list[Path]:
        """The parts of all images; runs those again whose task ended workers, without the export that did."""
        runs = runs_of(len(self._entries), self._engine.slots)
        shares = [
            Share(number, len(runs), first, self._entries[first:end]) for number, (first, end) in enumerate(runs, 1)
        ]
        places = [self._scratch / f"part-{share.index}" for share in shares]
        with self._request.progress("checking", len(self._entries)) as bar:

            def done(share: Share, outcome: TaskOutcome) -> None:
                if outcome.error is None:
                    places[share.index - 1].write_bytes(outcome.value)
                    bar.advance(len(share.entries))

            for again in range(len(self._prepared.rows) + _MOST_ROUNDS, -1, -1):
                left = [share for share in shares if not places[share.index - 1].exists()]
                outcomes = self._engine.run(
                    [self._count(share) for share in left],
                    until_error=True,
                    done=lambda index, outcome, left=left: done(left[index], outcome),
                )
                errors = ((share, one.error) for share, one in zip(left, outcomes, strict=True) if one is not None)
                share, error = next((pair for pair in errors if pair[1] is not None), (None, None))
                if share is None or error is None:
                    break
                if not isinstance(error, KilledWorkers) or not again:
                    raise error
                self._blame(share, error)
        return places

    def _count(self, share: Share, alone: str | None = None) -> EngineTask:
        """The task for a run of images; `alone`: only this export is run."""
        failed = dict(self._failed)
        if alone is not None:
            others = (row.name for row in self._prepared.rows if row.name != alone)
            failed |= {name: WorkerFailed("another export is tried") for name in others}
        return EngineTask(tasks.count_part, (self._shared, share, failed), share.title)

    def _blame(self, share: Share, error: KilledWorkers) -> None:
        """Finds the exports that end workers, by running each of them alone; they get the error.

        Raises:
            KilledWorkers: The reference, or decoding the images, ends them too.
        """
        names = [row.name for row in self._prepared.rows if row.error is None and row.name not in self._failed]
        if self._kills(self._count(share, "")):
            raise error
        self._failed |= {name: killed for name in names if (killed := self._kills(self._count(share, name)))}

    def _kills(self, task: EngineTask) -> KilledWorkers | None:
        """Runs a task by itself; the error if it ends workers."""
        (outcome,) = self._engine.run([task])
        return outcome.error if outcome is not None and isinstance(outcome.error, KilledWorkers) else None

    # -- after the counting

    def _again(self, images: Sequence[int]) -> Comparison:
        entries = tuple(self._entries[index] for index in images)
        task = EngineTask(tasks.compare_again, (self._shared, entries, self._failed), "the reference again")
        return _value(self._engine.run([task])[0])

    def _draw(self, exports: Sequence[Measured]) -> None:
        """Runs the images again that the report shows, and writes their pictures."""
        wanted = {entry.export.name: frozenset(image.image for image in entry.shown) for entry in exports}
        places = places_of(self._request.data, frozenset[str]().union(*wanted.values()))
        if not places:
            return
        shown = [self._entries[place] for place in sorted(places.values())]
        count = min(len(shown), self._engine.slots)
        slices: list[Entries] = [tuple(shown[index::count]) for index in range(count)]
        found = self._engine.run([self._drawing(entries, wanted) for entries in slices], until_error=True)
        panels: dict[str, dict[str, Panel]] = {name: {} for name in wanted}
        for outcome in found:
            for name, drawn in _value(outcome).items():
                panels[name] |= drawn
        everything = places_of(self._request.all_data, frozenset(places))
        for entry in exports:
            own = panels[entry.export.name]
            entry.shown = write_pictures(self._request.folder, entry.export.name, entry.shown, own, everything)

    def _drawing(self, entries: Entries, wanted: dict[str, frozenset[str]]) -> EngineTask:
        names = frozenset(entry.image for entry in entries)
        mine = {name: images & names for name, images in wanted.items() if images & names}
        return EngineTask(
            tasks.draw_part, (self._shared, entries, mine, self._failed), f"pictures of {len(entries)} images"
        )

    def _examine(self, exports: Sequence[Measured]) -> None:
        """Adds the check of the calibration's images, the operators that ran, and the instructions."""
        data = self._request.all_data
        images = data.subset(min(COMPARED_IMAGES, len(data))).entries, data.entries[:AUDITED_IMAGES]
        calls = [
            EngineTask(
                tasks.examine,
                (self._shared, entry.export.name, *images, _graph(entry)),
                f"operators of {entry.export.name}",
            )
            for entry in exports
        ]
        for entry, outcome in zip(exports, self._engine.run(calls), strict=True):
            if outcome is not None and isinstance(outcome.error, KilledWorkers):
                entry.error = outcome.error
                continue
            checks, found = _value(outcome)
            entry.operators, entry.instructions, entry.error = found.operators, found.instructions, found.error
            entry.more = [*checks, *entry.more, *found.more]

    def _times(self, reference: ReferenceRun, exports: Sequence[Measured]) -> QuietTimes:
        """QuietTimes everything in one task, on a machine of its own."""
        graphs = {entry.export.name: _graph(entry) for entry in exports if entry.error is None}
        given = (self._shared, self._entries[:TIMED_IMAGES], _graph(reference), graphs)
        with self._request.progress("timing", None):
            times: QuietTimes = _value(self._engine.run([EngineTask(tasks.take_times, given, "timing", alone=True)])[0])
        for entry in exports:
            entry.timing = times.exports.get(entry.export.name)
            if entry.timing is not None and entry.timing.error is not None:
                entry.error = entry.timing.error
            if entry.counts is not None:
                entry.counts.postprocess_ms = times.postprocess_ms.get(entry.export.name, [])
        return times

    def _reference(self, merged: ReferenceRun, comparison: Comparison, times: QuietTimes | None) -> ReferenceRun:
        if times is not None:
            comparison.reference.postprocess_ms = times.postprocess_ms[""]
        proof = None if merged.twin is None else merged.twin.proof
        info = with_record(merged.info, merged.twin)
        return self._request.reference.run(info, proof, comparison, None if times is None else times.reference)


def _graph(run: Measured | ReferenceRun) -> str:
    return timed_graph(None if run.twin is None else run.twin.proof)


def _value(outcome: TaskOutcome | None) -> Any:
    if outcome is None:
        raise WorkerFailed("a task has no result")
    return outcome.get()
