"""Trains a program in a separate process. Commands: begin, advance, finish.

Unlike most workers, this one imports segexport, for the trainable program, the data set and the preprocessing.
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

LIVE = LiveProgram  # the student's trainable form; other workers replace it
_state: dict = {}


def says_why(command):
    """Decorates a command so that the caller gets segexport's errors unchanged."""

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
    """Opens student, teacher and data; resumes from the folder's checkpoint if it has one."""
    _state["running"] = Running(Job.model_validate_json(arguments["job"]), live=LIVE)
    return _state["running"].advance(0)


@says_why
def advance(arguments, _arrays) -> dict:
    """Trains up to a step; returns events and progress."""
    return _state["running"].advance(arguments["until"])


@says_why
def finish(arguments, _arrays) -> dict:
    """Writes the trained program."""
    _state["running"].finish(Path(arguments["out"]))
    return {}


COMMANDS = {"begin": begin, "advance": advance, "finish": finish}
