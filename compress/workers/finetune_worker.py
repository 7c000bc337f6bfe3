"""Trains a program in a process of its own. Commands: begin, advance, finish.

Unlike other workers this one imports segexport: the replay, the data set and the preprocessing are its own.
"""

from __future__ import annotations

import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process
from functools import wraps
from pathlib import Path

from worker_host import WorkerFailure

from segexport.compress.live_program import LiveProgram
from segexport.compress.training import Trainer
from segexport.compress.training_job import Job
from segexport.compress.training_session import Running
from segexport.errors import SegexportError

LIVE = LiveProgram  # the student's trainable form; a worker that trains another one sets it
_state: dict = {}


def says_why(command):
    """A command that answers with segexport's own errors as the caller should see them."""

    @wraps(command)
    def run(arguments, arrays):
        try:
            return command(arguments, arrays), []
        except SegexportError as error:
            raise WorkerFailure(error.what, error.cause, error.hint) from error

    return run


def trainer() -> Trainer:
    return _state["running"].trainer


@says_why
def begin(arguments, _arrays) -> dict:
    """Opens student, teacher and data; goes on from the folder's checkpoint where there is one."""
    _state["running"] = Running(Job.model_validate_json(arguments["job"]), live=LIVE)
    return _state["running"].advance(0)


@says_why
def advance(arguments, _arrays) -> dict:
    """Trains up to a step; answers what happened on the way."""
    return _state["running"].advance(arguments["until"])


@says_why
def finish(arguments, _arrays) -> dict:
    """Writes the trained program."""
    _state["running"].finish(Path(arguments["out"]))
    return {}


COMMANDS = {"begin": begin, "advance": advance, "finish": finish}
