"""The weights of a quantized model, rounded with compensation for what goes into each layer of the float model.

What a layer sees is gathered while images go through the float model: a Hessian for each weight, in turns of as many
layers as fit into a bound on memory. With the inputs that earlier, rounded layers give instead, as the paper has it
(see `compensated_rounding`), nothing was better by measurement, and every layer would wait for the one before it.
"""

from __future__ import annotations

import numpy as np
import onnx
from compensated_rounding import Compensation
from layer_inputs import find_layers
from onnx import numpy_helper

_PLACES = 1 << 14  # of a layer's output, over all images
_BOUND_BYTES = 512 << 20  # of all Hessians of a turn
_TOPS = {8: 127, 4: 7}


class WeightRounding:
    """Gathers what layers see, and rounds their weights.

    Args:
        model: The float model.
        chosen: Names of the operators whose weights are rounded.
        images: How many will be gathered from; 0: none, each weight is rounded to the nearest.
        bits: Of the weights: 8, in the steps that the quantized model has; 4, in steps that are searched for.
        ends: Bits of the first and the last layer's weights.
    """

    def __init__(self, model: onnx.ModelProto, chosen: set[str], images: int, bits: int = 8, ends: int = 8) -> None:
        held = {value.name: value for value in model.graph.initializer}
        self._layers = find_layers(model, chosen)  # weight -> the layers that use it
        self._values = {name: numpy_helper.to_array(held[name]) for name in self._layers}
        names = list(self._layers)
        self._bits = dict.fromkeys(names, bits) | (dict.fromkeys((names[0], names[-1]), ends) if names else {})
        self._places = max(1, _PLACES // images) if images else 0
        self.narrow: list[str] = []  # constants of the quantized model whose values 4 bits hold
        self._hessians: dict[str, np.ndarray] = {}
        self.whole: dict[str, np.ndarray] = {}  # operator's name -> its weights as whole numbers, of what was rounded
        self.turns = self._in_turns()

    def _in_turns(self) -> list[list[str]]:
        """The weights, in groups whose Hessians fit into the bound."""
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
        """Adds what the turn's layers see in one image to their Hessians.

        Args:
            values: Tensor -> its value.
        """
        for name in self.turns[turn] if self._places else ():
            for layer in self._layers[name]:
                random = np.random.default_rng(image)
                rows = layer.rows(values[layer.node.input[0]], self._places, random).astype(np.float32)
                self._hessians[name] = self._hessians.get(name, 0) + np.swapaxes(rows, 1, 2) @ rows

    def round(self, turn: int, quantized: onnx.ModelProto) -> list[float]:
        """Writes the turn's weights into the quantized model, in the steps that it has, and forgets what was gathered.

        Args:
            quantized: In QDQ form, with 8-bit weights; its operators have the names that they have in the float model.

        Returns:
            For each weight, the squared error that it puts into the layer's output, over the nearest rounding's.
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
        """What was gathered; where nothing was, the one of inputs that have nothing to do with each other."""
        if self._places:
            return self._hessians.pop(name).astype(np.float64)
        groups, _, inputs = weights.shape
        return np.broadcast_to(np.eye(inputs), (groups, inputs, inputs))

    def _bias_of(self, name: str, nodes: dict[str, onnx.NodeProto], producers: dict[str, onnx.NodeProto]) -> list[str]:
        """Constants of whole numbers and scales of the int32 biases of a weight's layers, in pairs, each once."""
        found: dict[str, str] = {}
        for layer in self._layers[name]:
            given = nodes[layer.node.name].input
            source = producers.get(given[2]) if len(given) > 2 else None
            if source is not None and source.op_type == "DequantizeLinear":
                found[source.input[0]] = source.input[1]
        return [each for pair in found.items() for each in pair]


def rescale(step: onnx.TensorProto, new: np.ndarray, biases: list[onnx.TensorProto]) -> None:
    """Gives weights other steps, and the biases that are added to their products as well.

    Args:
        step: The weights' scale, changed in place.
        new: The steps that it gets; the largest where it has one alone.
        biases: Whole numbers and scale of each bias in turn, changed in place.
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
