"""Collects the Hessians that compensated rounding needs, from the inputs of a float model's layers."""

from __future__ import annotations

import numpy as np
import onnx
from layer_inputs import find_layers
from onnx import numpy_helper

_PLACES = 1 << 14  # output positions per layer, over all images
_BOUND_BYTES = 512 << 20  # limit for all Hessians of a turn


class LayerHessians:
    """Accumulates the products of each layer's inputs, in turns that fit into a memory limit.

    Attributes:
        layers: Weight -> the layers that use it.
        values: Weight -> its float values.
        bits: Weight -> bits of its integers.
        turns: The weights, in groups whose Hessians fit into the limit.

    Args:
        model: The float model.
        chosen: Names of the operators whose weights are rounded.
        images: Number of images to gather from; 0: none, so each weight is rounded to the nearest.
        bits: Bits of the weights.
        ends: Bits of the weights of the first and the last layer, if the others have less than 8.
    """

    def __init__(self, model: onnx.ModelProto, chosen: set[str], images: int, bits: int = 8, ends: int = 8) -> None:
        held = {value.name: value for value in model.graph.initializer}
        self.layers = find_layers(model, chosen)
        self.values = {name: numpy_helper.to_array(held[name]) for name in self.layers}
        names = list(self.layers)
        self.bits = dict.fromkeys(names, bits)
        if bits < 8 and names:
            self.bits |= dict.fromkeys((names[0], names[-1]), ends)
        self._places = max(1, _PLACES // images) if images else 0
        self._hessians: dict[str, np.ndarray] = {}
        self.turns = self._in_turns()

    def _in_turns(self) -> list[list[str]]:
        turns: list[list[str]] = [[]]
        room = _BOUND_BYTES
        for name, layers in self.layers.items():
            groups, _, inputs = layers[0].matrices(self.values[name]).shape
            needed = groups * inputs**2 * np.dtype(np.float32).itemsize
            if needed > room and turns[-1]:
                turns.append([])
                room = _BOUND_BYTES
            turns[-1].append(name)
            room -= needed
        return turns

    def wanted(self, turn: int) -> list[str]:
        """The tensors that `gather` needs."""
        return list(dict.fromkeys(layer.node.input[0] for name in self.turns[turn] for layer in self.layers[name]))

    def gather(self, turn: int, image: int, values: dict[str, np.ndarray]) -> None:
        """Adds the inputs of the turn's layers for one image to their Hessians.

        Args:
            values: Tensor -> its value.
        """
        for name in self.turns[turn] if self._places else ():
            for layer in self.layers[name]:
                random = np.random.default_rng(image)
                rows = layer.rows(values[layer.node.input[0]], self._places, random).astype(np.float32)
                self._hessians[name] = self._hessians.get(name, 0) + np.swapaxes(rows, 1, 2) @ rows

    def take(self, name: str) -> np.ndarray:
        """Returns a weight's Hessian, (groups, inputs, inputs), and frees it.

        Without images, it is the identity: that of uncorrelated inputs.
        """
        if self._places:
            return self._hessians.pop(name).astype(np.float64)
        groups, _, inputs = self.layers[name][0].matrices(self.values[name]).shape
        return np.broadcast_to(np.eye(inputs), (groups, inputs, inputs))
