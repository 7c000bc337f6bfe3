"""The one fine-tune loop: a student that is replayed from a program, labels, a teacher, or both.

Everything random depends on the seed and the step alone, and a checkpoint stores the rest, so that a training that was
killed ends with the same weights as one that was not.

Imports paddle: for worker processes and tests only.
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
from segexport.errors import InputError
from segexport.exporter.program import Program

_SAVE_AFTER_S = 60.0


class Trainer:
    """Trains a program against labels and a teacher, and keeps its state in a folder.

    Args:
        student: The program to train.
        teacher: The program to learn from; None where labels are all there is.
        options: How.
        folder: Keeps the checkpoint and the log. A checkpoint that is there is gone on from.
        live: Makes the student's trainable form. A subclass of `LiveProgram` may change what its operators do; what it
            learns besides the program's parameters it adds to `LiveProgram.tensors`.

    Attributes:
        step: Steps done so far.
        objective: The losses.
        state: Plain values that go into the checkpoint and come back from it.
        waited_s, worked_s: Time of this process spent waiting for batches, and all of `advance`'s time.

    Raises:
        InputError: Student and teacher do not fit together, a loss lacks its teacher, options that this machine does
            not have, or the checkpoint is of another training.
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

        Saves a checkpoint at intervals and, if it is the only process, when a batch cannot be read.

        Returns:
            The mean of each loss over these steps, and `loss`, their weighted sum.

        Raises:
            InputError: An image cannot be read, or the loss is no longer a number; the checkpoint before it stays.
        """
        sums: dict[str, float] = {}
        first, started = self.step, time.perf_counter()
        with (self.folder / LOG).open("a") as log:
            while self.step < min(until, self.options.steps):
                asked = time.perf_counter()
                try:
                    batch = next(batches)
                except InputError:
                    if ranks.count() == 1:  # the others would wait for it for ever
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
        """Whether a kill would cost minutes; several processes save at the same steps only."""
        return ranks.count() == 1 and time.monotonic() - self._saved_s > _SAVE_AFTER_S

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self._optimizer.get_lr())

    def _train(self, batch: Batch) -> dict[str, float]:
        options = self.options
        # Dropout is drawn from the step alone, whatever ran before.
        paddle.seed(int(np.random.SeedSequence([options.seed, self.step]).generate_state(1)[0]))
        self._optimizer.set_lr(learning_rate(options, self.step))
        each = self.objective.losses(self.net, batch)
        total = sum(getattr(options.losses, name) * value for name, value in each.items())
        found = float(total)
        if not math.isfinite(found):
            raise InputError(
                f"the loss is {found} at step {self.step}",
                cause="the training diverged",
                hint=f"use a smaller learning rate than {options.learning_rate}, or a warm-up",
            )
        self._scaler.scale(total).backward()
        ranks.average_gradients(self._trained)
        with paddle.utils.unique_name.guard():  # its state gets the same names in every process
            self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.clear_grad()
        self._follow_average()
        return {"loss": found, **{name: float(value) for name, value in each.items()}}

    # -- the weights that are kept -------------------------------------------------------------------------------------

    @paddle.no_grad()
    def _follow_average(self) -> None:
        if self.options.ema:
            # At first the average follows closely, or it would stay near the untrained weights.
            decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
            for name in self.net.trained_names():
                value = self.net.tensor(name)
                before = self._average.get(name)
                self._average[name] = value.clone() if before is None else before * decay + value * (1 - decay)

    @contextmanager
    def kept_weights(self) -> Iterator[LiveProgram]:
        """The student in eval mode with the weights that `program` gives: averaged where there is an average."""
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
        """The student with its trained (or averaged) weights."""
        with self.kept_weights() as net:
            return net.program()

    def kept_tensors(self) -> dict[str, np.ndarray]:
        """All tensors of the net as `program` would give them."""
        with self.kept_weights() as net:
            return {name: np.array(tensor.numpy()) for name, tensor in net.tensors().items()}

    def take(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Ends the training with these tensors, in place of the last and the averaged ones."""
        for name, value in tensors.items():
            self.net.tensor(name).set_value(value)
        self._average = {}

    def _settle(self) -> None:
        """Running statistics of several processes become one."""
        trained = set(self.net.trained_names())
        fixed = [tensor for name, tensor in self.net.tensors().items() if name not in trained]
        ranks.average_values(tensor for tensor in fixed if tensor.dtype == paddle.float32)

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes all that the next step depends on; the old checkpoint stays whole until the new one is."""
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
                (self.folder / LOG).unlink(missing_ok=True)  # of a run that was killed before its first checkpoint
            return
        path = self.folder / checkpoint.NAME
        if _read_options(found.options) != self.options:
            raise InputError(f"{path}: the checkpoint of a training with other options", hint="give another folder")
        params = found.arrays.get("param", {})
        own = {name: tuple(tensor.shape) for name, tensor in self.net.tensors().items()}
        if {name: value.shape for name, value in params.items()} != own:
            raise InputError(f"{path}: the checkpoint of another model", hint="give another folder")
        for name, value in params.items():
            self.net.tensor(name).set_value(value)
        optimizer = found.arrays.get("optimizer", {})
        self._optimizer.set_state_dict({name: paddle.to_tensor(value) for name, value in optimizer.items()})
        if scaler := found.arrays.get("scaler"):  # of fp16 only
            self._scaler.load_state_dict({name: _as_saved(value) for name, value in scaler.items()})
        self._average = {name: paddle.to_tensor(value) for name, value in found.arrays.get("average", {}).items()}
        self.step, self.state = found.step, found.state
        log = self.folder / LOG
        if log.is_file() and ranks.is_first():  # what was trained after the checkpoint is trained again
            lines = log.read_text().splitlines(keepends=True)
            log.write_text("".join(line for line in lines[: self.step] if line.endswith("\n")))


def _read_options(text: str) -> TrainingOptions | None:
    """A checkpoint's options, by whatever names they were saved; None: of another version."""
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
    """The scaler's state: plain numbers, and one array, its scale."""
    return value.item() if value.ndim == 0 else value


def _require_precision(precision: str) -> None:
    if precision != "fp32" and not paddle.device.get_device().startswith("gpu"):
        raise InputError(
            f"precision {precision}: mixed precision trains on a GPU only",
            cause=f"the training runs on {paddle.device.get_device()}; Paddle {paddle.__version__} computes fp32 there "
            "whatever is asked for",
            hint="leave --precision out, or give --device gpu:0",
        )
