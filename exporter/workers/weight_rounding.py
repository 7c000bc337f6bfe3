"""Rounds the weights of a quantized model; the rounding errors are compensated for each layer's inputs.

The float model runs on images, and a Hessian of each layer's inputs is accumulated per weight; each turn takes as many
layers as fit into a memory limit. The paper (see `compensated_rounding`) uses the inputs that earlier, rounded layers
give: that measured no better, and each layer would have to wait for the one before.
"""

from __future__ import annotations

import numpy as np
import onnx
from compensated_rounding import Compensation
from layer_inputs import find_layers
from onnx import numpy_helper

_PLACES = 1 << 14  # output positions per layer, over all images
_BOUND_BYTES = 512 << 20  # limit for all Hessians of a turn
_TOPS = {8: 127, 4: 7}


class WeightRounding:
    """Accumulates the layers' inputs and rounds their weights.

    Args:
        model: The float model.
        chosen: Names of the operators whose weights are rounded.
        images: Number of images to gather from; 0: each weight is rounded to the nearest.
        bits: Bits of the weights: 8, with the quantized model's steps; 4, with steps found by a search.
        ends: Bits of the weights of the first and the last layer.
    """

    def __init__(self, model: onnx.ModelProto, chosen: set[str], images: int, bits: int = 8, ends: int = 8) -> None:
        held = {value.name: value for value in model.graph.initializer}
        self._layers = find_layers(model, chosen)  # weight -> the layers that use it
        self._values = {name: numpy_helper.to_array(held[name]) for name in self._layers}
        names = list(self._layers)
        self._bits = dict.fromkeys(names, bits) | (dict.fromkeys((names[0], names[-1]), ends) if names else {})
        self._places = max(1, _PLACES // images) if images else 0
        self.narrow: list[str] = []  # constants of the quantized model whose values fit into 4 bits
        self._hessians: dict[str, np.ndarray] = {}
        self.whole: dict[str, np.ndarray] = {}  # operator's name -> its rounded weights as integers
        self.turns = self._in_turns()

    def _in_turns(self) -> list[list[str]]:
        """The weights, in groups whose Hessians fit into the memory limit."""
        turns: list[list[str]] = [[]]
        room = _BOUND_BYTES
        for name, layers in self._layers.items():
            groups, _, inputs = layers[0].matrices(self._values[name]).shape
            needed = groups * inputs**2 * np.dtype(np.float32).itemsize
            if needed > room and turns[-1]:
                turns.append([])
                room = _BOUND_BYTES
            turns[-1].append(name)
            room -= needed
        return turns

    def wanted(self, turn: int) -> list[str]:
        """The tensors that `gather` needs."""
        return list(dict.fromkeys(layer.node.input[0] for name in self.turns[turn] for layer in self._layers[name]))

    def gather(self, turn: int, image: int, values: dict[str, np.ndarray]) -> None:
        """Adds the inputs of the turn's layers for one image to their Hessians.

        Args:
            values: Tensor -> its value.
        """
        for name in self.turns[turn] if self._places else ():
            for layer in self._layers[name]:
                random = np.random.default_rng(image)
                rows = layer.rows(values[layer.node.input[0]], self._places, random).astype(np.float32)
                self._hessians[name] = self._hessians.get(name, 0) + np.swapaxes(rows, 1, 2) @ rows

    def round(self, turn: int, quantized: onnx.ModelProto) -> list[float]:
        """Writes the turn's rounded weights into the quantized model, with its steps, and frees the Hessians.

        Args:
            quantized: The model in QDQ form with 8-bit weights; its operators have the same names as in the float one.

        Returns:
            For each weight, the squared error of the layer's output relative to that of rounding to the nearest.
        """
        nodes = {node.name: node for node in quantized.graph.node}
        producers = {name: node for node in quantized.graph.node for name in node.output}
        constants = {value.name: value for value in quantized.graph.initializer}
        gains = []
        for name in self.turns[turn]:
            layer, top = self._layers[name][0], _TOPS[self._bits[name]]
            source = producers.get(nodes[layer.node.name].input[1])
            if source is None or source.op_type != "DequantizeLinear":
                continue  # ONNX Runtime's quantizer left it in float
            whole, step = (constants[each] for each in source.input[:2])
            weights = layer.matrices(self._values[name]).astype(np.float64)
            compensation = Compensation(self._hessian(name, weights))
            if self._bits[name] == 4:
                self.narrow.append(whole.name)
                new = layer.gathered(compensation.best_steps(weights, top, layer.parts))
                rescale(step, new, [constants[each] for each in self._bias_of(name, nodes, producers)])
            steps = layer.spread(numpy_helper.to_array(step)).astype(np.float64)
            found = compensation.round(weights, steps, top)
            rounded = layer.weights(found.whole)
            whole.CopyFrom(numpy_helper.from_array(rounded, whole.name))
            self.whole |= {each.node.name: rounded for each in self._layers[name]}
            nearest = found.nearest.sum()
            gains.append(float(found.error.sum() / nearest) if nearest else 1.0)
        return gains

    def _hessian(self, name: str, weights: np.ndarray) -> np.ndarray:
        """The accumulated Hessian; without images, the identity: that of uncorrelated inputs."""
        if self._places:
            return self._hessians.pop(name).astype(np.float64)
        groups, _, inputs = weights.shape
        return np.broadcast_to(np.eye(inputs), (groups, inputs, inputs))

    def _bias_of(self, name: str, nodes: dict[str, onnx.NodeProto], producers: dict[str, onnx.NodeProto]) -> list[str]:
        """Names of the integers and scale of each int32 bias of a weight's layers, in pairs, without duplicates."""
        found: dict[str, str] = {}
        for layer in self._layers[name]:
            given = nodes[layer.node.name].input
            source = producers.get(given[2]) if len(given) > 2 else None
            if source is not None and source.op_type == "DequantizeLinear":
                found[source.input[0]] = source.input[1]
        return [each for pair in found.items() for each in pair]


def rescale(step: onnx.TensorProto, new: np.ndarray, biases: list[onnx.TensorProto]) -> None:
    """Changes the steps of weights, and of the biases that are added to their products.

    Args:
        step: The weights' scale, changed in place.
        new: The new steps; a scale with one element gets the largest.
        biases: Integers and scale of each bias, alternating; changed in place.
    """
    old = numpy_helper.to_array(step).astype(np.float64)
    wanted = np.float64(new.max()).reshape(old.shape) if old.size == 1 else new.reshape(old.shape)
    wanted = wanted.astype(np.float32)
    step.CopyFrom(numpy_helper.from_array(wanted, step.name))
    for whole, scale in zip(biases[::2], biases[1::2], strict=True):
        before = numpy_helper.to_array(scale).astype(np.float64)
        after = (before * (wanted / old).reshape(-1)).reshape(before.shape)
        value = np.rint(numpy_helper.to_array(whole) * (before / after)).clip(-(2**31), 2**31 - 1)
        scale.CopyFrom(numpy_helper.from_array(after.astype(np.float32), scale.name))
        whole.CopyFrom(numpy_helper.from_array(value.astype(np.int32), whole.name))
