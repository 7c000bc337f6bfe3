"""What each command does: the library's calls in their order. The command line only reads options and shows results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from segexport import report as reports
from segexport.artifact import ModelArtifact, one_line, read_artifact, require_semantic
from segexport.data.dataset import Dataset
from segexport.data.images import image_size
from segexport.errors import InputError, SegexportError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.instance.data import open_data
from segexport.judge.measured import Subject
from segexport.kept_check import kept_check
from segexport.output import copy_tree, new_folder, require_free
from segexport.pipeline import Builder, context_of, plan, planned, steps_of
from segexport.preprocess import place
from segexport.recipe import OnnxExport, PaddleLiteExport, Recipe, export_name
from segexport.recipe_yaml import read_recipe
from segexport.recorded.baseline import held_against
from segexport.recorded.playback import Playback
from segexport.recorded.reference_file import recording_for
from segexport.registry import make_step
from segexport.spec import Format
from segexport.step import StepContext, check_chain
from segexport.store import Store

if TYPE_CHECKING:
    from segexport.diagnose.schema import Diagnosis
    from segexport.report.schema import Report
    from segexport.show.console import Console

DEMO_RECIPE = Path(__file__).parent / "demo" / "recipe.yaml"


def run_recipe(
    path: Path, output: Path, *, without: Sequence[str] = (), console: Console, store: Store | None = None
) -> Report:
    """Makes, exports and checks everything that a recipe names; `output` gets reports, pictures and exports.

    Args:
        without: Kinds of steps that are left out: what the others bring alone.

    Raises:
        SegexportError: The recipe, the model, the reference or the data cannot be used.
    """
    require_free(output, replace=True)
    recipe = read_recipe(path)
    if without:
        try:
            recipe = recipe.ablated(without)
        except ValueError as error:
            raise InputError(f"--without {without[0]}: {error}") from None
    with new_folder(output, replace=True) as folder:
        return carry_out(recipe, path.parent, folder, console=console, store=store or Store())


def carry_out(recipe: Recipe, base: Path, folder: Path, *, console: Console, store: Store) -> Report:
    """Does what a recipe says; `folder`, which is empty, gets reports, pictures and exports.

    Args:
        base: What the recipe's paths are relative to.

    Raises:
        SegexportError: The model, the reference or the data cannot be used.
    """
    baseline = recipe.check.baseline
    finish = held_against(None if baseline is None else base / baseline, recipe.check.tolerances)
    root = base / recipe.data.path
    whole = open_data(root, recipe.data.split)
    if recipe.data.part is not None:
        whole = whole.part(*map(int, recipe.data.part.split("/")))
    data = whole.at_most(recipe.data.limit, recipe.seed)
    source = _source(base / recipe.model.path, recipe, data, store)
    recorded = _recorded(base, recipe, whole, data)
    calibration = open_data(root, recipe.data.calibration_split) if _calibrates(recipe) else None
    chains = plan(recipe, source, calibration.fingerprint if calibration else "").chains
    builder = Builder(store, context_of(recipe, calibration, console.progress), console.say)
    subjects = [_built(builder, source, export, chains[export_name(export)], console) for export in recipe.exports]
    found, again = kept_check(recorded or source, subjects, data, folder, recipe, console, store)
    for subject in subjects:
        if subject.artifact is not None:
            copy_tree(subject.artifact.path, folder / "exports" / subject.name)
    found = finish(found)
    reports.write(found, folder)
    made = builder.made
    if not made.made and again:
        console.say(f"nothing to do: all {made.found} steps and the check were found in the cache")
    return found


def import_to(model: Path, output: Path, options: ImportOptions) -> ModelArtifact:
    """Imports a model into a folder of its own."""
    require_free(output)
    return _placed(import_model(model, options, Store()), output)


def export_to(
    model: Path, output: Path, importing: ImportOptions, options: Mapping[str, Any], *, console: Console
) -> ModelArtifact:
    """Exports a model to one target. `options` are the command line's."""
    require_free(output)
    store = Store()
    calibration = open_data(options["calibration"], "train") if options["calibration"] else None
    source = import_model(model, importing, store)
    if calibration is not None:
        source = fixed_to_data(model, importing, source, calibration, store)
    export = _export_recipe(options)
    chain = planned(steps_of(export), source, calibration.fingerprint if calibration else "")
    builder = Builder(store, StepContext(data=calibration, progress=console.progress), console.say)
    return _placed(builder.build(output.name, source, chain), output)


def validate_recipe(path: Path) -> list[str]:
    """The names of the exports of a valid recipe; raises InputError with every fault of another."""
    recipe = read_recipe(path)
    for export in recipe.exports:
        steps = [make_step(entry.step, dict(entry.params)) for entry in recipe.steps_for(export)]
        check_chain([*steps, *steps_of(export)], Format.PADDLE)
    return [export_name(export) for export in recipe.exports]


# -- parts -----------------------------------------------------------------------------------------------------


def diagnose_export(
    path: Path, output: Path | None, *, reference: Path, image: Path, threads: int, console: Console
) -> Diagnosis:
    """Looks for the operator that broke an export; `output` gets the report and what reproduces the fault."""
    from contextlib import nullcontext

    from segexport.data.images import decode_image
    from segexport.diagnose.diagnose import diagnose

    if output is not None:
        require_free(output)
    export, pixels = read_artifact(path), decode_image(image)
    require_semantic(export, "diagnose")
    names = tuple(label.name for label in export.manifest.labels)
    options, store = ImportOptions(fallback_labels=names), Store()
    own = import_model(reference, options, store)
    height, width = export.manifest.inputs[0].shape[2:]
    if -1 in own.manifest.inputs[0].shape[2:] and -1 not in (width, height) and own.path != reference:
        own = import_model(reference, options.model_copy(update={"input_size": (width, height)}), store)
    with nullcontext() if output is None else new_folder(output) as folder:
        return diagnose(
            export,
            own,
            pixels,
            image_name=image.name,
            out=folder,
            threads=threads,
            progress=console.progress,
        )


def _placed(artifact: ModelArtifact, output: Path) -> ModelArtifact:
    """A copy of a kept artifact in the user's folder."""
    with new_folder(output) as folder:
        copy_tree(artifact.path, folder)
    return read_artifact(output)


def _source(path: Path, recipe: Recipe, data: Dataset, store: Store) -> ModelArtifact:
    given = recipe.model
    options = ImportOptions(
        preprocess=given.preprocess,
        labels=given.labels,
        fallback_labels=data.labels,
        input_size=given.input_size,
        mask_output=given.mask_output,
        ignore_index=given.ignore_index,
    )
    return fixed_to_data(path, options, import_model(path, options, store), data, store)


def fixed_to_data(
    path: Path, options: ImportOptions, source: ModelArtifact, data: Dataset, store: Store
) -> ModelArtifact:
    """The model with its free sides fixed to the size that all images have after preprocessing, if they have one.

    A phone runs one size, and operators that depend on the size can only be exported for one.
    """
    manifest = source.manifest
    if -1 not in manifest.image.shape[2:] or options.input_size is not None:
        return source
    sizes = {place(manifest.preprocess, *image_size(data.root / entry.image)).tensor for entry in data.entries}
    if len(sizes) != 1:
        return source
    return import_model(path, options.model_copy(update={"input_size": sizes.pop()}), store)


def _recorded(base: Path, recipe: Recipe, whole: Dataset, data: Dataset) -> Playback | None:
    if recipe.check.reference is None:
        return None
    return recording_for(base / recipe.check.reference, whole, data)


def _calibrates(recipe: Recipe) -> bool:
    return bool(recipe.steps) or any(step.uses_data for export in recipe.exports for step in steps_of(export))


def _built(builder: Builder, source: ModelArtifact, export, chain, console: Console) -> Subject:
    name = export_name(export)
    try:
        artifact, error = builder.build(name, source, chain), None
    except SegexportError as caught:
        artifact, error = None, caught
        console.error(type(caught)(f"{name}: {caught.what}", cause=caught.cause, hint=caught.hint))
    return Subject(name, export.to, export.precision, artifact, error, export.limits)


def _asked(given: Mapping[str, Any]) -> str:
    """What was asked of an export as options, without those that stay as they are."""
    asked = {
        key: value for key, value in given.items() if (key, value) not in {("head", "keep"), ("mask_dtype", "int32")}
    }
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in asked.items())


def _export_recipe(options: Mapping[str, Any]) -> OnnxExport | PaddleLiteExport:
    given: dict[str, Any] = {key: options[key] for key in ("to", "precision", "head", "mask_dtype")}
    try:
        calibration = {"method": options["calibration_method"], "images": options["calibration_images"]}
        if options["to"] == "paddle-lite":
            return PaddleLiteExport.model_validate(given | {"calibration": calibration})
        return OnnxExport.model_validate(given | {"opset": options["opset"] or "auto", "calibration": calibration})
    except ValidationError as error:
        raise InputError(
            f"{_asked(given)}: not to be had together",
            cause=one_line(error),
        ) from None
