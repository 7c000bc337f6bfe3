"""Builds a trainable model from an exported program, without the network's source code.

`LiveProgram` runs the program operator by operator. In eval mode its outputs equal those of Paddle Inference (IR
optimisation off) bitwise; in train mode BatchNorm and Dropout behave as in the exported network.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from segexport.compress.live_ops import Run, Tensors, compile_op, unsupported
from segexport.errors import InputError
from segexport.exporter.program import Op, Program, read

# Paddle's names of tensors made from values and never declared as parameters: masks, grids, index tables.
_CONSTANT_PREFIXES = ("eager_tmp", "generated_tensor", "generated_var")
_NORMS = frozenset({"batch_norm", "sync_batch_norm"})


class LiveProgram(paddle.nn.Layer):
    """An exported program as a layer.

    Takes inputs in feed order and returns outputs in fetch order (a single tensor if there is one).
    Floating-point parameters train; BatchNorm's running statistics are buffers and follow train mode; integer tensors,
    and floating-point ones that the network made from values, are fixed buffers.

    Args:
        program: The program to run. It is not modified; `program()` returns a copy with the trained values.
        fixed: Parameters that must not train.

    Raises:
        UnsupportedModelError: An operator has no trainable form; names the operator.
    """

    def __init__(self, program: Program, *, fixed: Collection[str] = ()) -> None:
        super().__init__()
        self._program = program
        self.feed_names, self.fetch_names = program.feed_names, program.fetch_names
        if len(program.blocks) > 1:
            holders = (op for op in program.ops if any(a.type in ("BLOCK", "BLOCKS") for a in op.attrs.values()))
            raise unsupported(next(holders, Op("block")), "loops and branches cannot be replayed")
        self._held: Tensors = {}
        self._hold_parameters(frozenset(fixed))
        self._ops = list(program.compute_ops())
        self._runs: list[Run] = [compile_op(op) for op in self._ops]
        self._last_reads = _last_reads(self._ops)

    @classmethod
    def load(cls, model: Path, params: Path, **options: Any) -> LiveProgram:
        """Reads `.pdmodel` and `.pdiparams`; raises as `segexport.exporter.program.read`."""
        return cls(read(model, params), **options)

    def _hold_parameters(self, fixed: frozenset[str]) -> None:
        statistics = {op.input(slot) for op in self._program.ops if op.type in _NORMS for slot in ("Mean", "Variance")}
        for index, (name, value) in enumerate(self._program.params.items()):
            key = f"{index}:{name.replace('.', '/')}"  # a layer's keys cannot contain dots
            trains = (
                value.dtype == np.float32
                and name not in statistics
                and name not in fixed
                and not name.startswith(_CONSTANT_PREFIXES)
            )
            if trains:
                held = self.create_parameter(list(value.shape), default_initializer=paddle.nn.initializer.Assign(value))
                held.set_value(value)
                held.name = name
                self.add_parameter(key, held)
            else:
                held = paddle.to_tensor(value)
                held.stop_gradient = True
                self.register_buffer(key, held)
            self._held[name] = held

    # -- running -------------------------------------------------------------------------------------------------------

    def forward(self, *inputs: paddle.Tensor) -> Any:
        """Runs the program.

        Args:
            inputs: One tensor per feed, in feed order.

        Returns:
            The output, or a tuple of several outputs in fetch order.
        """
        outputs, _ = self.run(inputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def run(
        self, inputs: Sequence[paddle.Tensor] | Mapping[str, paddle.Tensor], keep: Iterable[str] = ()
    ) -> tuple[tuple[paddle.Tensor, ...], dict[str, paddle.Tensor]]:
        """Runs the program and returns intermediate tensors too.

        Args:
            inputs: Tensors in feed order, or by feed name.
            keep: Names of variables of the program.

        Returns:
            The outputs in fetch order, and the kept tensors by name. Gradients flow through both.

        Raises:
            InputError: An input is missing or unknown, or `keep` names a variable that the program does not write.
        """
        kept = self._replay(inputs, {*self.fetch_names, *keep})
        return tuple(kept[name] for name in self.fetch_names), {name: kept[name] for name in keep}

    def read(
        self, inputs: Sequence[paddle.Tensor] | Mapping[str, paddle.Tensor], names: Iterable[str]
    ) -> dict[str, paddle.Tensor]:
        """Runs only the operators that these variables need; see `run`."""
        return self._replay(inputs, set(names))

    def walk(self, images: Sequence[Sequence[paddle.Tensor]]) -> Iterator[tuple[Op, list[Tensors]]]:
        """Runs the program on several inputs in parallel, operator by operator.

        Args:
            images: The inputs of each run, in feed order.

        Yields:
            Each operator before it runs and, for each input, the tensors that later operators read, by name.
            Parameter changes by the caller take effect from that operator on.
        """
        runs = [{**self._held, **self._feeds(inputs)} for inputs in images]
        for op, run, finished in zip(self._ops, self._runs, self._last_reads, strict=True):
            yield op, runs
            for tensors in runs:
                self._run(op, run, tensors)
                for name in finished:
                    tensors.pop(name, None)

    def _replay(self, inputs: Sequence[paddle.Tensor] | Mapping[str, paddle.Tensor], wanted: set[str]) -> Tensors:
        tensors = dict(self._held)
        tensors.update(self._feeds(inputs))
        kept: Tensors = {name: tensors[name] for name in wanted if name in tensors}
        for op, run, finished in zip(self._ops, self._runs, self._last_reads, strict=True):
            if len(kept) == len(wanted):
                break
            self._run(op, run, tensors)
            for name in op.output_names():
                if name in wanted and name in tensors:
                    kept[name] = tensors[name]
            for name in finished:  # frees tensors that are not read again; autograd keeps what it needs
                tensors.pop(name, None)
        missing = sorted(wanted - kept.keys())
        if missing:
            raise InputError(f"the program writes no variable {missing[0]!r}", hint="names are those of the .pdmodel")
        return kept

    def _run(self, op: Op, run: Run, tensors: Tensors) -> None:
        try:
            run(tensors, self.training)
        except (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError) as error:
            raise unsupported(op, f"Paddle refuses it: {_reason(error)}") from error

    def _feeds(self, inputs: Sequence[paddle.Tensor] | Mapping[str, paddle.Tensor]) -> Tensors:
        if isinstance(inputs, Mapping):
            if set(inputs) != set(self.feed_names):
                raise InputError(f"inputs {sorted(inputs)} given, the program takes {self.feed_names}")
            return dict(inputs)
        if len(inputs) != len(self.feed_names):
            raise InputError(f"{len(inputs)} inputs given, the program takes {len(self.feed_names)}: {self.feed_names}")
        return dict(zip(self.feed_names, inputs, strict=True))

    # -- parameters ----------------------------------------------------------------------------------------------------

    def tensor(self, name: str) -> paddle.Tensor:
        """Returns the parameter or buffer with the program's name `name`."""
        if name in self._held:
            return self._held[name]
        if name not in self.tensors():
            raise InputError(f"the program has no parameter {name!r}")
        return self.tensors()[name]

    def tensors(self) -> dict[str, paddle.Tensor]:
        """Returns all tensors that a checkpoint needs, by name: the program's parameters and buffers.

        A subclass with more parameters adds them here; `tensor` and `trained_names` then include them.
        """
        return dict(self._held)

    def trained_names(self) -> list[str]:
        """Returns the names of the trainable tensors."""
        return [name for name, held in self.tensors().items() if not held.stop_gradient]

    def program(self) -> Program:
        """Returns the program with the current values, for `Program.write` and the exporters."""
        program = self._program.copy()
        for name, held in self._held.items():
            program.params[name] = np.array(held.numpy(), program.params[name].dtype)  # numpy() shares the memory
        return program


def _reason(error: Exception) -> str:
    """Extracts the line with the cause from Paddle's long error messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("(")), lines[0] if lines else type(error).__name__)


def _last_reads(ops: list[Op]) -> list[list[str]]:
    """Returns, per operator, the variables that no later operator reads."""
    seen: set[str] = set()
    finished: list[list[str]] = []
    for op in reversed(ops):
        names = [name for name in dict.fromkeys((*op.input_names(), *op.output_names())) if name not in seen]
        seen.update(names)
        finished.append(names)
    return finished[::-1]
