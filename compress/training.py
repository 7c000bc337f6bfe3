"""The training loop: trains a program on labels, on a teacher, or on both.

All randomness depends only on the seed and the step, and a checkpoint stores the rest, so that a killed and resumed
training ends with the same weights as an uninterrupted one.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from pydantic import ValidationError

from segexport.compress import checkpoint
from segexport.compress import distributed as ranks
from segexport.compress.batches import Batch
from segexport.compress.checkpoint import Checkpoint
from segexport.compress.live_program import LiveProgram
from segexport.compress.objective import Objective
from segexport.compress.training_options import LOG, TrainingOptions, learning_rate
from segexport.errors import InputError, MismatchError, ModelOutputError, OptionError
from segexport.exporter.program import Program

_SAVE_AFTER_S = 60.0


class Trainer:
    """Trains a program on labels and a teacher, and stores its state in a folder.

    Args:
        student: The program to train.
        teacher: The program to learn from; None to train on labels only.
        options: Training options.
        folder: Folder for the checkpoint and the log. Training resumes from an existing checkpoint.
        live: Creates the student's trainable form. A subclass of `LiveProgram` may change its operators and adds its
            own trainable tensors to `LiveProgram.tensors`.

    Attributes:
        step: Number of completed steps.
        objective: The losses.
        state: Plain values that the checkpoint stores and restores.
        waited_s, worked_s: This process's time spent waiting for batches, and its total time in `advance`.

    Raises:
        InputError: Student and teacher do not match, a loss needs a teacher, this machine does not support the options,
            or the checkpoint belongs to another training.
    """

    def __init__(
        self,
        student: Program,
        teacher: Program | None,
        options: TrainingOptions,
        folder: Path,
        *,
        live: Callable[[Program], LiveProgram] = LiveProgram,
    ) -> None:
        self.options, self.folder, self.step = options, folder, 0
        self.state: dict[str, Any] = {}
        self.waited_s = self.worked_s = 0.0
        self._saved_s = time.monotonic()
        self.net = live(student)
        self.net.train()
        self.objective = Objective(student, teacher, options)
        self._trained = [self.net.tensor(name) for name in self.net.trained_names()]
        self._optimizer = _optimizer(options, self._trained)
        _require_precision(options.precision)
        self._scaler = paddle.amp.GradScaler(enable=options.precision == "fp16", init_loss_scaling=2.0**13)
        self._average: dict[str, paddle.Tensor] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    # -- training ------------------------------------------------------------------------------------------------------

    def advance(self, batches: Iterator[Batch], until: int) -> dict[str, float]:
        """Trains up to step `until`.

        Saves a checkpoint at intervals and, with a single process, when a batch cannot be read.

        Returns:
            The mean of each loss over these steps, and `loss`, their weighted sum.

        Raises:
            InputError: An image cannot be read, or the loss is NaN or infinite; the previous checkpoint stays.
        """
        sums: dict[str, float] = {}
        first, started = self.step, time.perf_counter()
        with (self.folder / LOG).open("a") as log:
            while self.step < min(until, self.options.steps):
                asked = time.perf_counter()
                try:
                    batch = next(batches)
                except InputError:
                    if ranks.count() == 1:  # with several processes the others would wait forever
                        self.save()
                    raise
                self.waited_s += time.perf_counter() - asked
                found = self._train(batch)
                self.step += 1
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + value
                if ranks.is_first():
                    entry = {"step": self.step, "learning_rate": self._optimizer.get_lr(), **found}
                    log.write(json.dumps(entry) + "\n")
                if self.step % self.options.save_every == 0 or self._is_long_ago():
                    log.flush()
                    self.save()
        self.worked_s += time.perf_counter() - started
        return {name: value / max(1, self.step - first) for name, value in sums.items()}

    def _is_long_ago(self) -> bool:
        """Whether enough time has passed since the last save; several processes save only at the same steps."""
        return ranks.count() == 1 and time.monotonic() - self._saved_s > _SAVE_AFTER_S

    @property
    def learning_rate(self) -> float:
        """Returns the learning rate of the last step."""
        return float(self._optimizer.get_lr())

    def _train(self, batch: Batch) -> dict[str, float]:
        options = self.options
        # Dropout depends only on the step, whatever ran before.
        paddle.seed(int(np.random.SeedSequence([options.seed, self.step]).generate_state(1)[0]))
        self._optimizer.set_lr(learning_rate(options, self.step))
        each = self.objective.losses(self.net, batch)
        total = sum(getattr(options.losses, name) * value for name, value in each.items())
        found = float(total)
        if not math.isfinite(found):
            raise ModelOutputError(
                f"the loss is {found} at step {self.step}",
                cause="the training diverged",
                hint=f"use a smaller learning rate than {options.learning_rate}, or a warm-up",
            )
        self._scaler.scale(total).backward()
        ranks.average_gradients(self._trained)
        with paddle.utils.unique_name.guard():  # gives its state the same names in every process
            self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.clear_grad()
        self._follow_average()
        return {"loss": found, **{name: float(value) for name, value in each.items()}}

    # -- the weights that are kept -------------------------------------------------------------------------------------

    @paddle.no_grad()
    def _follow_average(self) -> None:
        if self.options.ema:
            # The average follows closely at first, else it would stay near the untrained weights.
            decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
            for name in self.net.trained_names():
                value = self.net.tensor(name)
                before = self._average.get(name)
                self._average[name] = value.clone() if before is None else before * decay + value * (1 - decay)

    @contextmanager
    def kept_weights(self) -> Iterator[LiveProgram]:
        """Yields the student in eval mode with the weights of `program`: averaged if there is an average."""
        self._settle()
        last = {name: self.net.tensor(name).clone() for name in self._average}
        try:
            for name, value in self._average.items():
                self.net.tensor(name).set_value(value)
            self.net.eval()
            yield self.net
        finally:
            for name, value in last.items():
                self.net.tensor(name).set_value(value)
            self.net.train()

    def program(self) -> Program:
        """Returns the student's program with the trained (or averaged) weights."""
        with self.kept_weights() as net:
            return net.program()

    def kept_tensors(self) -> dict[str, np.ndarray]:
        """Returns all tensors of the network as in `program`."""
        with self.kept_weights() as net:
            return {name: np.array(tensor.numpy()) for name, tensor in net.tensors().items()}

    def take(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Replaces the last and the averaged tensors by these, which ends the training."""
        for name, value in tensors.items():
            self.net.tensor(name).set_value(value)
        self._average = {}

    def _settle(self) -> None:
        """Averages the running statistics over the processes."""
        trained = set(self.net.trained_names())
        fixed = [tensor for name, tensor in self.net.tensors().items() if name not in trained]
        ranks.average_values(tensor for tensor in fixed if tensor.dtype == paddle.float32)

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes the complete state for the next step; the old checkpoint stays until the new one is complete."""
        self._settle()
        self._saved_s = time.monotonic()
        if not ranks.is_first():
            return
        optimizer = self._optimizer.state_dict().items()
        arrays = {
            "param": {name: tensor.numpy() for name, tensor in self.net.tensors().items()},
            "average": {name: tensor.numpy() for name, tensor in self._average.items()},
            "optimizer": {name: value.numpy() for name, value in optimizer if isinstance(value, paddle.Tensor)},
            "scaler": {name: np.asarray(value) for name, value in self._scaler.state_dict().items()},
        }
        checkpoint.save(self.folder, Checkpoint(self.step, self.options.model_dump_json(), arrays, self.state))

    def _resume(self) -> None:
        found = checkpoint.load(self.folder)
        if found is None:
            if ranks.is_first():
                (self.folder / LOG).unlink(missing_ok=True)  # left by a run that was killed before its first checkpoint
            return
        path = self.folder / checkpoint.NAME
        if _read_options(found.options) != self.options:
            raise MismatchError(f"{path}: the checkpoint of a training with other options", hint="give another folder")
        params = found.arrays.get("param", {})
        own = {name: tuple(tensor.shape) for name, tensor in self.net.tensors().items()}
        if {name: value.shape for name, value in params.items()} != own:
            raise MismatchError(f"{path}: the checkpoint of another model", hint="give another folder")
        for name, value in params.items():
            self.net.tensor(name).set_value(value)
        optimizer = found.arrays.get("optimizer", {})
        self._optimizer.set_state_dict({name: paddle.to_tensor(value) for name, value in optimizer.items()})
        if scaler := found.arrays.get("scaler"):  # only for fp16
            self._scaler.load_state_dict({name: _as_saved(value) for name, value in scaler.items()})
        self._average = {name: paddle.to_tensor(value) for name, value in found.arrays.get("average", {}).items()}
        self.step, self.state = found.step, found.state
        log = self.folder / LOG
        if log.is_file() and ranks.is_first():  # steps after the checkpoint are trained again
            lines = log.read_text().splitlines(keepends=True)
            log.write_text("".join(line for line in lines[: self.step] if line.endswith("\n")))


def _read_options(text: str) -> TrainingOptions | None:
    """Parses a checkpoint's options, including older names; None if they belong to another version."""
    try:
        return TrainingOptions.model_validate_json(text)
    except ValidationError:
        return None


def _optimizer(options: TrainingOptions, trained: list[paddle.Tensor]) -> paddle.optimizer.Optimizer:
    if options.optimizer == "adamw":
        matrices = {tensor.name for tensor in trained if tensor.ndim > 1}  # norms and biases do not decay
        return paddle.optimizer.AdamW(
            options.learning_rate,
            parameters=trained,
            weight_decay=options.weight_decay,
            apply_decay_param_fun=matrices.__contains__,
        )
    decay = {"weight_decay": options.weight_decay, "momentum": options.momentum}
    return paddle.optimizer.Momentum(options.learning_rate, parameters=trained, **decay)


def _as_saved(value: np.ndarray) -> Any:
    """Converts the scaler's state: plain numbers, and one array, its scale."""
    return value.item() if value.ndim == 0 else value


def _require_precision(precision: str) -> None:
    if precision != "fp32" and not paddle.device.get_device().startswith("gpu"):
        raise OptionError(
            f"precision {precision}: mixed precision trains on a GPU only",
            cause=f"the training runs on {paddle.device.get_device()}; Paddle {paddle.__version__} computes fp32 there "
            "whatever is asked for",
            hint="leave --precision out, or give --device gpu:0",
        )
