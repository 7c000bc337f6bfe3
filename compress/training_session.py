"""Runs a training job inside the training process.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paddle

from segexport.compress import albumentation
from segexport.compress import distributed as ranks
from segexport.compress.batches import Batches
from segexport.compress.live_program import LiveProgram
from segexport.compress.training import Trainer
from segexport.compress.training_job import Job
from segexport.compress.training_loop import Course, tensorboard
from segexport.compress.validation import Validation
from segexport.errors import MismatchError, OptionError
from segexport.exporter.program import Program, read


class Running:
    """A running training job.

    Args:
        live: As in `Trainer`.
    """

    def __init__(self, job: Job, *, live: Callable[[Program], LiveProgram] = LiveProgram) -> None:
        _use(job.device)
        ranks.begin()
        if job.augmentation.pipeline is not None:
            albumentation.require(job.augmentation.pipeline, job.preprocess.channels)
        options = job.options
        data = job.data.open().read_for(job.preprocess)
        teacher = _program(job.teacher) if job.teacher else None
        self.trainer = Trainer(_program(job.student), teacher, options, Path(job.folder), live=live)
        self._require_same_data(job)
        batches = Batches(
            data=data,
            preprocess=job.preprocess,
            size=job.batch_size,
            seed=options.seed,
            augmentation=job.augmentation,
            rank=ranks.own(),
            ranks=ranks.count(),
        )
        validation = None
        if job.validation is not None:
            validation = Validation(job.validation.open().read_for(job.preprocess), job.preprocess, job.classes)
        writer = None
        if job.log_folder and ranks.is_first():
            writer = tensorboard(Path(job.log_folder), self.trainer.step)
        self.course = Course(
            self.trainer,
            batches.following(self.trainer.step),
            job.course,
            epoch_steps=len(data) / job.batch_size,
            validation=validation,
            writer=writer,
        )

    def advance(self, until: int) -> dict[str, Any]:
        """Trains up to a step; returns events and progress."""
        events = self.course.advance(until)
        trainer = self.trainer
        return {
            "events": events,
            "step": trainer.step,
            "finished": self.course.finished,
            "waited_s": trainer.waited_s,
            "worked_s": trainer.worked_s,
        }

    def finish(self, out: Path) -> None:
        """Writes the trained program."""
        self.trainer.save()
        self.course.take_best()
        program = self.trainer.program()
        if ranks.is_first():
            program.write(out)

    def _require_same_data(self, job: Job) -> None:
        """Refuses a checkpoint of other data, because the batches would not continue."""
        if self.trainer.state.setdefault("data", job.data_digest) != job.data_digest:
            raise MismatchError(
                f"{job.folder}: the checkpoint of a training on other images, batches or classes",
                hint="give another folder, or train on the original images, batches and classes",
            )


def _program(files: dict[str, str]) -> Program:
    return read(Path(files["model"]), Path(files["params"]))


def _use(device: str) -> None:
    """Selects the device; raises InputError if it does not exist."""
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "gpu") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise OptionError(f"device {device!r}: a training runs on cpu or gpu:N", hint="--device cpu")
    if kind == "gpu":
        there = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
        if not there:
            hint = "--device cpu, or replace it by paddlepaddle-gpu==2.6.2"
            raise OptionError(f"device {device!r}: this paddlepaddle {paddle.__version__} has no GPU here", hint=hint)
        if int(index or 0) >= there:
            raise OptionError(f"device {device!r}: this machine has {there} GPUs", hint="--device gpu:0")
    if kind == "gpu" and int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1:  # the launcher assigns one per process
        device = f"gpu:{paddle.distributed.ParallelEnv().device_id}"
    paddle.set_device(device)
