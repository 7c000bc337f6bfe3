"""Stores weights as integers that become floats when the model is loaded; the arithmetic stays in float.

Integers -> Cast to float -> Mul by the steps (-> Reshape): ONNX Runtime folds operators on constants while it loads the
model, so inference takes the time of the float model. It would compute DequantizeLinear in each inference instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx
from compensated_rounding import Compensation, block_steps, whole_range
from layer_hessians import LayerHessians
from layer_inputs import Layer
from narrow_weights import packed
from onnx import TensorProto, helper, numpy_helper
from weight_rounding import TOPS


class Integers(NamedTuple):
    """A weight's integers.

    Attributes:
        whole: (groups, outputs, inputs), int8.
        steps: (groups, outputs), or (groups, outputs, inputs) if every `size` weights have a step of their own.
        size: Weights per step; 0 for one step per output.
    """

    whole: np.ndarray
    steps: np.ndarray
    size: int


class StoredWeights(LayerHessians):
    """Rounds the weights of a float model's layers.

    Weights of 4 bits are rounded to 8 as well, for layers that 4 turn out to be too few for.

    Attributes:
        wide: Weights of 4 bits that get 8.

    Args:
        group_size: Largest number of weights of an output that share a step; 0: all of them. The nearest smaller
            divisor of the output's weights is used. Transposed convolutions have a step per output in any case.
    """

    def __init__(
        self, model: onnx.ModelProto, chosen: set[str], images: int, bits: int, ends: int, group_size: int
    ) -> None:
        super().__init__(model, chosen, images, bits, ends)
        self._model, self._group_size = model, group_size
        self._nodes: list[onnx.NodeProto] = []
        self._rounded: dict[str, dict[int, Integers]] = {}
        self.wide: set[str] = set()

    def round(self, turn: int) -> list[float]:
        """Rounds the weights of a turn and frees its Hessians.

        Returns:
            For each weight, the squared error of the layer's output relative to that of rounding to the nearest.
        """
        gains = []
        for name in self.turns[turn]:
            layer, hessian = self.layers[name][0], self.take(name)
            weights, compensation = layer.matrices(self.values[name]).astype(np.float64), Compensation(hessian)
            self._rounded[name] = {}
            for bits in sorted({self.bits[name], 8}):
                top, size = TOPS[bits], self._block(layer, weights.shape[2])
                if size:
                    steps = block_steps(weights, top, size, np.einsum("gkk->gk", hessian))
                elif bits == 4:
                    steps = layer.spread(layer.gathered(compensation.best_steps(weights, top, layer.parts)))
                else:
                    widest = whole_range(weights, top)
                    widest = widest.reshape(-1, layer.parts, widest.shape[1]).max(axis=1).repeat(layer.parts, axis=0)
                    steps = layer.spread(layer.gathered(widest))
                steps = steps.astype(np.float32)
                found = compensation.round(weights, steps.astype(np.float64), top)
                self._rounded[name][bits] = Integers(found.whole, steps, size)
                if bits == self.bits[name]:
                    nearest = found.nearest.sum()
                    gains.append(float(found.error.sum() / nearest) if nearest else 1.0)
        return gains

    @property
    def narrow(self) -> dict[str, int]:
        """Weight of 4 bits -> number of its values."""
        return {name: self.values[name].size for name, forms in self._rounded.items() if 4 in forms}

    def bits_of(self, name: str) -> int:
        """Bits of a weight in the file."""
        return 8 if name in self.wide else self.bits[name]

    def floats(self, bits: Mapping[str, int]) -> onnx.ModelProto:
        """The float model with the values that these weights have in so many bits; others stay as they were."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for value in model.graph.initializer:
            if value.name in bits:
                form, layer = self._rounded[value.name][bits[value.name]], self.layers[value.name][0]
                steps = form.steps if form.size else form.steps[:, :, None]
                value.CopyFrom(numpy_helper.from_array(layer.weights(form.whole * steps), value.name))
        return model

    def finish(self) -> None:
        """Replaces the weights by integers, and inserts the operators that widen them before all others."""
        for name, forms in self._rounded.items():
            self._store(name, forms[self.bits_of(name)])
        nodes = [*self._nodes, *self._model.graph.node]
        del self._model.graph.node[:]
        self._model.graph.node.extend(nodes)

    def _block(self, layer: Layer, inputs: int) -> int:
        """Weights per step; 0 for one step per output."""
        if not self._group_size or layer.node.op_type == "ConvTranspose" or self._group_size >= inputs * layer.parts:
            return 0
        return next(size for size in range(min(self._group_size, inputs), 0, -1) if inputs % size == 0)

    def _store(self, name: str, form: Integers) -> None:
        """Replaces the constant by integers, steps and the operators that multiply them."""
        graph, layer = self._model.graph, self.layers[name][0]
        whole, steps, size = form
        shape = layer.shape
        value = layer.weights(whole)
        if size:
            spread = layer.weights(np.broadcast_to(steps, whole.shape))
            flat = (shape[0], -1, size) if layer.axis == 0 else (-1, size, shape[1])
            value = value.reshape(flat)
            kept = spread.reshape(flat)
            kept = kept[:, :, :1] if layer.axis == 0 else kept[:, :1]
        else:
            kept = layer.gathered(steps).reshape([-1 if axis == layer.axis else 1 for axis in range(len(shape))])
        held = next(each for each in graph.initializer if each.name == name)
        graph.initializer.remove(held)
        names = {part: f"{name}_{part}" for part in ("whole", "steps", "wide", "blocks", "shape")}
        four = self.bits_of(name) == 4
        integers = packed(value, names["whole"]) if four else numpy_helper.from_array(value, names["whole"])
        graph.initializer.extend([integers, numpy_helper.from_array(kept.astype(np.float32), names["steps"])])
        product = names["blocks"] if size else name
        self._nodes += [
            helper.make_node("Cast", [names["whole"]], [names["wide"]], f"{name}_widen", to=TensorProto.FLOAT),
            helper.make_node("Mul", [names["wide"], names["steps"]], [product], f"{name}_scale"),
        ]
        if size:
            graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), names["shape"]))
            inputs = [names["blocks"], names["shape"]]
            self._nodes.append(helper.make_node("Reshape", inputs, [name], f"{name}_reshape"))
