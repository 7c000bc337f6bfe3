"""Reads training checkpoints of PaddleSeg: `model.pdparams`, a pickle of weight name -> array.

The pickle is read as plain data (`files.plain_pickle`): no code in it runs.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from segexport.errors import InputError, MissingInputError, UnreadableError
from segexport.files import plain_pickle
from segexport.files.foreign import guarded

_FRAMEWORK_NAMES = "StructuredToParameterName@@"  # Paddle's internal names of the weights, not needed here
_TRAINING_STATE = {"LR_Scheduler", "master_weights", "GradScaler"}
_OPTIMIZER_SUFFIXES = ("_moment1_0", "_moment2_0", "_velocity_0", "_beta1_pow_acc_0", "_beta2_pow_acc_0")
_LFS = b"version https://git-lfs"
_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch.save before PyTorch 1.6, as a pickle
_NAMED = 6  # names listed in one message
_WEIGHTS_HINT = "give the weights of the network, which PaddleSeg calls model.pdparams"


@guarded("a training checkpoint")
def find_checkpoint(path: Path) -> Path:
    """The file of weights: `path` itself, or the only one in a folder such as `best_model`.

    Raises:
        InputError: `path` does not exist, or contains no file of weights, or several.
    """
    if not path.exists():
        raise UnreadableError(f"{path}: no such file or folder")
    if path.is_file():
        _require_weights(path)
        return path
    found = sorted(path.glob("*.pdparams"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(file.name for file in found or path.iterdir())[:_NAMED])
    if found:
        raise UnreadableError(
            f"{path}: {len(found)} checkpoints: {names}", hint=f"name the one that you mean: {found[0]}"
        )
    raise MissingInputError(
        f"{path}: no checkpoint", cause=f"it contains {names}" if names else "it is empty", hint=_WEIGHTS_HINT
    )


def _require_weights(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in (".pdmodel", ".pdiparams", ".json", ".onnx", ".nb"):
        raise UnreadableError(
            f"{path}: an export, not a training checkpoint",
            cause="it contains the network already, and a configuration says how to build one",
            hint="leave out --config",
        )
    if suffix in (".pdopt", ".pdstates"):
        raise UnreadableError(f"{path}: the state of an optimizer, not the weights of a network", hint=_WEIGHTS_HINT)


@guarded("a training checkpoint")
def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The weights of a checkpoint: name -> array, in native byte order.

    Raises:
        InputError: The file is empty, truncated, no pickle, or not a flat table of weights; it is the state of an
            optimizer; or weights are NaN or infinite.
    """
    content = _content(path)
    if not isinstance(content, dict):
        raise UnreadableError(
            f"{path}: not a training checkpoint",
            cause=f"it contains a {type(content).__name__}, not weights by their names",
            hint=_WEIGHTS_HINT,
        )
    content.pop(_FRAMEWORK_NAMES, None)
    if not content:
        raise UnreadableError(f"{path}: the checkpoint contains no weights", hint=_WEIGHTS_HINT)
    names = [name for name in content if isinstance(name, str)]
    if any(name in _TRAINING_STATE or name.endswith(_OPTIMIZER_SUFFIXES) for name in names):
        raise UnreadableError(
            f"{path}: the state of an optimizer, not the weights of a network",
            cause=f"it contains {_listed(names)}",
            hint=_WEIGHTS_HINT,
        )
    weights = {str(name): _array(value) for name, value in content.items()}
    if others := [name for name, value in weights.items() if value is None]:
        raise _not_flat(path, content, others)
    found = {name: value for name, value in weights.items() if value is not None}
    _require_finite(path, found)
    return found


def _content(path: Path) -> Any:
    with path.open("rb") as stream:
        head = stream.read(max(len(_LFS), len(_TORCH)))
        stream.seek(0)
        if not head:
            raise UnreadableError(f"{path}: the file is empty", cause="a copy or a download that did not finish")
        if head[:1] != b"\x80" or head.startswith(_TORCH):
            kind = "it is not a pickle, the format of paddle.save"
            if head[:2] == b"PK" or head.startswith(_TORCH):
                kind = (
                    "a checkpoint of PyTorch"
                    if head.startswith(_TORCH)
                    else "a zip archive, as PyTorch and NumPy (.npz) write"
                )
            elif head.startswith(_LFS):
                kind = "a git-lfs pointer, not the file itself"
            raise UnreadableError(f"{path}: not a training checkpoint of Paddle", cause=kind, hint=_WEIGHTS_HINT)
        size_bytes = stream.seek(-1, os.SEEK_END) + 1
        if stream.read(1) != pickle.STOP:
            raise UnreadableError(
                f"{path}: the checkpoint is cut off after {size_bytes:,} bytes",
                cause="the end of the pickle is missing",
                hint="copy it or download it again",
            )
        try:
            return plain_pickle.load(stream)
        except (pickle.UnpicklingError, EOFError) as error:
            raise UnreadableError(
                f"{path}: not a training checkpoint, or a damaged one", cause=str(error), hint=_WEIGHTS_HINT
            ) from None


def _array(value: Any) -> np.ndarray | None:
    """The array in native byte order, also from a (name, array) pair as some Paddle versions write; else None."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    return np.asarray(value, value.dtype.newbyteorder("=")) if isinstance(value, np.ndarray) else None


def _not_flat(path: Path, content: dict[Any, Any], others: list[str]) -> InputError:
    """The error for weights in a nested dictionary, or for values that are not weights."""
    for name, value in content.items():
        if isinstance(value, dict) and any(_array(each) is not None for each in value.values()):
            keep = f'paddle.save(paddle.load("{path.name}")["{name}"], "weights.pdparams")'
            return UnreadableError(
                f"{path}: the checkpoint is nested: its weights are under {name!r}",
                cause=f"it contains {_listed([str(key) for key in content])}",
                hint=f"keep the weights alone: {keep}",
            )
    return UnreadableError(
        f"{path}: not only weights",
        cause=f"not weights: {_listed([f'{name} ({type(content[name]).__name__})' for name in others])}",
        hint=_WEIGHTS_HINT,
    )


def _require_finite(path: Path, weights: dict[str, np.ndarray]) -> None:
    bad = [name for name, value in weights.items() if value.dtype.kind == "f" and not np.isfinite(value).all()]
    if bad:
        raise UnreadableError(
            f"{path}: {len(bad)} of {len(weights)} weights contain NaN or infinity: {_listed(bad)}",
            cause="the training has diverged, or the file is damaged",
            hint="take an earlier checkpoint",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
