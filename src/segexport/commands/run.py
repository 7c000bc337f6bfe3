"""`segexport run`: runs a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segexport import report as reports
from segexport.artifact import ModelArtifact
from segexport.check.cached import cached_check
from segexport.check.request import CheckRequest
from segexport.commands.check import require_no_phone
from segexport.data.dataset import Dataset
from segexport.engine.base import TaskEngine
from segexport.engine.connect import engine_for
from segexport.errors import OptionError, SegexportError
from segexport.exporter.from_paddle import ImportOptions, fix_input_size, import_model
from segexport.files.output_folder import copy_tree, new_folder, require_free
from segexport.files.store import Store
from segexport.judge.results import Export
from segexport.pipeline.on_engine import build_on
from segexport.pipeline.plan import PlanRunner, context_of, plan, steps_of
from segexport.pipeline.registry import target_named
from segexport.progress import SILENCE, Feedback
from segexport.recipe.export import export_name
from segexport.recipe.reader import read_recipe
from segexport.recipe.schema import ModelRecipe, Recipe
from segexport.records.model_card import write_card
from segexport.records.run_log import open_logs, record_of
from segexport.references.base import Reference
from segexport.references.baseline import compare_with_baseline
from segexport.references.live import LiveReference
from segexport.references.reference_file import recording_for
from segexport.report.places import Places
from segexport.task.open_data import open_data
from segexport.task.registry import task_of

if TYPE_CHECKING:
    from segexport.report.schema import Report

DEMO_RECIPE = Path(__file__).parent.parent / "demo" / "recipe.yaml"


def run(
    path: Path,
    output: Path,
    *,
    without: Sequence[str] = (),
    baseline: Path | None = None,
    log: Sequence[str] = (),
    on: str | None = None,
    engine: TaskEngine | None = None,
    feedback: Feedback = SILENCE,
    store: Store | None = None,
) -> Report:
    """Runs a recipe: its steps, its exports and their check; writes reports, pictures and exports into `output`.

    Args:
        without: Kinds of steps to skip.
        baseline: An earlier report, instead of the recipe's `check: {baseline: ...}`.
        on: The engine whose workers make and run the exports (`engine.address`); None: this process.
        engine: An engine that is open, instead of `on`.
        log: Trackers, `mlflow:URI` or `tensorboard:DIR`; see `records.run_log`.

    Raises:
        SegexportError: The recipe, the model, the reference or the data cannot be used.
    """
    require_free(output, replace=True)
    record = open_logs(log)
    recipe = read_recipe(path)
    if without:
        try:
            recipe = recipe.ablated(without)
        except ValueError as error:
            raise OptionError(f"--without {without[0]}: {error}") from None
    if baseline is not None:
        check = recipe.check.model_copy(update={"baseline": str(baseline.resolve())})
        recipe = recipe.model_copy(update={"check": check})
    base = path.parent
    with new_folder(output, replace=True) as folder, engine_for(on, threads=recipe.check.threads) as opened:
        engine = engine or opened
        if engine is not None:
            require_no_phone(recipe.check.device)
            base = base if engine.local else base.absolute()
        report = run_pipeline(recipe, base, folder, feedback=feedback, store=store or Store(), engine=engine)
        record(record_of(report, folder), feedback)
    return report


def places_of(path: Path, output: Path, report: Report) -> Places:
    """The paths of a run's models and images."""
    recipe = read_recipe(path)
    exports = {export.name: output / "exports" / export.name for export in report.exports}
    return Places(exports, path.parent / recipe.model.path, path.parent / recipe.data.path)


def run_pipeline(
    recipe: Recipe,
    base: Path,
    folder: Path,
    *,
    feedback: Feedback,
    store: Store,
    engine: TaskEngine | None = None,
) -> Report:
    """Runs a recipe; writes reports, pictures and exports into the empty `folder`.

    Args:
        base: Folder of the recipe's relative paths.
        engine: Whose workers make and run the exports; None: this process.

    Raises:
        SegexportError: The model, the reference or the data cannot be used.
    """
    baseline = recipe.check.baseline
    where = None if baseline is None else base / baseline
    finish = compare_with_baseline(where, recipe.check.tolerances, recipe.check.latency)
    root = base / recipe.data.path
    full_dataset = open_data(root, recipe.data.split, groups=recipe.data.groups)
    if recipe.data.part is not None:
        full_dataset = full_dataset.part(*map(int, recipe.data.part.split("/")))
    data = full_dataset.at_most(recipe.data.limit, recipe.seed)
    calibration = _calibration(root, recipe) if _calibrates(recipe) else None
    source = _source(base, recipe, data, store)
    feedback.warn_of(source)
    reference = _reference(base, recipe, source, full_dataset, data)
    data = reference.with_groups(data)
    task = task_of(source.manifest)
    task.require_data(data)
    task.scored_classes(source.manifest, data, recipe.data.label_map)  # fails now, not in the check after all the work
    chains = plan(recipe, source, calibration.fingerprint if calibration else "").chains
    context = context_of(recipe, calibration, feedback.progress)
    if engine is None:
        builder = PlanRunner(store, context, feedback.say)
        found = {name: _attempt(builder, name, source, chain) for name, chain in chains.items()}
        made = builder.made
    else:
        with engine.counting():
            found, made = build_on(engine, store, context, source, chains, feedback.say)
    exports = tuple(_built(export, found[export_name(export)], feedback) for export in recipe.exports)
    request = CheckRequest(
        reference=reference,
        exports=exports,
        data=data,
        folder=folder,
        options=recipe.check,
        title=recipe.title,
        label_map=recipe.data.label_map,
        progress=feedback.progress,
    )
    report, is_known = cached_check(request, store, engine)
    for export in exports:
        if export.artifact is not None:
            copy_tree(export.artifact.path, folder / "exports" / export.name)
    report = finish(report)
    for export in exports:
        if export.artifact is not None:
            write_card(folder / "exports" / export.name, export.artifact.manifest, report, export.name)
    reports.write(report, folder)
    if not made.made and is_known:
        feedback.say(f"nothing to do: all {made.found} steps and the check were found in the cache")
    return report


def model_recipe(model: Path, importing: ImportOptions, source: ModelArtifact) -> ModelRecipe:
    """The recipe's entry for a model, with the user's import options.

    Args:
        source: The imported model.
    """
    given = importing.model_dump(exclude={"fallback_labels", "color", "mean", "std", "tiles"}, exclude_none=True)
    if (importing.color, importing.mean, importing.std, importing.tiles) != (None, None, None, None):
        given["preprocess"] = source.manifest.preprocess
    given |= {name: str(given[name].resolve()) for name in ("config", "paddleseg") if name in given}
    return ModelRecipe(path=str(model.resolve()), **given)


def _source(base: Path, recipe: Recipe, data: Dataset, store: Store) -> ModelArtifact:
    given = recipe.model
    path = base / given.path
    options = ImportOptions(
        preprocess=given.preprocess,
        labels=given.labels,
        fallback_labels=data.labels,
        input_size=given.input_size,
        mask_output=given.mask_output,
        ignore_index=given.ignore_index,
        config=None if given.config is None else base / given.config,
        paddleseg=None if given.paddleseg is None else base / given.paddleseg,
        postprocess=given.postprocess,
    )
    return fix_input_size(path, options, import_model(path, options, store), data, store)


def _reference(base: Path, recipe: Recipe, source: ModelArtifact, full_dataset: Dataset, data: Dataset) -> Reference:
    if recipe.check.reference is not None:
        return recording_for(base / recipe.check.reference, full_dataset, data)
    return LiveReference.of(source, recipe.check)


def _calibration(root: Path, recipe: Recipe) -> Dataset:
    found = open_data(root, recipe.data.calibration_split)
    part = recipe.data.calibration_part
    return found if part is None else found.part(*map(int, part.split("/")))


def _calibrates(recipe: Recipe) -> bool:
    return bool(recipe.steps) or any(step.uses_data for export in recipe.exports for step in steps_of(export))


def _attempt(builder: PlanRunner, name: str, source: ModelArtifact, chain) -> ModelArtifact | SegexportError:
    try:
        return builder.build(name, source, chain)
    except SegexportError as error:
        return error


def _built(export, found: ModelArtifact | SegexportError, feedback: Feedback) -> Export:
    name = export_name(export)
    if isinstance(found, SegexportError):
        artifact, error = None, found
        feedback.error(type(found)(f"{name}: {found.what}", cause=found.cause, hint=found.hint))
    else:
        artifact, error = found, None
        feedback.warn_of(artifact)
    precision = export.precision if artifact is None else artifact.manifest.target.precision
    return Export(name, target_named(export.to).format, precision, artifact, error, export.limits)
