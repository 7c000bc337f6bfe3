"""`segexport check` and `segexport merge`: open reference, exports and data from the options, and make the report."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from segexport import report as reports
from segexport.artifact import MANIFEST_NAME, ModelArtifact, read_artifact
from segexport.check.build_report import conclude
from segexport.check.compare import measure
from segexport.check.request import CheckRequest
from segexport.check.sharded import check_on
from segexport.data.dataset import Dataset
from segexport.engine.address import is_remote
from segexport.engine.connect import engine_for
from segexport.errors import OptionError, SegexportError, UnreadableError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.output_folder import new_folder, require_free
from segexport.files.store import Store
from segexport.files.yaml_reader import read_yaml
from segexport.importers.model_files import find_model
from segexport.judge.results import Export
from segexport.pipeline.registry import targets
from segexport.progress import SILENCE, Feedback, Progress
from segexport.recipe.label_map import as_label_map
from segexport.recipe.schema import RESERVED_NAMES, CheckRecipe, LatencyPolicy
from segexport.recipe.tolerances import Tolerances
from segexport.records.model_card import update_card
from segexport.records.run_log import open_logs, record_of
from segexport.references.archive import looks_like_archive, require_new
from segexport.references.base import Reference
from segexport.references.baseline import compare_with_baseline
from segexport.references.device_result import with_device_rows
from segexport.references.golden_pack import GoldenPack, agreement_only, open_pack
from segexport.references.live import LiveReference
from segexport.references.merge import merge as merge_parts
from segexport.references.reference_file import recording_for
from segexport.references.shard import parse_shard, write_part
from segexport.report.places import Places
from segexport.spec import Tiles
from segexport.task.open_data import open_data
from segexport.task.registry import require_feature

if TYPE_CHECKING:
    from segexport.report.schema import Report


@dataclass(frozen=True, kw_only=True)
class BaselineOptions:
    """Options of a comparison with an earlier report.

    Attributes:
        baseline: report.json, or its folder.
        tolerance: Allowed losses, `NAME=NUMBER`; see `recipe.tolerances`.
        latency: Effect of latency on the verdict, as in a recipe's check.
        log: Trackers of the report, `mlflow:URI` or `tensorboard:DIR`; see `records.run_log`.
    """

    baseline: Path | None = None
    tolerance: tuple[str, ...] = ()
    latency: LatencyPolicy | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckOptions(BaselineOptions):
    """Options of `segexport check`.

    Attributes:
        reference: The original model of the exports, or a recording of it.
        data: Folder of the images; `split`, `groups` and `limit` select and group them.
        golden: A golden pack, instead of `reference` and `data`.
        label_map: YAML file: class of the model -> class of the data, by name or by id.
        preprocess, labels: Files with the reference's preprocessing and labels, as in an import.
        config, paddleseg: Configuration of a reference that is a training checkpoint, and the checkout that builds it.
        input_size: `WxH`, for a reference of dynamic size.
        device, reference_device: Device of the exports, and of the reference.
        runtime: Names of runtimes; each one gets a row per export that it supports.
        count: Whether instructions of one inference are counted.
        latency_seconds: Duration of timing, all exports together, in seconds; 0: no timing.
        device_result: Files result.json of phones; each one adds a row.
        shard: `I/N`: part I of N of the images.
        card: Whether the verdict is written into the model cards of the exports.
        on: The engine whose workers run the models (`engine.address`); None: this process.
        tiles: Tiles for larger images, in the reference and in every export; None: those of the manifests.
    """

    reference: Path | None = None
    data: Path | None = None
    golden: Path | None = None
    split: str = "val"
    groups: str | None = None
    label_map: Path | None = None
    preprocess: Path | None = None
    labels: Path | None = None
    config: Path | None = None
    paddleseg: Path | None = None
    input_size: str | None = None
    limit: int | None = None
    device: str = "cpu"
    runtime: tuple[str, ...] = ()
    reference_device: str = "cpu"
    threads: int = 1
    latency_seconds: float = 10.0
    count: bool = False
    device_result: tuple[Path, ...] = ()
    shard: str | None = None
    on: str | None = None
    tiles: Tiles | None = None
    card: bool = False


@dataclass(frozen=True)
class _Job:
    """A check, opened from its options."""

    reference: Reference
    exports: tuple[Export, ...]
    data: Dataset
    pack: GoldenPack | None = None

    @property
    def models(self) -> tuple[ModelArtifact, ...]:
        return self.reference.artifact, *(export.artifact for export in self.exports if export.artifact is not None)

    def request(self, folder: Path, options: CheckOptions, progress: Progress) -> CheckRequest:
        return CheckRequest(
            reference=self.reference,
            exports=self.exports,
            data=self.data,
            folder=folder,
            options=_check_recipe(options),
            label_map=read_label_map(options.label_map),
            probes=() if self.pack is None else (self.pack.probe,),
            progress=progress,
        )


def check(
    exports: Sequence[Path], output: Path | None, options: CheckOptions, *, feedback: Feedback = SILENCE
) -> Report:
    """Checks existing exports; writes the report in all formats into `output`.

    Raises:
        SegexportError: The reference or the data cannot be used. An unusable export is an ERROR in the report.
    """
    finish, log = _finisher(options), open_logs(options.log)
    if output is not None:
        require_free(output, replace=True)
    if options.on is not None:
        exports, options = _for_workers(exports, options)
    with (
        _job(exports, options) as job,
        _folder(output) as folder,
        engine_for(options.on, threads=options.threads) as engine,
    ):
        feedback.warn_of(*job.models)
        report = check_on(engine, job.request(folder, options, feedback.progress))
        if job.pack is not None:
            report = agreement_only(report)
        report = finish(with_device_rows(report, job.exports, list(options.device_result), job.pack))
        if output is not None:
            reports.write(report, folder)
        log(record_of(report, folder), feedback)
    if options.card:
        _write_cards(exports, report, feedback)
    return report


def _write_cards(exports: Sequence[Path], report: Report, feedback: Feedback) -> None:
    """Writes the verdict into the exports' model cards; what cannot be written does not change it."""
    for name, path in _named(exports).items():
        if not (path / MANIFEST_NAME).is_file():
            feedback.warn(f"{path}: no card, because it is a bare file and not the folder of an export")
            continue
        try:
            update_card(path, read_artifact(path, verify=False).manifest, report, name)
        except SegexportError as error:
            feedback.warn(f"{path}: the card was not written: {error.what}{f': {error.cause}' if error.cause else ''}")


def check_shard(
    exports: Sequence[Path], output: Path | None, options: CheckOptions, *, feedback: Feedback = SILENCE
) -> str:
    """Measures one shard of the images and writes it to the file `output`; returns a summary."""
    index, count = parse_shard(options.shard or "")
    if output is None:
        raise OptionError("--shard: no output file", hint="-o PART")
    for name in ("golden", "baseline", "device_result", "log"):
        if getattr(options, name):
            option = f"--{name}".replace("_", "-")
            raise OptionError(f"--shard and {option} cannot be combined", hint=f"give {option} to `segexport merge`")
    if options.card:
        raise OptionError("--shard and --card cannot be combined", cause="a part has no verdict")
    if options.latency == "gate":
        raise OptionError("--shard and --latency gate cannot be combined", cause="parts of a check take no times")
    if options.on is not None:
        raise OptionError("--shard and --on cannot be combined", cause="workers get runs of images by themselves")
    if options.count:
        raise OptionError("--shard and --count cannot be combined", hint="segexport bench --count EXPORT...")
    require_new(output)
    with _job(exports, options) as job, tempfile.TemporaryDirectory() as scratch:
        feedback.warn_of(*job.models)
        require_feature(job.reference.artifact, "shard", "--shard")
        share = job.data.shard(index - 1, count)
        if not len(share):
            raise OptionError(
                f"--shard {index}/{count}: {len(job.data)} images leave none for it", hint="use fewer shards"
            )
        folder = Path(scratch)
        request = job.request(folder, replace(options, latency_seconds=0.0), feedback.progress)
        measured = measure(replace(request, data=share, full_dataset=job.data))
        write_part(output, measured, folder, index=index, count=count, worst_images=request.options.worst_images)
    return f"{output}: part {index} of {count}, {len(share)} of {len(job.data)} images, {len(job.exports)} exports"


def merge(parts: Sequence[Path], output: Path, options: BaselineOptions, *, feedback: Feedback = SILENCE) -> Report:
    """Merges the parts of a sharded check into one report."""
    finish, log = _finisher(options), open_logs(options.log)
    require_free(output, replace=True)
    with new_folder(output, replace=True) as folder:
        report = finish(conclude(merge_parts(parts, folder)))
        reports.write(report, folder)
        log(record_of(report, folder), feedback)
    return report


def open_reference(
    path: Path, data: Dataset, limited: Dataset, options: CheckRecipe, importing: ImportOptions
) -> Reference:
    """Opens `--reference`: a recording, which has to match the data, or a model, which runs with `options`.

    Args:
        importing: Settings that are missing in the model's files.

    Raises:
        InputError: The path is neither; the recording has other images, or `importing` was given for a recording.
    """
    if path.is_file() and (path.suffix == ".ref" or looks_like_archive(path)):
        if importing.model_copy(update={"tiles": None}) != ImportOptions():
            raise OptionError(
                f"{path}: a recorded reference, with --preprocess, --labels, --config or --paddleseg",
                cause="a recording holds the model's own",
                hint="give them to `segexport reference record`",
            )
        return recording_for(path, data, limited)
    importing = importing.model_copy(update={"fallback_labels": data.labels})
    return LiveReference.of(import_model(path, importing, Store()), options)


def _for_workers(exports: Sequence[Path], options: CheckOptions) -> tuple[Sequence[Path], CheckOptions]:
    """Exports and options for workers; those on other machines have another working folder."""
    if options.golden is not None:
        raise OptionError("--golden and --on cannot be combined", cause="a pack has a few images only")
    require_no_phone(options.device)
    if not is_remote(options.on or ""):
        return exports, options
    given = {name: path.absolute() for name in ("reference", "data") if (path := getattr(options, name)) is not None}
    return [path.absolute() for path in exports], replace(options, **given)


def require_no_phone(device: str) -> None:
    """Raises OptionError for a phone, which workers cannot share."""
    if device.startswith("adb"):
        raise OptionError(f"--device {device} and --on cannot be combined", cause="a phone runs one model at a time")


@contextmanager
def _job(exports: Sequence[Path], options: CheckOptions) -> Iterator[_Job]:
    golden, reference, root = options.golden, options.reference, options.data
    if golden is not None:
        if reference is not None or root is not None:
            raise OptionError("--golden replaces --reference and --data: give one or the other")
        if options.tiles is not None:
            raise OptionError("--golden and --tile-size cannot be combined", cause="a pack's images are run whole")
        if options.config is not None:
            raise OptionError("--golden and --config cannot be combined", cause="a pack has the reference's results")
        if options.groups is not None:
            raise OptionError("--golden and --groups cannot be combined", hint="a pack contains its groups")
        with open_pack(golden) as pack:
            recorded = pack.as_reference()
            given = _exports(exports, recorded.artifact)
            limited = tuple(replace(export, limits=pack.limits(export.precision)) for export in given)
            yield _Job(recorded, limited, pack.data(), pack)
        return
    if reference is None or root is None:
        missing = "--reference" if reference is None else "--data"
        raise OptionError(
            f"{missing} is missing",
            cause="exports are compared with a reference on images",
            hint="--reference MODEL (or a recorded REF) --data DIR, or --golden PACK",
        )
    data = open_data(root, options.split, groups=options.groups)
    limited = data.at_most(options.limit)
    given = {name: getattr(options, name) for name in ("preprocess", "labels", "config", "paddleseg", "input_size")}
    importing = ImportOptions.from_strings(**given).model_copy(update={"tiles": options.tiles})
    original = open_reference(reference, data, limited, _check_recipe(options), importing)
    tiled = tuple(_in_tiles(export, options.tiles) for export in _exports(exports, original.artifact))
    yield _Job(original, tiled, original.with_groups(limited))


def _finisher(options: BaselineOptions) -> Callable[[Report], Report]:
    tolerances = Tolerances.from_strings(options.tolerance)
    return compare_with_baseline(options.baseline, tolerances, options.latency)


@contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    if output is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
    else:
        with new_folder(output, replace=True) as folder:
            yield folder


def places_of(exports: Sequence[Path], options: CheckOptions) -> Places:
    """The paths of a check's models and images."""
    reference = options.reference
    recorded = reference is not None and reference.is_file() and looks_like_archive(reference)
    return Places(_named(exports), None if recorded else reference, options.data, options.config)


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Export name -> path; equal folder names get a number."""
    named: dict[str, Path] = {}
    for path in paths:
        base = path.resolve().stem or "export"
        names = (base if number == 1 else f"{base}-{number}" for number in itertools.count(1))
        named[next(name for name in names if name not in {*RESERVED_NAMES, *named})] = path
    return named


def _in_tiles(export: Export, tiles: Tiles | None) -> Export:
    return export if export.artifact is None else replace(export, artifact=export.artifact.with_tiles(tiles))


def _exports(paths: Sequence[Path], reference: ModelArtifact) -> tuple[Export, ...]:
    """The exports to check."""
    return tuple(_export(path, name, reference) for name, path in _named(paths).items())


def _export(path: Path, name: str, reference: ModelArtifact) -> Export:
    """The export at `path`: an artifact, or a bare model file, which its target adopts."""
    files = find_model(path)
    target = targets().get(files.kind)
    artifact = read_artifact(files.folder) if target is None else target.adopt(files.model, reference, Store())
    manifest = artifact.manifest
    return Export(name, manifest.format, manifest.target.precision, artifact)


def _check_recipe(options: CheckOptions) -> CheckRecipe:
    names = ("device", "reference_device", "threads", "latency", "latency_seconds", "count")
    given = {name: getattr(options, name) for name in names} | {"runtimes": options.runtime}
    try:
        return CheckRecipe.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        if not fault["loc"]:
            raise OptionError("--latency gate needs times, and --latency-seconds is 0") from None
        option = f"--{fault['loc'][0]}".replace("_", "-")
        raise OptionError(f"{option} {fault['input']}: out of range", cause=fault["msg"]) from None


def read_label_map(path: Path | None) -> dict[str, str] | None:
    """Reads a YAML label map, by name or by id; raises InputError if the file is invalid."""
    if path is None:
        return None
    try:
        return as_label_map(read_yaml(path))
    except ValueError as error:
        raise UnreadableError(f"{path}: not a label map", cause=str(error)) from None
