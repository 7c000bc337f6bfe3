"""`segexport export`: a model becomes one export for one target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from segexport.artifact import ModelArtifact, one_line
from segexport.errors import InputError
from segexport.exporter.from_paddle import ImportOptions, fix_input_size, import_model
from segexport.files.output_folder import place_artifact, require_free
from segexport.files.store import Store
from segexport.pipeline.plan import Builder, planned, steps_of
from segexport.pipeline.step import StepContext
from segexport.recipe.schema import OnnxExport, PaddleLiteExport
from segexport.task.open_data import open_data

if TYPE_CHECKING:
    from segexport.ui.console import Console


def export_to(
    model: Path, output: Path, importing: ImportOptions, options: Mapping[str, Any], *, console: Console
) -> ModelArtifact:
    """Exports a model to one target. `options` are the command line's."""
    require_free(output)
    store = Store()
    calibration = open_data(options["calibration"], "train") if options["calibration"] else None
    source = import_model(model, importing, store)
    if calibration is not None:
        source = fix_input_size(model, importing, source, calibration, store)
    console.warn_of(source)
    export = _export_recipe(options)
    chain = planned(steps_of(export), source, calibration.fingerprint if calibration else "")
    builder = Builder(store, StepContext(data=calibration, progress=console.progress), console.say)
    made = builder.build(output.name, source, chain)
    console.warn_of(made)
    return place_artifact(made, output)


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
