"""`segexport recipe init`: writes a first recipe for a model and its data."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from segexport.commands.validate_recipe import validate_recipe
from segexport.errors import ExistsError
from segexport.files.atomic import write_file
from segexport.importers.model_files import find_model
from segexport.task.open_data import open_data

_TEMPLATE = """\
# segexport run {name}
model:
  path: {model}
data:
  path: {data}
  split: {split}               # the check: images that the model was not trained on
  calibration_split: {calibration}     # int8 ranges; never the images of the check, if there are others
exports:
  - {{to: onnx, precision: fp32}}          # what int8 has to beat
  - {{to: onnx, precision: int8, calibration: {{images: 32}}}}
  # - {{to: paddle-lite, precision: fp32}}   # for Android and ARM
  # `segexport recipe schema` lists every key: limits, heads, steps such as prune and finetune, baselines
check:
  latency_seconds: 10
"""


def init_recipe(model: Path, data: Path, output: Path) -> list[str]:
    """Writes a recipe; returns the names of its exports.

    Args:
        model: Any model that a recipe accepts.
        data: Folder of images, with or without PaddleSeg's lists.
        output: A file that does not exist.

    Raises:
        InputError: There is no model or no image, or the output exists.
    """
    find_model(model)
    splits = [name for name in ("val", "test", "train") if (data / f"{name}.txt").is_file()] or ["val"]
    open_data(data, splits[0])
    calibration = "train" if "train" in splits else splits[-1]
    if output.exists():
        raise ExistsError(f"{output}: exists", hint="choose another file with -o, or remove it")
    text = _TEMPLATE.format(
        name=output.name,
        model=_quoted(model, output.parent),
        data=_quoted(data, output.parent),
        split=splits[0],
        calibration=calibration,
    )
    with tempfile.TemporaryDirectory() as scratch:
        names = validate_recipe(write_file(Path(scratch) / output.name, text))
    write_file(output, text, replace=False)
    return names


def _quoted(path: Path, base: Path) -> str:
    """The path relative to the recipe, as a YAML string; every JSON string is one."""
    return json.dumps(os.path.relpath(path, base), ensure_ascii=False)
