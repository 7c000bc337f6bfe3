"""`segexport recipe init`: writes a first recipe for a model and its data."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from segexport import preprocess
from segexport.commands.validate_recipe import validate_recipe
from segexport.data.dataset import Dataset
from segexport.data.images import decode_image
from segexport.errors import ExistsError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.atomic import write_file
from segexport.files.store import Store
from segexport.importers.model_files import find_model
from segexport.pipeline.entry_points import names, require_known
from segexport.pipeline.registry import target_named
from segexport.task.open_data import open_data

_TEMPLATE = """\
# segexport run {name}
model:
  path: {model}
{size}data:
  path: {data}
  split: {split}               # the check: images that the model was not trained on
  calibration_split: {calibration}     # int8 ranges; never the images of the check, if there are others
exports:
{exports}
  # `segexport recipe schema` lists every key: limits, heads, steps such as prune and finetune, baselines
check:
  latency_seconds: 10
"""
_EXPORTS = """\
  - {to: onnx, precision: fp32}          # what int8 has to beat
  - {to: onnx, precision: int8, calibration: {images: 32}}
  # - {to: paddle-lite, precision: fp32}   # for Android and ARM"""
ALL = "all"


def init_recipe(model: Path, data: Path, output: Path, to: Sequence[str] = ()) -> list[str]:
    """Writes a recipe; returns the names of its exports.

    Args:
        model: Any model that a recipe accepts.
        data: Folder of images, with or without PaddleSeg's lists.
        output: A file that does not exist.
        to: Targets, each in fp32, `all` for every one; default: ONNX in fp32 and int8. If a target's files hold one
            input size and the network's is dynamic, the recipe fixes that of the first image.

    Raises:
        InputError: There is no model or no image, or the output exists.
        OptionError: There is no such target.
    """
    find_model(model)
    chosen = _targets(to)
    splits = [name for name in ("val", "test", "train") if (data / f"{name}.txt").is_file()] or ["val"]
    images = open_data(data, splits[0])
    calibration = "train" if "train" in splits else splits[-1]
    if output.exists():
        raise ExistsError(f"{output}: exists", hint="choose another file with -o, or remove it")
    exports = "\n".join(f"  - {{to: {name}, precision: fp32}}" for name in chosen) if to else _EXPORTS
    text = _TEMPLATE.format(
        exports=exports,
        size=_size(model, images) if any(target_named(name).one_size for name in chosen) else "",
        name=output.name,
        model=_quoted(model, output.parent),
        data=_quoted(data, output.parent),
        split=splits[0],
        calibration=calibration,
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = validate_recipe(write_file(Path(scratch) / output.name, text))
    write_file(output, text, replace=False)
    return made


def _targets(given: Sequence[str]) -> list[str]:
    """The targets, ONNX first: times are compared with those of the first export."""
    for name in given:
        if name != ALL:
            require_known("target", name, (*names("target"), ALL))
    chosen = names("target") if ALL in given else dict.fromkeys(given)
    return sorted(chosen, key=lambda name: name != "onnx")


def _size(model: Path, images: Dataset) -> str:
    """The line with the size of the network's input for the first image, if the network leaves it free."""
    with tempfile.TemporaryDirectory() as scratch:
        manifest = import_model(model, ImportOptions(), Store(Path(scratch))).manifest
        if min(manifest.image.shape[2:]) > 0:
            return ""
        image = decode_image(images.root / images.entries[0].image, pixels=manifest.preprocess.pixels)
        tensor, _ = preprocess.example(manifest.preprocess, image)
    height, width = tensor.shape[-2:]
    return f"  input_size: [{width}, {height}]   # of the first image; the files of some targets hold one size\n"


def _quoted(path: Path, base: Path) -> str:
    """The path relative to the recipe, as a YAML string; every JSON string is one."""
    return json.dumps(os.path.relpath(path, base), ensure_ascii=False)
