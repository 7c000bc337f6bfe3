"""Bias correction: subtracts the mean output error of quantization from each convolution's bias.

Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction (ICCV 2019), section 4.2 and
appendix D: the shift of each output channel's mean is measured on calibration images and subtracted, layer by layer, so
that each layer is corrected for inputs that come from corrected layers.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

CORRECTED = frozenset({"Conv", "ConvTranspose"})
_ADDED = "_zero_bias"


def add_missing_biases(model: onnx.ModelProto, chosen: set[str]) -> None:
    """Adds a bias of zeros to convolutions without one; the correction changes it."""
    shapes = {value.name: tuple(value.dims) for value in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in CORRECTED and node.name in chosen and len(node.input) == 2 and node.input[1] in shapes:
            shape = shapes[node.input[1]]
            groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
            channels = shape[0] if node.op_type == "Conv" else shape[1] * groups
            name = f"{node.output[0]}{_ADDED}"
            model.graph.initializer.append(numpy_helper.from_array(np.zeros(channels, np.float32), name))
            node.input.append(name)


def drop_zero_biases(model: onnx.ModelProto) -> None:
    """Removes the biases that `add_missing_biases` added and no correction changed."""
    constants = {value.name: value for value in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type not in CORRECTED or len(node.input) < 3:
            continue
        source = producers.get(node.input[2])
        held = node.input[2] if source is None else source.input[0]
        if _ADDED in held and held in constants and not numpy_helper.to_array(constants[held]).any():
            del node.input[2]
            if source is not None:
                model.graph.node.remove(source)
    used = {name for node in model.graph.node for name in node.input}
    unused = [name for name in constants if _ADDED in name and name not in used]
    for name in unused:
        model.graph.initializer.remove(constants[name])


def bias_changes(model: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Output of a convolution of the float model -> what the quantized model adds to it per channel.

    Biases that differ by the rounding to int32 alone are not listed.
    """
    plain = {value.name: value for value in model.graph.initializer}
    constants = {value.name: value for value in quantized.graph.initializer}
    nodes = {node.name: node for node in quantized.graph.node if node.op_type in CORRECTED and len(node.input) > 2}
    producers = {name: node for node in quantized.graph.node for name in node.output}
    found = {}
    for node in model.graph.node:
        source = producers.get(nodes[node.name].input[2]) if node.name in nodes else None
        if source is not None and source.op_type == "DequantizeLinear" and node.input[2] in plain:
            whole, scale = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in source.input[:2])
            change = whole * scale - numpy_helper.to_array(plain[node.input[2]])
            if (np.abs(change) > scale).any():
                found[node.output[0]] = change.astype(np.float32)
    return found


def channel_means(value: np.ndarray) -> np.ndarray:
    """The mean of each channel of (batch, channels, ...), in double precision."""
    return value.mean(axis=(0, *range(2, value.ndim)), dtype=np.float64)


class BiasCorrector:
    """Corrects the int32 biases of a quantized model in place.

    Args:
        model: The model in QDQ form. Its convolutions have the same names as in the float model.
        means: Convolution's name -> the mean of each output channel in the float model, on the same images.
    """

    def __init__(self, model: onnx.ModelProto, means: dict[str, np.ndarray]) -> None:
        self._model, self._means = model, means
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self._constants = {value.name: value for value in model.graph.initializer}
        self.levels = self._by_depth()

    def _by_depth(self) -> list[list[onnx.NodeProto]]:
        """The convolutions in groups; each group reads only earlier groups."""
        depths: dict[str, int] = {}  # tensor -> number of corrected convolutions on the longest path to it
        levels: list[list[onnx.NodeProto]] = []
        for node in self._model.graph.node:  # in topological order
            depth = max((depths.get(name, 0) for name in node.input), default=0)
            if node.name in self._means and self._bias(node) is not None:
                levels += [[] for _ in range(depth + 1 - len(levels))]
                levels[depth].append(node)
                depth += 1
            depths.update(dict.fromkeys(node.output, depth))
        return [level for level in levels if level]

    def _bias(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The node that dequantizes the node's int32 bias; None if the bias is not quantized."""
        found = self._producers.get(node.input[2]) if len(node.input) > 2 else None
        return found if found is not None and found.op_type == "DequantizeLinear" else None

    def until(self, level: int) -> onnx.ModelProto:
        """The part of the model that a level needs; its outputs are the level's convolutions, in order."""
        wanted = [node.output[0] for node in self.levels[level]]
        needed = set(wanted)
        part = onnx.ModelProto()
        part.CopyFrom(self._model)
        nodes = []
        for node in reversed(self._model.graph.node):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        del part.graph.node[:], part.graph.output[:]
        part.graph.node.extend(reversed(nodes))
        part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        kept = [value for value in self._model.graph.initializer if value.name in needed]
        del part.graph.initializer[:]
        part.graph.initializer.extend(kept)
        return part

    def correct(self, level: int, means: list[np.ndarray]) -> float:
        """Subtracts the shift of a level's means from its biases.

        Args:
            means: For each convolution of the level, the mean of each output channel in the quantized model.

        Returns:
            The largest shift.
        """
        largest = 0.0
        for node, mean in zip(self.levels[level], means, strict=True):
            shift = mean - self._means[node.name]
            largest = max(largest, float(np.abs(shift).max()))
            quantized, scale = (self._constants[name] for name in self._bias(node).input[:2])
            steps = np.rint(shift / numpy_helper.to_array(scale).astype(np.float64))
            value = numpy_helper.to_array(quantized).astype(np.int64) - steps.astype(np.int64)
            limits = np.iinfo(np.int32)
            value = np.clip(value, limits.min, limits.max).astype(np.int32)
            quantized.CopyFrom(numpy_helper.from_array(value, quantized.name))
        return largest
