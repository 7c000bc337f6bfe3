"""Reads the preprocessing of PaddleSeg before 2.0, from `DEPLOY` in its `deploy.yaml`.

From its `deploy/python/infer.py`: OpenCV reads BGR (BGRA for four channels), which is kept, whatever IMAGE_TYPE says;
the image is resized to EVAL_CROP_SIZE (width, height) without keeping its ratio; then (value / 255 - MEAN) / STD.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from segexport.artifact import warning
from segexport.errors import ModelSettingsError
from segexport.importers.deploy_params import OWN_HINT, PADDLESEG, Params
from segexport.spec import Color, Preprocess, Resize

_SIZE = re.compile(r"\(?\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,?\s*\)?")
_COLORS: dict[int, Color] = {1: "gray", 3: "bgr", 4: "bgra"}
# Known keys: those that change no pixel, and those that are read elsewhere.
_OTHERS = {
    "USE_GPU", "MODEL_PATH", "MODEL_FILENAME", "PARAMS_FILENAME", "IMAGE_TYPE", "NUM_CLASSES", "PRE_PROCESSOR",
    "PREDICTOR_MODE", "BATCH_SIZE", "USE_PR", "RESIZE_TYPE", "CHANNELS", "EVAL_CROP_SIZE", "MEAN", "STD",
}  # fmt: skip


def to_preprocess(path: Path, deploy: dict[str, Any], channels: int) -> tuple[Preprocess, tuple[str, ...]]:
    """The contract, and notes; see `deploy_config.read_deploy_config` for the arguments.

    Raises:
        InputError: A key is missing or not expressible in the contract, or the number of channels is not the network's.
    """
    where = f"{path}: DEPLOY"
    if deploy.get("USE_PR"):
        raise ModelSettingsError(
            f"{where}.USE_PR is {deploy['USE_PR']!r}",
            cause="part of the preprocessing is inside the network, and the file does not say which",
            hint="export it again with USE_PR 0, or " + OWN_HINT,
        )
    if deploy.get("RESIZE_TYPE", "UNPADDING") != "UNPADDING":
        raise ModelSettingsError(
            f"{where}.RESIZE_TYPE is {deploy['RESIZE_TYPE']!r}, UNPADDING is known", cause=_BY_ITS_OWN, hint=OWN_HINT
        )
    said = deploy.get("CHANNELS", 3)
    if said != channels or channels not in _COLORS:
        raise ModelSettingsError(
            f"{where}.CHANNELS is {said!r}, the network takes {channels}",
            cause="PaddleSeg 0 reads images of 3 or 4 channels",
            hint=OWN_HINT,
        )
    size = deploy.get("EVAL_CROP_SIZE")
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    pair: Any = match.groups() if match else size if _is_pair(size) else (0, 0)
    width, height = int(pair[0]), int(pair[1])
    if not (width and height):
        raise ModelSettingsError(f"{where}.EVAL_CROP_SIZE is {size!r}, (width, height) is expected", hint=OWN_HINT)
    params = Params(where, "DEPLOY", PADDLESEG, {key: deploy.get(key) for key in ("MEAN", "STD")}, channels)
    mean, std = params.per_channel("MEAN", None), params.per_channel("STD", None)
    if not all(std):
        raise ModelSettingsError(f"{where}.STD contains a 0, which is a divisor: {list(std)}")
    notes = [f"channels in OpenCV's order, {_COLORS[channels]}: PaddleSeg 0 never reverses them"]
    if unknown := sorted(map(str, deploy.keys() - _OTHERS)):
        notes.append(warning(f"{path.name}: DEPLOY.{', DEPLOY.'.join(unknown)} is unknown and was not used"))
    contract = Preprocess(color=_COLORS[channels], geometry=(Resize(width=width, height=height),), mean=mean, std=std)
    return contract, tuple(notes)


_BY_ITS_OWN = "PaddleSeg did not write it"


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)
