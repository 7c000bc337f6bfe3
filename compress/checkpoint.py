"""Saves and loads training checkpoints: arrays and plain values in one file that is written atomically."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segexport.errors import UnreadableError
from segexport.files.atomic import whole_file
from segexport.files.foreign import guarded

NAME = "checkpoint.npz"


@dataclass
class Checkpoint:
    """The state after a step.

    Attributes:
        options: The training's options as JSON; a training with other options must not resume from the checkpoint.
        arrays: Arrays by kind (`param`, `average`, `optimizer`) and name.
        state: Plain values stored by code outside the training loop.
    """

    step: int
    options: str
    arrays: dict[str, dict[str, np.ndarray]]
    state: dict[str, Any] = field(default_factory=dict)


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint.npz`; the old file stays until the new one is complete."""
    plain = {"step": checkpoint.step, "options": checkpoint.options, "state": checkpoint.state}
    flat = {f"{kind} {name}": value for kind, values in checkpoint.arrays.items() for name, value in values.items()}
    flat["plain"] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    with whole_file(folder / NAME) as work, work.open("wb") as stream:
        np.savez(stream, **flat)


@guarded("a checkpoint")
def load(folder: Path) -> Checkpoint | None:
    """Reads `checkpoint.npz`; returns None if there is none.

    Raises:
        InputError: The file is damaged or not a checkpoint.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            flat = {name: stored[name] for name in stored.files}
        plain = json.loads(bytes(flat.pop("plain")))
        found = Checkpoint(int(plain["step"]), str(plain["options"]), {}, dict(plain["state"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableError(
            f"{path}: not a checkpoint, or a damaged one", cause=str(error), hint="remove it"
        ) from error
    for key, value in flat.items():
        kind, _, name = key.partition(" ")
        found.arrays.setdefault(kind, {})[name] = value
    return found
