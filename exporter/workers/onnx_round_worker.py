"""Adds the rounding of an already quantized program to its float ONNX model. Command: round.

Adds pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses into int8 kernels, to the input, the weight
and the bias of each convolution or product; the bias is added to integers.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx_worker import _io, _session
from worker_host import WorkerFailure

_STEPS = 127
_MIDDLE = 128  # uint8 with this zero point represents the same values as int8, and has faster kernels
_ON_GRID = 1e-3  # of a step: folding BatchNorm into weights adds a rounding error of float
# Operator -> axis of output channels in its constant second operand.
_CHANNELS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}


def round_model(arguments, _arrays):
    """`limits`: tensor -> its largest magnitude, which is 127 steps."""
    model = onnx.load(arguments["onnx"])
    graph, rounded = model.graph, 0
    writer = _Writer(graph, arguments["limits"])
    for node in list(graph.node):
        rounded += writer.round(node)
    if not rounded:
        raise WorkerFailure("none of the model's convolutions and products could be given its int8 weights back")
    writer.finish()
    onnx.checker.check_model(model)
    _session(model)
    with open(arguments["onnx"], "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    return {**_io(model), "rounded": rounded, "products": sum(n.op_type in _CHANNELS for n in graph.node)}, []


class _Writer:
    """Inserts the pairs before the operators that need them."""

    def __init__(self, graph, limits: dict[str, float]) -> None:
        self._graph, self._limits = graph, limits
        self._constants = {value.name: value for value in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._rounded: dict[str, str] = {}
        self._nodes: list = []

    def round(self, node) -> bool:
        """Copies the next node; returns whether it is a product that was rounded."""
        steps = self._weight_steps(node)
        if steps is not None:
            step = np.float32(self._limits[node.input[0]] / _STEPS)
            axis = _CHANNELS[node.op_type]
            node.input[0] = self._activation(node.input[0], step)
            node.input[1] = self._constant(node.input[1], steps, axis, np.int8)
            if len(node.input) > 2:
                node.input[2] = self._constant(node.input[2], (steps * step).astype(np.float32), 0, np.int32)
        self._nodes.append(node)
        return steps is not None

    def finish(self) -> None:
        """Writes the nodes and removes unused constants."""
        read = {name for node in self._nodes for name in node.input}
        nodes, kept = list(self._nodes), [value for value in self._graph.initializer if value.name in read]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(kept)

    def _weight_steps(self, node) -> np.ndarray | None:
        """The steps of a product's weight; None if the node is no product or the weight was not rounded."""
        if node.op_type not in _CHANNELS or node.input[0] not in self._limits or _is_turned(node):
            return None
        if any(name not in self._constants for name in node.input[1:]):
            return None
        weight = numpy_helper.to_array(self._constants[node.input[1]])
        return _steps(weight, _CHANNELS[node.op_type])

    def _activation(self, source: str, step: np.float32) -> str:
        """The name of the rounded tensor; a tensor with several readers is rounded once."""
        if source not in self._rounded:
            out = self._rounded[source] = f"{source}.rounded"
            before = self._producers.get(source)
            # After a ReLU no value is below 0, and ONNX Runtime fuses the ReLU only with a zero point of 0. The step is
            # the same; values above PaddleSlim's range, which PaddleSlim clips, are kept.
            zero = 0 if before is not None and before.op_type == "Relu" else _MIDDLE
            scale, zero = self._add(f"{out}.scale", np.array(step)), self._add(f"{out}.zero", np.array(zero, np.uint8))
            whole = f"{out}.uint8"
            self._nodes.append(helper.make_node("QuantizeLinear", [source, scale, zero], [whole], f"{out}.quantize"))
            self._nodes.append(helper.make_node("DequantizeLinear", [whole, scale, zero], [out], f"{out}.dequantize"))
        return self._rounded[source]

    def _constant(self, name: str, steps: np.ndarray, axis: int, dtype) -> str:
        """Stores a constant as integers; returns the name of its dequantized values."""
        value, out = numpy_helper.to_array(self._constants[name]), f"{name}.floats.{len(self._nodes)}"
        limits = np.iinfo(dtype)
        spread = steps.reshape([-1 if index == axis else 1 for index in range(value.ndim)])
        whole = np.clip(np.rint(value / spread), limits.min, limits.max).astype(dtype)
        parts = {"whole": whole, "scale": steps, "zero": np.zeros(steps.shape, dtype)}
        inputs = [self._add(f"{out}.{key}", part) for key, part in parts.items()]
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [out], f"{out}.dequantize", axis=axis))
        return out

    def _add(self, name: str, value: np.ndarray) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def _is_turned(node) -> bool:
    """Whether the weight's output channels are on another axis than `_CHANNELS` says."""
    given = {attribute.name: attribute.i for attribute in node.attribute}
    return any(given.get(name) for name in ("transA", "transB")) or (
        node.op_type == "ConvTranspose" and given.get("group", 1) > 1
    )


def _steps(weight: np.ndarray, axis: int) -> np.ndarray | None:
    """The step of each channel: its weights are multiples of it, at most 127. None: the weight was never rounded."""
    channels = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    found = [_step(channel) for channel in channels]
    return None if 0.0 in found else np.array(found, np.float32)


def _step(channel: np.ndarray) -> float:
    """A channel's step; 0 if there is none. With one scale for all channels, some have fewer than 127 steps."""
    top = np.abs(channel).max()
    if not top:
        return 1e-8
    counts = (count for count in range(_STEPS, 0, -1) if _is_whole(channel * (count / top)))
    count = next(counts, 0)
    return float(top / count) if count else 0.0


def _is_whole(values: np.ndarray) -> bool:
    return bool(np.abs(values - np.rint(values)).max() < _ON_GRID)


COMMANDS = {"round": round_model}
