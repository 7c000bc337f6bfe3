"""Trains a program in a process of its own. Commands: begin, advance, finish.

Unlike other workers this one imports segexport: the replay, the data set and the preprocessing are its own.
"""

from __future__ import annotations

import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process
from functools import wraps
from pathlib import Path

from worker_host import Failure

from segexport.compress.batches import Augmentation, Batches
from segexport.compress.training import Trainer, TrainingOptions
from segexport.data.dataset import Dataset
from segexport.errors import SegexportError
from segexport.exporter.program import Program, read
from segexport.spec import Preprocess

_state: dict = {}


def _says_why(command):
    @wraps(command)
    def run(arguments, arrays):
        try:
            return command(arguments), []
        except SegexportError as error:
            raise Failure(error.what, error.cause, error.hint) from error

    return run


@_says_why
def begin(arguments) -> dict:
    """Opens student, teacher and data; goes on from the folder's checkpoint where there is one."""
    options = TrainingOptions.model_validate_json(arguments["options"])
    known = {name: arguments["data"][name] for name in ("num_classes", "ignore_index")}
    data = Dataset.open(Path(arguments["data"]["root"]), arguments["data"]["split"], **known)
    batches = Batches(
        data=data,
        preprocess=Preprocess.model_validate_json(arguments["preprocess"]),
        size=arguments["batch"],
        seed=options.seed,
        augmentation=Augmentation.model_validate_json(arguments["augmentation"]),
    )
    teacher = _program(arguments["teacher"]) if arguments["teacher"] else None
    trainer = Trainer(_program(arguments["student"]), teacher, options, Path(arguments["folder"]))
    _state.update(trainer=trainer, batches=batches.following(trainer.step))
    return {"step": trainer.step}


def _program(files: dict) -> Program:
    return read(Path(files["model"]), Path(files["params"]))


@_says_why
def advance(arguments) -> dict:
    """Trains up to a step; answers the mean losses on the way."""
    trainer = _state["trainer"]
    return {"losses": trainer.advance(_state["batches"], arguments["until"]), "step": trainer.step}


@_says_why
def finish(arguments) -> dict:
    """Writes the trained program."""
    trainer = _state["trainer"]
    trainer.save()
    trainer.program().write(Path(arguments["out"]))
    return {}


COMMANDS = {"begin": begin, "advance": advance, "finish": finish}
