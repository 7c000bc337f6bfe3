"""Rounds the weights of a quantized model; the rounding errors are compensated for each layer's inputs.

The float model runs on images, and a Hessian of each layer's inputs is accumulated per weight (`layer_hessians`). The
paper (see `compensated_rounding`) uses the inputs that earlier, rounded layers give: that measured no better, and each
layer would have to wait for the one before.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from compensated_rounding import Compensation
from layer_hessians import LayerHessians
from layer_inputs import Layer
from onnx import numpy_helper

TOPS = {8: 127, 4: 7}


class WeightRounding(LayerHessians):
    """Rounds weights: 8 bits with the quantized model's steps, 4 bits with steps found by a search.

    Weights of 4 bits are rounded to 8 as well, for layers that 4 turn out to be too few for.

    Attributes:
        whole: Operator's name -> its rounded weights as integers.
        constants: Weight -> the quantized model's constants that rounding changed.
        wide: Weight of 4 bits -> its constant if it gets 8.
    """

    def __init__(self, model: onnx.ModelProto, chosen: set[str], images: int, bits: int = 8, ends: int = 8) -> None:
        super().__init__(model, chosen, images, bits, ends)
        self.whole: dict[str, np.ndarray] = {}
        self.constants: dict[str, list[onnx.TensorProto]] = {}
        self.wide: dict[str, onnx.TensorProto] = {}

    @property
    def narrow(self) -> dict[str, str]:
        """Operator's name -> its weight, for weights of 4 bits that were rounded."""
        return {layer.node.name: name for name in self.wide for layer in self.layers[name]}

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
            layer, top = self.layers[name][0], TOPS[self.bits[name]]
            source = producers.get(nodes[layer.node.name].input[1])
            if source is None or source.op_type != "DequantizeLinear":
                continue  # ONNX Runtime's quantizer left it in float
            whole, step = (constants[each] for each in source.input[:2])
            weights = layer.matrices(self.values[name]).astype(np.float64)
            compensation = Compensation(self.take(name))
            changed = [whole]
            if self.bits[name] == 4:
                eight = compensation.round(weights, _spread(layer, step), TOPS[8])
                self.wide[name] = numpy_helper.from_array(layer.weights(eight.whole), whole.name)
                new = layer.gathered(compensation.best_steps(weights, top, layer.parts))
                biases = [constants[each] for each in self._bias_of(name, nodes, producers)]
                rescale(step, new, biases)
                changed += [step, *biases]
            found = compensation.round(weights, _spread(layer, step), top)
            rounded = layer.weights(found.whole)
            whole.CopyFrom(numpy_helper.from_array(rounded, whole.name))
            self.whole |= {each.node.name: rounded for each in self.layers[name]}
            self.constants[name] = [_copy(each) for each in changed]
            nearest = found.nearest.sum()
            gains.append(float(found.error.sum() / nearest) if nearest else 1.0)
        return gains

    def recall(self, whole: dict[str, np.ndarray]) -> None:
        """Takes 8-bit weights that were rounded before, for the same steps."""
        self.whole = whole
        for name, layers in self.layers.items():
            for layer in layers:
                if layer.node.name in whole:
                    self.constants[name] = [numpy_helper.from_array(whole[layer.node.name], f"{name}_quantized")]

    def write(self, quantized: onnx.ModelProto, wide: Collection[str] = ()) -> None:
        """Writes the weights that were rounded so far into the same model with the same ranges, or a part in float.

        Args:
            quantized: As `int8_model` made it.
            wide: Weights of 4 bits that get 8.
        """
        found = {each.name: each for name, held in self.constants.items() if name not in wide for each in held}
        found |= {self.wide[name].name: self.wide[name] for name in wide}
        for value in quantized.graph.initializer:
            if value.name in found:
                value.CopyFrom(found[value.name])

    def packed(self, wide: Collection[str]) -> list[str]:
        """Names of the quantized model's constants whose values fit into 4 bits, if these weights get 8."""
        return [value.name for name, value in self.wide.items() if name not in wide]

    def _bias_of(self, name: str, nodes: dict[str, onnx.NodeProto], producers: dict[str, onnx.NodeProto]) -> list[str]:
        """Names of the integers and scale of each int32 bias of a weight's layers, in pairs, without duplicates."""
        found: dict[str, str] = {}
        for layer in self.layers[name]:
            given = nodes[layer.node.name].input
            source = producers.get(given[2]) if len(given) > 2 else None
            if source is not None and source.op_type == "DequantizeLinear":
                found[source.input[0]] = source.input[1]
        return [each for pair in found.items() for each in pair]


def _spread(layer: Layer, step: onnx.TensorProto) -> np.ndarray:
    return layer.spread(numpy_helper.to_array(step)).astype(np.float64)


def _copy(value: onnx.TensorProto) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(value)
    return copy


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
