"""Extracts the inputs of a convolution or matrix product as a matrix with one row per output position.

Grouped, depthwise, dilated, strided and transposed convolutions of any number of dimensions, and products with a
constant second operand. NumPy only, except for the node.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

KINDS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_WIDEST = 2304  # most inputs of one part: the work grows with the cube of their number


@dataclass(frozen=True)
class Layer:
    """A product whose second operand is constant.

    Its groups have separate outputs and inputs and are treated as separate layers.

    Attributes:
        node: The node in the float or the quantized graph; its first input is multiplied by the weights.
        shape: Shape of the weights in ONNX.
    """

    node: NodeProto
    shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        return self._attribute("group", 1)

    @property
    def axis(self) -> int:
        """The weights' axis of outputs."""
        kind = self.node.op_type
        return 0 if kind == "Conv" or (kind == "Gemm" and self._attribute("transB", 0)) else 1

    @property
    def parts(self) -> int:
        """Number of equal parts into which a group with very many inputs is split."""
        inputs = math.prod(self.shape) // self.shape[self.axis]
        if self.node.op_type == "ConvTranspose":
            inputs //= self.groups
        return next(count for count in range(1, inputs + 1) if inputs % count == 0 and inputs // count <= _WIDEST)

    def matrices(self, weights: np.ndarray) -> np.ndarray:
        """The weights as (groups * parts, outputs, inputs), in the order of `rows`."""
        kind, groups = self.node.op_type, self.groups
        if kind == "Conv":
            found = weights.reshape(groups, self.shape[0] // groups, -1)
        elif kind == "ConvTranspose":
            split = weights.reshape(groups, self.shape[0] // groups, self.shape[1], -1)
            found = np.swapaxes(split, 1, 2).reshape(groups, self.shape[1], -1)
        else:
            found = (weights if self.axis == 0 else weights.T)[None]
        return self._apart(found)

    def weights(self, matrices: np.ndarray) -> np.ndarray:
        """The weights in ONNX's shape: the inverse of `matrices`."""
        kind, groups = self.node.op_type, self.groups
        whole = np.swapaxes(matrices.reshape(groups, self.parts, *matrices.shape[1:]), 1, 2)
        whole = whole.reshape(groups, matrices.shape[1], -1)  # (groups, outputs, inputs)
        if kind == "Conv":
            return whole.reshape(self.shape)
        if kind == "ConvTranspose":
            split = whole.reshape(groups, self.shape[1], self.shape[0] // groups, -1)
            return np.swapaxes(split, 1, 2).reshape(self.shape)
        return np.ascontiguousarray(whole[0] if self.axis == 0 else whole[0].T)

    def spread(self, steps: np.ndarray) -> np.ndarray:
        """A model's steps, one for all outputs or one per output, as (groups * parts, outputs)."""
        outputs = self.shape[self.axis] // (self.groups if self.node.op_type == "Conv" else 1)
        flat = np.broadcast_to(steps.reshape(-1), self.shape[self.axis]) if steps.size == 1 else steps.reshape(-1)
        own = flat.reshape(-1, outputs) if self.node.op_type == "Conv" else np.tile(flat, (self.groups, 1))
        return np.repeat(own, self.parts, axis=0)

    def gathered(self, steps: np.ndarray) -> np.ndarray:
        """The inverse of `spread`, one step per output; groups of a transposed convolution share their steps."""
        own = steps[:: self.parts]
        return own.reshape(-1) if self.node.op_type == "Conv" else own.max(axis=0)

    def rows(self, value: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
        """The inputs of randomly drawn output positions.

        Args:
            value: The layer's first input.
            most: Number of positions to draw; all if there are fewer.

        Returns:
            (groups * parts, positions, inputs).
        """
        if self.node.op_type in ("Gemm", "MatMul"):
            flat = value.T if self._attribute("transA", 0) else value.reshape(-1, value.shape[-1])
            return self._apart(flat[_drawn(len(flat), most, random)][None])
        sizes = (value.shape[0], *(self._size(axis, size) for axis, size in enumerate(value.shape[2:])))
        images, *places = np.unravel_index(_drawn(math.prod(sizes), most, random), sizes)
        taps = np.array(list(itertools.product(*map(range, self.shape[2:])))).T  # (dimensions, taps)
        found, inside = [], True
        for axis, (place, tap) in enumerate(zip(places, taps, strict=True)):
            index, here = self._index(axis, value.shape[2 + axis], place[:, None], tap[None, :])
            here &= (index >= 0) & (index < value.shape[2 + axis])
            found.append(np.where(here, index, 0))
            inside = inside & here
        picked = np.moveaxis(value, 1, 0)[(slice(None), images[:, None], *found)]  # (channels, places, taps)
        split = np.where(inside, picked, 0).reshape(self.groups, -1, *picked.shape[1:])
        return self._apart(np.swapaxes(split, 1, 2).reshape(self.groups, len(images), -1))

    def _apart(self, values: np.ndarray) -> np.ndarray:
        """Splits (groups, rows, inputs) into (groups * parts, rows, inputs)."""
        groups, rows, _ = values.shape
        return np.swapaxes(values.reshape(groups, rows, self.parts, -1), 1, 2).reshape(groups * self.parts, rows, -1)

    def _index(self, axis: int, size: int, place: np.ndarray, tap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index along an axis that a tap reads for an output position, and whether it reads a value there."""
        stride, dilation = self._per_axis("strides", axis), self._per_axis("dilations", axis)
        before, _ = self._pads(axis, size)
        if self.node.op_type == "Conv":
            index = place * stride + tap * dilation - before
            return index, np.ones(index.shape, bool)
        index, rest = np.divmod(place + before - tap * dilation, stride)
        return index, rest == 0

    def _size(self, axis: int, size: int) -> int:
        stride, reach = self._per_axis("strides", axis), self._per_axis("dilations", axis) * (self.shape[2 + axis] - 1)
        padding = sum(self._pads(axis, size))
        if self.node.op_type == "Conv":
            return (size + padding - reach - 1) // stride + 1
        more = self._attribute("output_padding", [0] * (len(self.shape) - 2))[axis]
        return (size - 1) * stride + more + reach + 1 - padding

    def _pads(self, axis: int, size: int) -> tuple[int, int]:
        """The padding (before, after) of an axis of this size; automatic padding depends on the size."""
        automatic = self._attribute("auto_pad", b"NOTSET")
        if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
            stride = self._per_axis("strides", axis)
            reach = self._per_axis("dilations", axis) * (self.shape[2 + axis] - 1)
            whole = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
            return (whole // 2, whole - whole // 2) if automatic == b"SAME_UPPER" else (whole - whole // 2, whole // 2)
        pads = self._attribute("pads", [0] * 2 * (len(self.shape) - 2))
        return pads[axis], pads[axis + len(pads) // 2]

    def _per_axis(self, name: str, axis: int) -> int:
        return self._attribute(name, [1] * (len(self.shape) - 2))[axis]

    def _attribute(self, name: str, default):
        found = next((helper.get_attribute_value(each) for each in self.node.attribute if each.name == name), None)
        return default if found is None else found


def find_layers(model: ModelProto, chosen: set[str]) -> dict[str, list[Layer]]:
    """Weight -> the layers that use it, for the chosen products whose inputs `rows` can extract.

    Weights that are used in several ways, and transposed convolutions without explicit padding, are left out.
    """
    shapes = {v.name: tuple(v.dims) for v in model.graph.initializer if v.data_type == TensorProto.FLOAT}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for name, nodes in readers.items():
        if name not in shapes or not all(node.name in chosen and _is_layer(node, name) for node in nodes):
            continue
        if nodes[0].op_type in ("Gemm", "MatMul") and len(shapes[name]) != 2:
            continue
        layers = [Layer(node, shapes[name]) for node in nodes]
        if len({(layer.node.op_type, layer.groups, layer.axis) for layer in layers}) == 1:
            found[name] = layers
    return found


def _is_layer(node: NodeProto, weight: str) -> bool:
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    by_hand = given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and "output_shape" not in given
    told = by_hand or node.op_type == "Conv"
    return node.op_type in KINDS and list(node.input).index(weight) == 1 and told


def _drawn(count: int, most: int, random: np.random.Generator) -> np.ndarray:
    return np.arange(count) if count <= most else np.sort(random.choice(count, most, replace=False))
