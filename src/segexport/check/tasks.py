"""The tasks of a check on an engine: what its workers do. `sharded` sends them and merges their results."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from segexport.check.audit import audit_export
from segexport.check.calibration_domain import CalibrationDomain
from segexport.check.compare import SHARED_CONTRACT, PreparedCheck, compared, compared_again, measure
from segexport.check.counting import count_exports
from segexport.check.open_pool import borrowed
from segexport.check.request import CheckRequest
from segexport.check.sessions import OpenModels, open_models, run_options
from segexport.check.shown_images import FOLDER, choose_images
from segexport.check.timing import time_models
from segexport.data.dataset_list import DatasetEntry
from segexport.errors import MissingInputError, SegexportError, capture_error
from segexport.judge.results import Export, Measured, Measurement
from segexport.measure import latency, parity
from segexport.measure.environment import describe_machine, load_average
from segexport.process.stopping import until_stopped
from segexport.references.live_model import LiveModel
from segexport.references.shard import write_part
from segexport.report.schema import DatasetInfo
from segexport.runtimes.watched import plain_info, record_of
from segexport.ui.pictures import Panel
from segexport.verdict import Check

Entries = tuple[DatasetEntry, ...]


def require_paths(paths: Sequence[Path]) -> None:
    """Raises MissingInputError if a file or folder is not here, in a worker."""
    for path in paths:
        if not path.exists():
            raise MissingInputError(
                f"{path}: no such file or folder",
                cause="workers read models and images themselves, under the paths that the command was given",
                hint="put them on a file system that all workers have at this path",
            )


@dataclass(frozen=True)
class Setting:
    """The part of a check that all its tasks share.

    Attributes:
        prepared: The check without images, which the tasks bring, and without a folder.
        run: Identifies the check in a worker.
        images: Number of images in all.
        paths: Files and folders that every worker has to have.
    """

    prepared: PreparedCheck
    run: str
    images: int
    paths: tuple[Path, ...]

    def request(self, entries: Entries) -> CheckRequest:
        """The check of some images."""
        given = self.prepared.request
        return replace(given, data=replace(given.data, entries=entries), progress=until_stopped)

    def row(self, name: str) -> Export:
        return next(row for row in self.prepared.rows if row.name == name)

    def model(self, name: str) -> LiveModel:
        """An export and the options of its runs."""
        row = self.row(name)
        options = replace(run_options(self.prepared.request.options), runtime=row.runtime)
        return LiveModel(name, row.made, options)

    @contextmanager
    def opened(self, failed: Mapping[str, SegexportError]) -> Iterator[OpenModels]:
        """The opened models; an export that has `failed` is not opened, and has that error."""
        self.require_paths()
        rows = tuple(replace(row, error=failed.get(row.name, row.error)) for row in self.prepared.rows)
        errors = frozenset((name, str(error)) for name, error in failed.items())  # the opened rows hold them
        with borrowed((self.run, errors), self.prepared.request, rows) as models:
            yield models

    def require_paths(self) -> None:
        """As the function of this name."""
        require_paths(self.paths)


@dataclass(frozen=True)
class Share:
    """A run of images of a check.

    Attributes:
        index, count: Number of the run, from 1, and of all runs.
        first: Index of its first image in the data set.
    """

    index: int
    count: int
    first: int
    entries: Entries

    @property
    def title(self) -> str:
        return f"images {self.first + 1} to {self.first + len(self.entries)}"


def count_part(setting: Setting, share: Share, failed: Mapping[str, SegexportError]) -> bytes:
    """Counts a run of images; returns the content of a part (`references.shard`), without pictures.

    Raises:
        SegexportError: The reference or the data cannot be used.
    """
    prepared, request = setting.prepared, setting.request(share.entries)
    with setting.opened(failed) as models, tempfile.TemporaryDirectory() as scratch:
        scorer = prepared.scorer(request.data)
        first = share.first == 0
        comparison = compared(models, request.data, scorer, progress=request.progress, repeat=first)
        own = models.reference.session
        run = request.reference.run(plain_info(own), None, comparison, None)
        measured = Measurement(
            title=request.title,
            reference=replace(run, twin=record_of(own)),
            exports=[_measured(export, models, request, comparison) for export in models.exports],
            comparison=comparison,
            judge=scorer.judge(comparison),
            labels=prepared.classes.labels,
            dataset=DatasetInfo(
                path="", split="", images=setting.images, labelled=request.data.labelled, fingerprint=""
            ),
            environment=describe_machine(),
            notes=() if models.contract is None else (SHARED_CONTRACT,),
            groups=request.data.image_groups,
        )
        path = Path(scratch) / "part"
        worst = request.options.worst_images
        write_part(
            path, measured, Path(scratch), index=share.index, count=share.count, worst_images=worst, first=share.first
        )
        return path.read_bytes()


def draw_part(
    setting: Setting, entries: Entries, wanted: Mapping[str, frozenset[str]], failed: Mapping[str, SegexportError]
) -> dict[str, dict[str, Panel]]:
    """Runs some images again and draws them; returns export -> image -> panel.

    Args:
        wanted: Export -> its images to draw.

    Raises:
        SegexportError: A model that ran before does not run any more.
    """
    prepared, data = setting.prepared, setting.request(entries).data
    scorer = prepared.scorer(data, keep=len(entries))
    with setting.opened(failed) as models:
        opened = [export.opened for export in models.running if export.model.name in wanted]
        comparison = parity.compare(models.reference, opened, data, scorer, progress=until_stopped, repeat=False)
    found: dict[str, dict[str, Panel]] = {}
    for name, images in wanted.items():
        counts = comparison.exports[name]
        if counts.error is not None:
            raise counts.error
        ranked = {entries[-one.negative_index].image: one for one in counts.shown.get("worst", ())}
        found[name] = {
            image: scorer.draw(data.read(-ranked[image].negative_index), ranked[image])
            for image in sorted(images.intersection(ranked))
        }
    return found


def compare_again(setting: Setting, entries: Entries, failed: Mapping[str, SegexportError]) -> parity.Comparison:
    """Compares the exports with the reference that is opened again, on all of these images, in this order."""
    prepared = replace(setting.prepared, request=setting.request(entries))
    with setting.opened(failed) as models:
        return compared_again(prepared, models, [entry.image for entry in entries])


def examine(setting: Setting, name: str, spread: Entries, first: Entries, graph: str) -> tuple[list[Check], Measured]:
    """Returns the checks of an export that come before the reference's trial, and what else one image tells of it.

    Args:
        spread: Images spread over the data, which are compared with those of the calibration.
        first: The first images, on which the operators are read.
        graph: The graph that is timed (`watched.timed_graph`).
    """
    setting.require_paths()
    request, found = setting.request(first), Measured(setting.row(name))
    checks: list[Check] = []
    with capture_error(found):
        checks = CalibrationDomain(setting.request(spread).data).checks(found.export)
    if found.error is None:
        audit_export(request, found, setting.model(name), graph)
        count_exports(request, [found])
    return checks, found


@dataclass(frozen=True)
class QuietTimes:
    """What was measured on a machine that did nothing else.

    Attributes:
        reference: None if it was not timed.
        exports: Export -> its times.
        postprocess_ms: The same per image, by export; of the reference under "".
        loads: Load average of the machine before and after; None if unknown.
    """

    reference: latency.Timing | None
    exports: dict[str, latency.Timing]
    preprocess_ms: float
    postprocess_ms: dict[str, list[float]] = field(default_factory=dict)
    loads: tuple[float | None, float | None] = (None, None)


def take_times(setting: Setting, entries: Entries, graph: str, graphs: Mapping[str, str]) -> QuietTimes:
    """QuietTimes reference and exports, and the preprocessing and postprocessing of these images.

    Args:
        graph: The reference's graph to time (`watched.timed_graph`).
        graphs: The same by export, for those to time.

    Raises:
        SegexportError: The reference cannot be run.
    """
    setting.require_paths()
    prepared, request = setting.prepared, setting.request(entries)
    rows = tuple(row for row in prepared.rows if row.name in graphs)
    with ExitStack() as stack:
        models = open_models(request, rows, stack)
        scorer = prepared.scorer(request.data, keep=0)
        comparison = compared(models, request.data, scorer, progress=request.progress, repeat=False)
        before = load_average()
        own = time_models(request, models, graph, graphs)
        postprocess_ms = {name: counts.postprocess_ms for name, counts in comparison.exports.items()}
        return QuietTimes(
            own,
            {export.model.name: export.timing for export in models.running if export.timing is not None},
            comparison.preprocess_ms,
            {"": comparison.reference.postprocess_ms, **postprocess_ms},
            (before, load_average()),
        )


def measure_whole(setting: Setting, request: CheckRequest) -> tuple[Measurement, dict[str, bytes]]:
    """A whole check, for a task whose counts cannot be sharded; returns it with the pictures by their paths."""
    setting.require_paths()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        measured = measure(replace(request, folder=folder, progress=until_stopped))
        pictures = {f"{FOLDER}/{file.name}": file.read_bytes() for file in sorted((folder / FOLDER).glob("*"))}
    return measured, pictures


def _measured(export: Measured, models: OpenModels, request: CheckRequest, comparison: parity.Comparison) -> Measured:
    """An export's counts, with the images that it would show if these were all."""
    running = next((one for one in models.running if one is export), None)
    if running is None:
        return export
    session, counts = running.opened.session, comparison.exports[running.model.name]
    shown = () if counts.error is not None else choose_images(request.data, counts, comparison.reference)
    return Measured(
        running.export,
        info=plain_info(session),
        counts=counts,
        shown=tuple(image for image, _ in shown),
        twin=record_of(session),
        error=counts.error,
    )
