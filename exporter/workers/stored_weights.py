"""Stores weights as integers that become floats when the model is loaded; the arithmetic stays in float.

Integers -> Cast to float -> Mul by the steps (-> Reshape): ONNX Runtime folds operators on constants while it loads the
model, so inference takes the time of the float model. It would compute DequantizeLinear in each inference instead.
"""

from __future__ import annotations

import numpy as np
import onnx
from compensated_rounding import Compensation, block_steps, whole_range
from layer_hessians import LayerHessians
from layer_inputs import Layer
from narrow_weights import packed
from onnx import TensorProto, helper, numpy_helper
from weight_rounding import TOPS


class StoredWeights(LayerHessians):
    """Rounds the weights of a float model's layers.

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

    def round(self, turn: int) -> list[float]:
        """Rounds the weights of a turn and frees its Hessians.

        Returns:
            For each weight, the squared error of the layer's output relative to that of rounding to the nearest.
        """
        gains = []
        for name in self.turns[turn]:
            layer, top = self.layers[name][0], TOPS[self.bits[name]]
            weights = layer.matrices(self.values[name]).astype(np.float64)
            hessian = self.take(name)
            compensation, size = Compensation(hessian), self._block(layer, weights.shape[2])
            if size:
                importance = np.einsum("gkk->gk", hessian)
                steps = block_steps(weights, top, size, importance)
            elif self.bits[name] == 4:
                steps = layer.spread(layer.gathered(compensation.best_steps(weights, top, layer.parts)))
            else:
                widest = whole_range(weights, top)
                widest = widest.reshape(-1, layer.parts, widest.shape[1]).max(axis=1).repeat(layer.parts, axis=0)
                steps = layer.spread(layer.gathered(widest))
            found = compensation.round(weights, steps.astype(np.float32).astype(np.float64), top)
            self._store(name, found.whole, steps, size)
            nearest = found.nearest.sum()
            gains.append(float(found.error.sum() / nearest) if nearest else 1.0)
        return gains

    def finish(self) -> None:
        """Inserts the operators that widen the weights, before all others."""
        nodes = [*self._nodes, *self._model.graph.node]
        del self._model.graph.node[:]
        self._model.graph.node.extend(nodes)

    def _block(self, layer: Layer, inputs: int) -> int:
        """Weights per step; 0 for one step per output."""
        if not self._group_size or layer.node.op_type == "ConvTranspose" or self._group_size >= inputs * layer.parts:
            return 0
        return next(size for size in range(min(self._group_size, inputs), 0, -1) if inputs % size == 0)

    def _store(self, name: str, whole: np.ndarray, steps: np.ndarray, size: int) -> None:
        """Replaces the constant by integers, steps and the operators that multiply them."""
        graph, layer = self._model.graph, self.layers[name][0]
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
        four = self.bits[name] == 4
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
