"""Builds a LiteRT model with the names and shapes of an ONNX model.

ONNX's windows (convolutions, pools, resizes) use [N, C, H, W], LiteRT's [N, H, W, C]. A tensor is stored in the order
of axes of its operator's output. Readers request an order, and the tensor is transposed only if that differs. So a
transpose in the model costs nothing, and each tensor's layout is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from litert_file import LiteRtFile, TensorRounding
from litert_source import OnnxSource, SourceNode
from worker_host import WorkerFailure

Order = tuple[int, ...]
"""The tensor's axes in stored order, by ONNX's numbers."""
_NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp")
_LOWEST = -128  # smallest int8
_SMALLEST_HALF = 32  # smallest number of elements of a constant that becomes smaller in fp16


def plain(rank: int) -> Order:
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    return (0, *range(2, rank), 1) if rank > 2 else plain(rank)


class LiteRtGraph:
    """Reads and writes tensors by name for the operator `node`.

    Args:
        precision: fp32; fp16: constants in fp16; w8: weights of products in int8, with inputs rounded at run time.
    """

    def __init__(self, source: OnnxSource, precision: str) -> None:
        self.source, self.precision, self.file = source, precision, LiteRtFile()
        self.node: SourceNode | None = None
        self._stored: dict[tuple[str, bool], dict[Order, int]] = {}  # tensor, whether in int8 -> order -> index
        self._dequantized: dict[int, int] = {}

    # -- the ONNX model -----------------------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        return self.source.shapes[name]

    def value(self, name: str) -> np.ndarray | None:
        return self.source.constants.get(name)

    def required(self, name: str, what: str) -> np.ndarray:
        """Returns a constant that LiteRT needs before the model runs."""
        value = self.value(name)
        if value is None:
            raise self.unsupported(f"its {what} is computed")
        return value

    def attribute(self, name: str, default=None):
        return self.node.attributes.get(name, default)

    def unsupported(self, why: str) -> WorkerFailure:
        return WorkerFailure(f"{self.node.kind} ({self.node.outputs[0]}): {why}")

    def never_negative(self, name: str) -> bool:
        """Whether a tensor is known to have no negative values."""
        if self.node.integer:
            return self.source.roundings[name].zero == _LOWEST
        return any(name in node.outputs and node.kind in _NEVER_NEGATIVE for node in self.source.nodes)

    def order(self, name: str) -> Order:
        """The stored order of a tensor's axes; ONNX's for a constant."""
        for integer in (self.node is not None and self.node.integer, True, False):
            if found := self._stored.get((name, integer)):
                return next(iter(found))
        return plain(len(self.shape(name)))

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, name: str, order: Order | None = None, rank: int | None = None) -> int:
        """Returns a tensor in an order of axes; in int8 for an int8 operator.

        Args:
            rank: A larger number of axes; axes of size 1 are added in front, as in ONNX's broadcasting.
        """
        integer = self.node is not None and self.node.integer
        own = len(self.shape(name))
        if rank is not None and rank > own:
            return self._widened(name, rank, plain(rank) if order is None else order, integer)
        order = plain(own) if order is None else order
        if name in self.source.constants:
            return self._constant(name, order, integer)
        return self._in_order(name, order, integer)

    def _in_order(self, name: str, order: Order, integer: bool) -> int:
        stored = self._stored.setdefault((name, integer), {})
        if order in stored:
            return stored[order]
        if not stored and (name, not integer) in self._stored:
            first = next(iter(self._stored[name, not integer]))
            given = self._in_order(name, first if integer else order, not integer)
            kind = "QUANTIZE" if integer else "DEQUANTIZE"
            stored[first if integer else order] = self.temporary(
                kind, [given], self.file.shape(given), "int8" if integer else "float32", name,
                self.source.roundings[name] if integer else None,
            )  # fmt: skip
            return self._in_order(name, order, integer)
        if not stored:
            raise self.unsupported(f"reads {name}, which nothing gives")
        before = next(iter(stored))
        stored[order] = self.moved(stored[before], [before.index(axis) for axis in order], name, integer)
        return stored[order]

    def _constant(self, name: str, order: Order, integer: bool) -> int:
        held = self.source.held.get(name)
        if integer and held is not None:
            return self.constant(held.integers.transpose(order), name, self.rounding_of(name))
        return self.constant(self.source.constants[name].transpose(order), name)

    def rounding_of(self, name: str) -> TensorRounding:
        """The scale and zero point of a constant."""
        held = self.source.held[name]
        if len(set(held.scales)) > 1:
            raise self.unsupported(f"reads {name}, whose channels have a scale each")
        return TensorRounding((float(held.scales[0]),), held.zero)

    def _widened(self, name: str, rank: int, order: Order, integer: bool) -> int:
        shape = (1,) * (rank - len(self.shape(name))) + self.shape(name)
        held = self.source.held.get(name)
        if name in self.source.constants:
            if integer and held is not None:
                return self.constant(held.integers.reshape(shape).transpose(order), name, self.rounding_of(name))
            return self.constant(self.source.constants[name].reshape(shape).transpose(order), name)
        widened = self.reshaped(self._in_order(name, plain(len(self.shape(name))), integer), shape, name, integer)
        return self.moved(widened, list(order), name, integer)

    def constant(self, value: np.ndarray, name: str, rounding: TensorRounding | None = None) -> int:
        """Adds a constant, in fp16 if requested and if its values fit."""
        if self.precision != "fp16" or value.dtype != np.float32 or value.size < _SMALLEST_HALF:
            return self.file.constant(name, value, rounding)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if not np.isfinite(half).all():
            return self.file.constant(name, value)
        index = self.file.constant(name, half)
        if index not in self._dequantized:
            self._dequantized[index] = self.temporary("DEQUANTIZE", [index], value.shape, "float32", name)
        return self._dequantized[index]

    # -- writing ------------------------------------------------------------------------------------------------

    def write(self, kind: str, inputs: list[int], order: Order | None = None, output: int = 0, **options) -> int:
        """Adds an operator that writes one of the node's outputs, in an order of axes."""
        index = self.output(order, output)
        self.file.operator(kind, inputs, [index], **options)
        return index

    def write_unscaled(self, kind: str, inputs: list[int], name: str, order: Order | None = None, **options) -> int:
        """As `write`, for an operator whose int8 output has the scale of its input `name`."""
        before, after = (self.source.roundings.get(one) for one in (name, self.node.outputs[0]))
        if not self.node.integer or before == after:
            return self.write(kind, inputs, order, **options)
        shape = self.shape(self.node.outputs[0])
        shape = shape if order is None else tuple(shape[axis] for axis in order)
        given = self.temporary(kind, inputs, shape, "int8", rounding=before, **options)
        return self.write("QUANTIZE", [given], order)

    def write_in_float(self, rule: Callable[[LiteRtGraph], None]) -> None:
        """Writes an int8 operator that LiteRT lacks in int8 as a float operator with a rounded output."""
        node = self.node
        (name,) = node.outputs
        between = f"{name}.float"
        self.source.shapes[between], self.source.dtypes[between] = self.shape(name), "float32"
        self.node = replace(node, integer=False, outputs=[between])
        rule(self)
        order = self.order(between)
        given = self.read(between, order)
        self.node = node
        self.write("QUANTIZE", [given], order)

    def output(self, order: Order | None = None, output: int = 0) -> int:
        """Returns the tensor of one of the node's outputs, for an operator that is added separately."""
        name = self.node.outputs[output]
        shape = self.shape(name)
        order = plain(len(shape)) if order is None else order
        dtype = "int8" if self.node.integer else self.source.dtypes[name]
        rounding = self.source.roundings[name] if self.node.integer else None
        called, stored = self.source.rounded.get(name, name), tuple(shape[axis] for axis in order)
        index = self.file.tensor(called, stored, dtype, rounding, order)
        self._stored[name, self.node.integer] = {order: index}
        return index

    def same(self, index: int, order: Order, output: int = 0) -> None:
        """Declares a tensor to be one of the node's outputs."""
        self._stored.setdefault((self.node.outputs[output], self.node.integer), {})[order] = index

    def stored(self, name: str) -> dict[Order, int]:
        """The orders in which a tensor already exists."""
        return self._stored.get((name, self.node.integer), {})

    def temporary(
        self, kind: str, inputs: list[int], shape, dtype: str = "float32", name: str = "", rounding=None, **options
    ) -> int:
        """Adds an operator whose result only this writer reads."""
        name = f"{name or self.node.outputs[0]}.{kind.lower()}"
        index = self.file.tensor(name, tuple(shape), dtype, rounding)
        self.file.operator(kind, inputs, [index], **options)
        return index

    def moved(self, tensor: int, axes: list[int], name: str, integer: bool) -> int:
        """Returns a stored tensor with its axes in another order."""
        if axes == sorted(axes):
            return tensor
        before = self.file.shape(tensor)
        shape = tuple(before[axis] for axis in axes)
        long = [axis for axis in axes if before[axis] > 1]
        if long == sorted(long):  # only axes of size 1 move, so the data stays unchanged
            return self.reshaped(tensor, shape, name, integer)
        inputs = [tensor, self.file.constant("order", np.array(axes, np.int32))]
        return self.temporary("TRANSPOSE", inputs, shape, self._type(name, integer), name, self._held(name, integer))

    def reshaped(self, tensor: int, shape: tuple[int, ...], name: str, integer: bool) -> int:
        if self.file.shape(tensor) == tuple(shape):
            return tensor
        inputs = [tensor, self.file.constant("shape", np.array(shape, np.int32))]
        kind, rounding = self._type(name, integer), self._held(name, integer)
        return self.temporary("RESHAPE", inputs, shape, kind, name, rounding, newShape=list(shape))

    def integers(self, *values: int) -> int:
        """Adds a constant list of int32."""
        return self.file.constant("sizes", np.array(values, np.int32))

    def _type(self, name: str, integer: bool) -> str:
        return "int8" if integer else "float32" if name in self.source.roundings else self.source.dtypes[name]

    def _held(self, name: str, integer: bool) -> TensorRounding | None:
        return self.source.roundings[name] if integer else None
