"""Runs a training: epochs, evaluation between them, best weights, and early stopping.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from segexport.compress import distributed as ranks
from segexport.compress.batches import Batch
from segexport.compress.training import Trainer
from segexport.compress.training_options import EVALUATIONS, LOG, CourseOptions
from segexport.compress.validation import Validation
from segexport.errors import InputError
from segexport.files.atomic import whole_file

_BEST = "best.npz"


class SummaryWriter(Protocol):
    """Writes curves; TensorBoard's summary writers implement it."""

    def add_scalar(self, tag: str, value: float, step: int) -> None: ...
    def flush(self) -> None: ...


class Course:
    """Runs a trainer to its last step. The trainer's checkpoint stores all its decisions.

    Args:
        validation: Evaluates the model; None: keep the last weights.
        epoch_steps: Steps per epoch; fractional if the last batch is smaller.
        writer: Receives the losses, the learning rate and the metrics.
    """

    def __init__(
        self,
        trainer: Trainer,
        batches: Iterator[Batch],
        options: CourseOptions,
        *,
        epoch_steps: float,
        validation: Validation | None = None,
        writer: SummaryWriter | None = None,
    ) -> None:
        self._trainer, self._batches, self._options = trainer, batches, options
        self._epoch_steps, self._validation, self._writer = epoch_steps, validation, writer
        self._state = trainer.state
        self._state.setdefault("evaluations", [])
        self._tell_evaluations()

    @property
    def finished(self) -> bool:
        """Whether training is complete."""
        return self._trainer.step >= self._trainer.options.steps or bool(self._state.get("stopped"))

    def advance(self, until: int) -> list[dict[str, Any]]:
        """Trains up to step `until` and evaluates on the way.

        Returns:
            One entry per evaluated epoch: step, epoch, loss and, with a validation, the metrics and whether they are
            the best so far.

        Raises:
            InputError: As `Trainer.advance`.
        """
        events = []
        while True:
            if self._is_due(self._trainer.step):
                events.append(self._measure())
            if self.finished or self._trainer.step >= until:
                return events
            goal = min(until, self._next_due(), self._trainer.step + self._options.log_interval_steps)
            self._draw(self._trainer.advance(self._batches, goal))

    def take_best(self) -> None:
        """Loads the best weights into the trainer; without evaluations, the last (or averaged) ones."""
        path = self._trainer.folder / _BEST
        if not self._state["evaluations"]:
            self._trainer.take(self._trainer.kept_tensors())
            return
        with np.load(path, allow_pickle=False) as best:
            self._trainer.take({name: best[name] for name in best.files})

    # -- parts -----------------------------------------------------------------------------------------------------

    def _due(self, number: int) -> int:
        """Returns the step after which the model is evaluated for the `number`-th time."""
        return round(number * self._options.save_interval_epochs * self._epoch_steps)

    def _next_due(self) -> int:
        steps = self._trainer.options.steps
        number = int(self._trainer.step / (self._options.save_interval_epochs * self._epoch_steps))
        later = (self._due(number + more) for more in range(3))
        return next((due for due in later if self._trainer.step < due <= steps), steps)

    def _is_due(self, step: int) -> bool:
        """Also true before the first step, so that training that does not improve keeps the initial weights."""
        number = round(step / (self._options.save_interval_epochs * self._epoch_steps))
        done = self._state["evaluations"][-1]["step"] if self._state["evaluations"] else -1
        is_end = step == self._trainer.options.steps
        return self._validation is not None and step > done and (is_end or step in (0, self._due(number)))

    def _measure(self) -> dict[str, Any]:
        assert self._validation is not None
        trainer, done = self._trainer, self._state["evaluations"]
        found = self._validation.measure(trainer)
        before = [entry["miou"] for entry in done if entry["miou"] is not None]
        is_best = not done or (found["miou"] is not None and found["miou"] > max(before, default=-1.0))
        entry = {
            "step": trainer.step,
            "epoch": round(trainer.step / self._epoch_steps, 2),
            "loss": self._mean_loss(done[-1]["step"] if done else 0),
            **found,
            "best": is_best,
        }
        if is_best:
            tensors = trainer.kept_tensors()
            if ranks.is_first():
                _write(trainer.folder / _BEST, tensors)
        done.append(entry)
        since = next(number for number, earlier in enumerate(reversed(done)) if earlier["best"])
        if self._options.early_stop and since >= self._options.early_stop_patience:
            self._state["stopped"] = True
        trainer.save()
        self._tell_evaluations()
        if self._writer is not None and found["miou"] is not None:
            self._writer.add_scalar("validation/miou", found["miou"], trainer.step)
            self._writer.flush()
        return {**entry, "stopped": bool(self._state.get("stopped"))}

    def _mean_loss(self, since: int) -> float | None:
        """Mean loss of the steps after `since`, from the log, so that it includes steps before a resumption."""
        if not self._trainer.step:
            return None
        lines = (self._trainer.folder / LOG).read_text().splitlines()[since : self._trainer.step]
        return sum(json.loads(line)["loss"] for line in lines) / len(lines) if lines else None

    def _tell_evaluations(self) -> None:
        if ranks.is_first():
            lines = [json.dumps(entry) + "\n" for entry in self._state["evaluations"]]
            (self._trainer.folder / EVALUATIONS).write_text("".join(lines))

    def _draw(self, losses: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in {**losses, "learning_rate": self._trainer.learning_rate}.items():
                self._writer.add_scalar(f"training/{name}", value, self._trainer.step)


def _write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    with whole_file(path) as work, work.open("wb") as stream:
        np.savez(stream, **tensors)


def tensorboard(folder: Path, step: int) -> SummaryWriter:
    """Returns a writer of TensorBoard files; purges entries of an earlier run after `step`.

    Raises:
        InputError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard's logs need tensorboardX", cause=str(error), hint="pip install 'segexport[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=step)
