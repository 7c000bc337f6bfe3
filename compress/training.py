"""The one fine-tune loop: a student that is replayed from a program, labels, a teacher, or both.

Everything random depends on the seed and the step alone, and a checkpoint holds the rest, so that a training that was
killed ends with the same weights as one that was not.

Imports paddle: for worker processes and tests only.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle

from segexport.compress import distill
from segexport.compress.batches import Batch
from segexport.compress.live_program import LiveProgram
from segexport.compress.logits import logits_of
from segexport.compress.training_options import LOG, TrainingOptions, learning_rate
from segexport.errors import InputError
from segexport.exporter.program import Program

_CHECKPOINT = "checkpoint.npz"


class Trainer:
    """Trains a program against labels and a teacher, and keeps its state in a folder.

    Args:
        student: The program to train.
        teacher: The program to learn from; None where labels are all there is.
        options: How.
        folder: Keeps the checkpoint and the log. A checkpoint that is there is gone on from.

    Raises:
        InputError: Student and teacher do not fit together, a loss lacks its teacher, or the checkpoint is of
            another training.
    """

    def __init__(self, student: Program, teacher: Program | None, options: TrainingOptions, folder: Path) -> None:
        self.options, self.folder, self.step = options, folder, 0
        self.net = LiveProgram(student)
        self.net.train()
        self._logits = logits_of(student)
        self._teacher, self._teacher_logits = None, ("", 1)
        if teacher is not None and options.losses.needs_teacher:
            self._teacher, self._teacher_logits = LiveProgram(teacher), logits_of(teacher)
            self._teacher.eval()
            _require_fit(student, self._logits, teacher, self._teacher_logits)
        elif options.losses.needs_teacher:
            raise InputError(
                "a distillation loss has a weight, and there is no teacher", hint="name one, or set it to 0"
            )
        trained = [self.net.tensor(name) for name in self.net.trained_names()]
        if options.optimizer == "adamw":
            matrices = {tensor.name for tensor in trained if tensor.ndim > 1}  # norms and biases do not decay
            self._optimizer = paddle.optimizer.AdamW(
                options.learning_rate,
                parameters=trained,
                weight_decay=options.weight_decay,
                apply_decay_param_fun=matrices.__contains__,
            )
        else:
            decay = {"weight_decay": options.weight_decay, "momentum": options.momentum}
            self._optimizer = paddle.optimizer.Momentum(options.learning_rate, parameters=trained, **decay)
        self._average: dict[str, np.ndarray] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _CHECKPOINT).is_file():
            self._resume()

    # -- training ------------------------------------------------------------------------------------------------------

    def advance(self, batches: Iterator[Batch], until: int) -> dict[str, float]:
        """Trains up to step `until`. Saves a checkpoint every so often, at the end, and when a batch cannot be had.

        Returns:
            The mean of each loss over these steps, and `loss`, their weighted sum.

        Raises:
            InputError: An image cannot be read, or the loss is no longer a number; the checkpoint before it stays.
        """
        sums: dict[str, float] = {}
        first = self.step
        with (self.folder / LOG).open("a") as log:
            while self.step < min(until, self.options.steps):
                try:
                    batch = next(batches)
                except InputError:
                    self.save()
                    raise
                losses = self._train(batch)
                self.step += 1
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + value
                entry = {"step": self.step, "learning_rate": self._optimizer.get_lr(), **losses}
                log.write(json.dumps(entry) + "\n")
                if self.step % self.options.save_every == 0:
                    log.flush()
                    self.save()
        return {name: value / max(1, self.step - first) for name, value in sums.items()}

    def _train(self, batch: Batch) -> dict[str, float]:
        options = self.options
        # Dropout is drawn from the step alone, whatever ran before.
        paddle.seed(int(np.random.SeedSequence([options.seed, self.step]).generate_state(1)[0]))
        self._optimizer.set_lr(learning_rate(options, self.step))
        images = paddle.to_tensor(batch.images)
        losses = self._losses(images, batch)
        total = sum(getattr(options.losses, name) * value for name, value in losses.items())
        found = float(total)
        if not math.isfinite(found):
            raise InputError(
                f"the loss is {found} at step {self.step}",
                cause="the training diverged",
                hint=f"use a smaller learning rate than {options.learning_rate}, or a warm-up",
            )
        total.backward()
        with paddle.utils.unique_name.guard():  # its state gets the same names in every process
            self._optimizer.step()
        self._optimizer.clear_grad()
        self._follow_average()
        return {"loss": found, **{name: float(value) for name, value in losses.items()}}

    def _losses(self, images: paddle.Tensor, batch: Batch) -> dict[str, paddle.Tensor]:
        options = self.options
        weights = options.losses
        _, kept = self.net.run([images], keep=[self._logits[0], *options.features])
        student = _classes_first(kept[self._logits[0]], self._logits[1])
        found: dict[str, paddle.Tensor] = {}
        if weights.cross_entropy and batch.labels is not None:
            labels = paddle.to_tensor(batch.labels)
            full = student
            if student.shape[2:] != labels.shape[1:]:
                full = paddle.nn.functional.interpolate(student, size=labels.shape[1:], mode="bilinear")
            found["cross_entropy"] = distill.cross_entropy(full, labels)
        if self._teacher is not None:
            with paddle.no_grad():
                _, known = self._teacher.run([images], keep=[self._teacher_logits[0], *options.features])
            teacher = _classes_first(known[self._teacher_logits[0]], self._teacher_logits[1])
            if weights.kl:
                found["kl"] = distill.pixel_kl(student, teacher, options.temperature)
            if weights.cwd:
                found["cwd"] = distill.channel_wise(student, teacher, options.temperature)
            if weights.dist:
                found["dist"] = distill.dist(student, teacher, options.temperature)
            if weights.attention:
                pairs = [distill.attention(kept[name], known[name]) for name in options.features]
                found["attention"] = sum(pairs) / len(pairs)
        if not found:
            raise InputError(
                "there is nothing to learn from: the images have no labels, and no distillation loss has a weight",
                hint="set losses.kl or losses.cwd, and name a teacher",
            )
        return found

    def _follow_average(self) -> None:
        if self.options.ema:
            # At first the average follows closely, or it would stay near the untrained weights.
            decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
            for name in self.net.trained_names():
                value = self.net.tensor(name).numpy()
                before = self._average.get(name, value)
                self._average[name] = (decay * before + (1 - decay) * value).astype(np.float32)

    def program(self) -> Program:
        """The student with its trained (or averaged) weights."""
        program = self.net.program()
        program.params.update(self._average)
        return program

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes all that the next step depends on; the old checkpoint stays whole until the new one is."""
        program = self.net.program()
        arrays = {f"param {name}": value for name, value in program.params.items()}
        arrays |= {f"average {name}": value for name, value in self._average.items()}
        for name, value in self._optimizer.state_dict().items():
            if isinstance(value, paddle.Tensor):
                arrays[f"optimizer {name}"] = value.numpy()
        arrays["step"] = np.array(self.step)
        arrays["options"] = np.frombuffer(self.options.model_dump_json().encode(), np.uint8)
        path = self.folder / _CHECKPOINT
        part = path.with_name("checkpoint.part.npz")
        np.savez(part, **arrays)
        os.replace(part, path)

    def _resume(self) -> None:
        path = self.folder / _CHECKPOINT
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            options = bytes(arrays.pop("options")).decode()
            step = int(arrays.pop("step"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: not a checkpoint, or a damaged one", cause=str(error), hint="remove it"
            ) from error
        if options != self.options.model_dump_json():
            raise InputError(f"{path}: the checkpoint of a training with other options", hint="give another folder")
        kinds: dict[str, dict[str, np.ndarray]] = {"param": {}, "average": {}, "optimizer": {}}
        for key, value in arrays.items():
            kind, _, name = key.partition(" ")
            kinds[kind][name] = value
        shapes = {name: value.shape for name, value in self.net.program().params.items()}
        if {name: value.shape for name, value in kinds["param"].items()} != shapes:
            raise InputError(f"{path}: the checkpoint of another model", hint="give another folder")
        for name, value in kinds["param"].items():
            self.net.tensor(name).set_value(value)
        self._optimizer.set_state_dict({name: paddle.to_tensor(value) for name, value in kinds["optimizer"].items()})
        self._average, self.step = kinds["average"], step
        log = self.folder / LOG
        if log.is_file():  # what was trained after the checkpoint is trained again
            lines = log.read_text().splitlines(keepends=True)
            log.write_text("".join(line for line in lines[:step] if line.endswith("\n")))


def _classes_first(logits: paddle.Tensor, axis: int) -> paddle.Tensor:
    return logits if axis == 1 else paddle.moveaxis(logits, axis, 1)


def _require_fit(student: Program, own: tuple[str, int], teacher: Program, other: tuple[str, int]) -> None:
    classes, known = student.shape(own[0])[own[1]], teacher.shape(other[0])[other[1]]
    if classes != known:
        raise InputError(
            f"the student has {classes} classes, its teacher {known}", hint="choose a teacher of this task"
        )
    mine, its = student.shape(student.feed_names[0]), teacher.shape(teacher.feed_names[0])
    if any(a != b and a > 0 and b > 0 for a, b in zip(mine[1:], its[1:], strict=False)):
        raise InputError(f"the student takes images of {list(mine)}, its teacher of {list(its)}")
