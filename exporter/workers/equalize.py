"""Cross-layer equalization: equalizes channel ranges between two convolutions, so that one scale fits all channels.

Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction (ICCV 2019), section 4.1. The
factors are rounded to powers of two: then only the exponents of products and sums change, and the float model's outputs
are equal bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

# f(s x) = s f(x) for every s > 0 in each channel, so a factor passes through.
_PASSES = frozenset(
    {"Relu", "PRelu", "LeakyRelu", "Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
)
_ROUNDS = 20  # a chain of convolutions converges in a few


@dataclass(frozen=True)
class Pair:
    """Two convolutions; every operator between them passes a positive factor through."""

    first: onnx.NodeProto
    second: onnx.NodeProto


def equalize(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Equalizes, in place, every pair whose equalization changes no output.

    Returns:
        The names of each pair whose weights changed.
    """
    held = {value.name: value for value in model.graph.initializer}
    weights = {name: np.array(numpy_helper.to_array(value)) for name, value in held.items() if value.data_type == 1}
    pairs, changed = find_pairs(model, set(weights)), {}
    for _ in range(_ROUNDS):
        settled = True
        for pair in pairs:
            if scale_pair(pair, weights):
                changed[pair.first.name, pair.second.name] = True
                settled = False
        if settled:
            break
    for pair in pairs:
        for name in (*pair.first.input[1:], *pair.second.input[1:]):
            if name:
                held[name].CopyFrom(numpy_helper.from_array(weights[name], name))
    return list(changed)


def find_pairs(model: onnx.ModelProto, weights: set[str]) -> list[Pair]:
    """Pairs of convolutions: only the second reads the first, and neither shares its weights."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}

    def own(node: onnx.NodeProto) -> bool:
        return all(name in weights and len(readers[name]) == 1 for name in node.input[1:] if name)

    found = []
    for first in model.graph.node:
        if first.op_type != "Conv" or not own(first):
            continue
        node = first
        while node.output[0] not in outputs and len(users := readers.get(node.output[0], [])) == 1:
            before, node = node.output[0], users[0]
            if before != node.input[0] or len(node.output) > 1:
                break
            if node.op_type == "Conv" and own(node):
                found.append(Pair(first, node))
            if node.op_type not in _PASSES:
                break
    return found


def scale_pair(pair: Pair, weights: dict[str, np.ndarray]) -> bool:
    """Divides the first convolution's output channels by their factors and multiplies the second's input channels."""
    one, two = weights[pair.first.input[1]], weights[pair.second.input[1]]
    groups = next((attribute.i for attribute in pair.second.attribute if attribute.name == "group"), 1)
    grouped = two.reshape(groups, two.shape[0] // groups, *two.shape[1:])  # (groups, out, in, ...)
    ranges = np.abs(grouped).max(axis=(1, *range(3, grouped.ndim))).reshape(-1)
    factors = power_of_two_factors(np.abs(one).reshape(one.shape[0], -1).max(axis=1), ranges)
    if (factors == 1).all():
        return False
    for name in pair.first.input[1:]:
        if name:
            weights[name] = weights[name] / factors.reshape(-1, *([1] * (weights[name].ndim - 1)))
    spread = factors.reshape(groups, 1, grouped.shape[2], *([1] * (grouped.ndim - 3)))
    weights[pair.second.input[1]] = (grouped * spread).reshape(two.shape)
    return True


def power_of_two_factors(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """sqrt(r1 / r2) of section 4.1, rounded to the nearest power of two; 1 for a channel of zeros.

    Args:
        first: Largest magnitude of each output channel's weights in the first convolution.
        second: Largest magnitude of each input channel's weights in the second convolution.
    """
    alive = (first > 0) & (second > 0)
    ratio = np.divide(first, second, out=np.ones_like(first), where=alive)
    return np.exp2(np.rint(np.log2(ratio) / 2)).astype(np.float32)
