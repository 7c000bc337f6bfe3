"""`segexport export`: exports a model to one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from segexport.artifact import ModelArtifact, read_artifact
from segexport.errors import OptionError, one_line
from segexport.exporter.from_paddle import ImportOptions, fix_input_size, import_model
from segexport.files.output_folder import copy_tree, new_folder, require_free
from segexport.files.store import Store
from segexport.pipeline.entry_points import require_known
from segexport.pipeline.plan import PlanRunner, planned, steps_of
from segexport.pipeline.registry import target_named
from segexport.pipeline.step import StepContext
from segexport.progress import SILENCE, Feedback
from segexport.recipe.export import ExportRecipe
from segexport.records.model_card import write_card
from segexport.spec import HeadKind, MaskDtype
from segexport.task.open_data import open_data

if TYPE_CHECKING:
    from segexport.exporter.targets.base import ExportTarget


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of `segexport export`.

    Attributes:
        to: Name of the target.
        precision: A precision of the target.
        head: The network's output; see `exporter.set_head`.
        mask_dtype: Element type of the mask, for an argmax head.
        calibration: Images for int8: a data folder with train.txt, or a folder of images.
        opset: ONNX opset; None: the newest supported.
        option: The target's own options, `NAME=VALUE`, as in a recipe.
    """

    to: str
    precision: str = "fp32"
    head: HeadKind = "keep"
    mask_dtype: MaskDtype = "int32"
    calibration: Path | None = None
    calibration_method: str = "mse"
    calibration_images: int = 32
    opset: int | None = None
    option: tuple[str, ...] = ()


def export(
    model: Path, output: Path, importing: ImportOptions, options: ExportOptions, *, feedback: Feedback = SILENCE
) -> ModelArtifact:
    """Exports a model to one target, into the new folder `output`.

    Raises:
        SegexportError: The model cannot be read or exported, or the target does not have an option.
    """
    require_free(output)
    store = Store()
    calibration = open_data(options.calibration, "train") if options.calibration else None
    source = import_model(model, importing, store)
    if calibration is not None:
        source = fix_input_size(model, importing, source, calibration, store)
    feedback.warn_of(source)
    wanted = _export_recipe(options)
    chain = planned(steps_of(wanted), source, calibration.fingerprint if calibration else "")
    builder = PlanRunner(store, StepContext(data=calibration, progress=feedback.progress), feedback.say)
    made = builder.build(output.name, source, chain)
    feedback.warn_of(made)
    with new_folder(output) as folder:
        copy_tree(made.path, folder)
        write_card(folder, made.manifest)
    return read_artifact(output)


def _asked(given: Mapping[str, Any]) -> str:
    """The options that differ from their defaults, as text for messages."""
    asked = {
        key: value for key, value in given.items() if (key, value) not in {("head", "keep"), ("mask_dtype", "int32")}
    }
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in asked.items())


def _export_recipe(options: ExportOptions) -> ExportRecipe:
    """Converts the options to an entry of a recipe.

    Raises:
        InputError: The target does not have an option, or does not accept its value.
    """
    target = target_named(options.to)
    given = {key: getattr(options, key) for key in ("to", "precision", "head", "mask_dtype")}
    try:
        return target.Recipe.model_validate(given | _own_options(options, target))
    except ValidationError as error:
        raise OptionError(
            f"{_asked(given)}: cannot be combined",
            cause=one_line(error),
        ) from None


def _own_options(options: ExportOptions, target: ExportTarget) -> dict[str, Any]:
    """The options that only some targets have: the calibration, `--opset`, and those of `--option`."""
    known = set(target.Recipe.model_fields) - set(ExportRecipe.model_fields) - {"to", "precision"}
    found: dict[str, Any] = {}
    if "calibration" in known and options.calibration is not None:
        found["calibration"] = {"method": options.calibration_method, "images": options.calibration_images}
    given = [] if options.opset is None else [f"opset={options.opset}"]
    for pair in (*given, *options.option):
        name, equals, value = pair.partition("=")
        if not equals:
            raise OptionError(f"--option {pair}: no value", hint="--option NAME=VALUE, as a recipe names it")
        name, _, part = name.partition(".")
        require_known(f"{target.name} option", name, known)
        try:
            content = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise OptionError(f"--option {pair}: not YAML", cause=" ".join(str(error).split())) from None
        if part:
            inner = found[name] if isinstance(found.get(name), dict) else {}
            content = inner | {part: content}
        found[name] = content
    return found
