"""Prunes a program by criteria that need images, in a separate process. Commands: begin, cut, prune, sensitivities.

Unlike most workers, this one imports segexport, for the trainable program, the data set and the preprocessing.
"""

from __future__ import annotations

import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process
from dataclasses import asdict
from functools import wraps
from pathlib import Path

from worker_host import WorkerFailure

from segexport.compress import sensitivity
from segexport.compress.batches import Augmentation, Batch, Batches
from segexport.compress.mask_metric import MaskMetric
from segexport.compress.prune_job import PruneJob
from segexport.compress.prune_stages import Scored, prune_in_stages
from segexport.errors import SegexportError
from segexport.exporter.program import Program, read

_PLAIN = Augmentation(flip=0.5, zoom=1, brightness=0, contrast=0)
_state: dict = {}


def _says_why(command):
    @wraps(command)
    def run(arguments, arrays):
        try:
            return command(arguments), []
        except SegexportError as error:
            raise WorkerFailure(error.what, error.cause, error.hint) from error

    return run


@_says_why
def begin(arguments) -> dict:
    """Reads the program and the images."""
    job = PruneJob.model_validate_json(arguments["job"])
    drawn = Batches(
        job.data.open().read_for(job.preprocess), job.preprocess, size=1, seed=job.seed, augmentation=_PLAIN
    )
    count = min(job.options.images, len(drawn.data))
    _state.update(job=job, program=read(Path(job.model["model"]), Path(job.model["params"])))
    _state["batches"] = [_shown(drawn.at(number), job.classes) for number in range(count)]
    return {"images": count}


def _shown(batch: Batch, classes: int | None) -> Batch:
    """Removes the labels from a batch if they do not have the model's classes (`classes` is None)."""
    return batch if classes is not None else Batch(batch.images, None)


def _scored() -> Scored:
    if "scored" not in _state:
        _state["scored"] = Scored(_state["program"], _state["job"].options, _state["batches"])
    return _state["scored"]


@_says_why
def cut(arguments) -> dict:
    """Writes the program cut to budgets, without reconstruction, to time it."""
    _write(_scored().to_budgets(arguments["budgets"]).program, arguments["out"])
    return {}


@_says_why
def prune(arguments) -> dict:
    """Writes the pruned program; returns the result of each stage, and the widths."""
    pruned, stages = prune_in_stages(
        _state["program"],
        _state["job"].options,
        _state["batches"],
        budgets=arguments.get("budgets"),
        ratio=arguments.get("ratio"),
        first=_scored(),
    )
    _write(pruned.program, arguments["out"])
    return {"stages": [asdict(stage) for stage in stages]}


@_says_why
def sensitivities(arguments) -> dict:
    """Measures the next groups of a sensitivities file; returns how many remain."""
    if "metric" not in _state:
        _state["metric"] = MaskMetric(_state["program"], _state["batches"], _state["job"].classes)
    left = sensitivity.measure_some(
        _state["program"],
        _state["metric"],
        Path(arguments["file"]),
        most=arguments["most"],
        cut=_scored().to_ratio,
    )
    return {"left": left, "metric": _state["metric"].name}


def _write(program: Program, folder: str) -> None:
    program.write(Path(folder))


COMMANDS = {"begin": begin, "cut": cut, "prune": prune, "sensitivities": sensitivities}
