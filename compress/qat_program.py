"""A trainable program that computes as its int8 export does.

Every tensor that the export rounds to 8 bits is rounded here too, with a straight-through gradient. BatchNorm is frozen
and folded into the weights before rounding, as in the exporters, so that the trained and the exported model agree.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import paddle
from paddle.autograd import PyLayer

from segexport.compress.live_ops import Run, Tensors
from segexport.compress.live_program import LiveProgram
from segexport.exporter.program import Op, Program
from segexport.exporter.quantization_ranges import CONVOLUTIONS, Grid, Ranges, last_fused

_TOP = 255.0  # unsigned activations
_WEIGHT_TOP = 127.0  # signed weights, symmetric
_DECAY = 0.99  # moving average of observed ranges
_FASTER = 10.0  # a scale's learning rate relative to a weight's: both move by a small fraction of their value


class QuantizedProgram(LiveProgram):
    """A `LiveProgram` with fake quantization.

    Rounds activations to the given grids, and the weights of the named convolutions to 127 steps of the largest
    magnitude per output channel, including BatchNorm's factor. Training updates the grids:

    - `learned`: the scale by its gradient, as LSQ does (Esser et al., ICLR 2020, section 2.1), in the log domain as TQT
      does (Jain et al., MLSys 2020, section 3.2), so that one learning rate fits every tensor. Zero points stay.
    - `observed`: moving averages of the batches' lowest and highest values (Jacob et al., CVPR 2018, section 3.1).
    - `fixed`: no update.

    The network stays in eval mode during training: BatchNorm keeps its statistics and dropout is inactive.

    Args:
        program: The program to run.
        ranges: Activation ranges by program variable.
        weights: Outputs of the convolutions whose weights are rounded.
    """

    def __init__(
        self,
        program: Program,
        *,
        ranges: Ranges,
        weights: Collection[str],
        moving: Literal["learned", "observed", "fixed"] = "learned",
    ) -> None:
        super().__init__(program)
        self._moving = moving
        self._grids = {
            name: _made(self, index, grid, moving) for index, (name, grid) in enumerate(ranges.tensors.items())
        }
        consumers = program.consumers()
        rounded = set(weights)
        for index, op in enumerate(self._ops):
            run = self._runs[index]
            if op.type in CONVOLUTIONS and op.output("Output") in rounded:
                run = _with_rounded_weight(op, _norm_behind(program, op, consumers), run)
            made = [name for name in op.output_names() if name in self._grids]
            self._runs[index] = self._with_rounded_outputs(run, made) if made else run
        self.eval()

    def train(self) -> QuantizedProgram:
        """Stays in eval mode; gradients still flow."""
        self.eval()
        return self

    def tensors(self) -> dict[str, paddle.Tensor]:
        """Returns the program's tensors, and two per grid."""
        own = {f"grid {name} {part}": tensor for name, grid in self._grids.items() for part, tensor in grid.items()}
        return {**super().tensors(), **own}

    def ranges(self) -> Ranges:
        """Returns the current grids."""
        found = {}
        for name, grid in self._grids.items():
            scale, zero_point = (float(value) for value in self._scale(grid))
            found[name] = Grid(scale=scale, zero_point=round(zero_point))
        return Ranges(tensors=found)

    def _feeds(self, inputs: Any) -> Tensors:
        feeds = super()._feeds(inputs)
        return {name: self._round(name, value) if name in self._grids else value for name, value in feeds.items()}

    def _with_rounded_outputs(self, run: Run, names: list[str]) -> Run:
        def rounded(tensors: Tensors, training: bool) -> None:
            run(tensors, training)
            for name in names:
                tensors[name] = self._round(name, tensors[name])

        return rounded

    def _round(self, name: str, value: paddle.Tensor) -> paddle.Tensor:
        grid = self._grids[name]
        if self._moving == "observed" and paddle.is_grad_enabled():
            _observe(grid, value)
        return RoundToGrid.apply(value, *self._scale(grid))

    def _scale(self, grid: Tensors) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Returns scale and zero point, each of shape (1,)."""
        if self._moving != "observed":
            return paddle.exp(grid["log_scale"]), grid["zero_point"]
        scale = (grid["high"] - grid["low"]) / _TOP
        return scale, paddle.clip(paddle.round(-grid["low"] / scale), 0.0, _TOP)


def _made(layer: paddle.nn.Layer, index: int, grid: Grid, moving: str) -> dict[str, paddle.Tensor]:
    low, high = grid.limits
    values = {"low": low, "high": high} if moving == "observed" else {"log_scale": math.log(grid.scale)}
    if moving != "observed":
        values["zero_point"] = float(grid.zero_point)
    made = {}
    for part, value in values.items():
        array = np.array([value], np.float32)
        if part == "log_scale" and moving == "learned":
            attribute = paddle.ParamAttr(learning_rate=_FASTER, initializer=paddle.nn.initializer.Assign(array))
            made[part] = layer.create_parameter([1], attr=attribute)
            made[part].name = f"grid_{index}_{part}"  # gives the optimizer state the same name in every process
            layer.add_parameter(f"grid {index} {part}", made[part])
        else:
            made[part] = paddle.to_tensor(array)
            layer.register_buffer(f"grid {index} {part}", made[part])
    return made


@paddle.no_grad()
def _observe(grid: Tensors, value: paddle.Tensor) -> None:
    """Moves a grid towards a batch's lowest and highest value; the range always contains 0."""
    seen = {"low": paddle.clip(value.min(), max=0.0), "high": paddle.clip(value.max(), min=1e-8)}
    for part, found in seen.items():
        grid[part].set_value(grid[part] * _DECAY + found.reshape([1]) * (1 - _DECAY))


class RoundToGrid(PyLayer):
    """Rounds x to the nearest value scale * (q - zero_point), q from 0 to 255, with LSQ's gradients.

    Esser et al.: Learned Step Size Quantization (ICLR 2020), section 2.1: inside the range, the gradient of x passes
    and the scale's gradient is the rounding error in steps; outside, x gets none and the scale's is the range's end.
    Section 2.2's factor 1 / sqrt(values of one image * 255) keeps the scale's gradient as small as a weight's.
    """

    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, scale: paddle.Tensor, zero_point: paddle.Tensor) -> paddle.Tensor:
        steps = x / scale
        rounded = paddle.maximum(paddle.minimum(paddle.round(steps), _TOP - zero_point), -zero_point)
        inside = ((steps >= -zero_point) & (steps <= _TOP - zero_point)).astype(x.dtype)
        ctx.save_for_backward(rounded - steps * inside, inside)
        ctx.wanted = (not x.stop_gradient, not scale.stop_gradient)
        return rounded * scale

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, paddle.Tensor | None, None]:
        error, inside = ctx.saved_tensor()
        of_x, of_scale = ctx.wanted  # Paddle expects None for untrained inputs
        size = gradient.size / max(1, gradient.shape[0])
        summed = (gradient * error).sum().reshape([1]) / math.sqrt(size * _TOP) if of_scale else None
        return gradient * inside if of_x else None, summed, None


# -- weights -------------------------------------------------------------------------------------------------------


def _with_rounded_weight(op: Op, norm: Op | None, run: Run) -> Run:
    name, axis = op.input("Filter") or "", 1 if op.type.endswith("transpose") else 0

    def rounded(tensors: Tensors, training: bool) -> None:
        weight = tensors[name]
        tensors[name] = round_weight(weight, axis, None if norm is None else _norm_factor(norm, tensors))
        try:
            run(tensors, training)
        finally:
            tensors[name] = weight

    return rounded


def round_weight(weight: paddle.Tensor, axis: int, factor: paddle.Tensor | None = None) -> paddle.Tensor:
    """Rounds a weight so that its product with `factor` is in 127 steps of each channel's largest magnitude.

    The gradient is straight-through (Bengio et al. 2013).

    Args:
        weight: A convolution's weight.
        axis: Axis of the output channels.
        factor: (channels,) The factor of a BatchNorm after the convolution.
    """
    with paddle.no_grad():
        shape = [-1 if position == axis else 1 for position in range(weight.ndim)]
        others = [position for position in range(weight.ndim) if position != axis]
        by = paddle.ones([1] * weight.ndim) if factor is None else factor.reshape(shape)
        by = paddle.where(by.abs() < 1e-12, paddle.ones_like(by), by)
        folded = weight * by
        step = paddle.clip(folded.abs().max(axis=others, keepdim=True), min=1e-12) / _WEIGHT_TOP
        change = paddle.round(folded / step) * step / by - weight
    return weight + change


def _norm_factor(norm: Op, tensors: Tensors) -> paddle.Tensor:
    variance = tensors[norm.input("Variance")]
    return tensors[norm.input("Scale")] / paddle.sqrt(variance + norm.attr("epsilon", 1e-5))


def _norm_behind(program: Program, op: Op, consumers: dict[str, list[Op]]) -> Op | None:
    """Returns the BatchNorm that exporters fold into a convolution."""
    producer = program.producers().get(last_fused(program, op, consumers))
    return producer if producer is not None and producer.type == "batch_norm" else None
