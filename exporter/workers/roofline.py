"""Estimates the time of a model in int8, float or a mix from its graph: the same on every machine, under any load.

Williams, Waterman, Patterson: Roofline: An Insightful Visual Performance Model for Multicore Architectures (CACM 2009):
an operator takes as long as its arithmetic or its memory traffic, whichever is longer; arithmetic that an instruction
does not fit has a lower ceiling. An 8-bit dot product sums four input channels at once, so a depthwise convolution
gains nothing by it, and loses by the conversion of its sums.

The constants describe one core with AVX-512 VNNI in ONNX Runtime 1.23, fitted to the processor times of trained
networks in several mixes of int8 and float (benchmarks/roofline_times.py). Estimates are only compared with each other,
so that the ratios of the constants matter. Operators without weights are left out: in float they wait for memory, in
int8 they round every element again, and the times measured were equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import onnx

# Nanoseconds
_FLOAT = 0.022  # a multiply-add
_FLOAT_NARROW = 0.035  # of fewer input channels than a dot product sums
_INT8 = 0.006
_INT8_NARROW = 0.055
_BYTE = 0.02  # read from the cache or written to it
_ELEMENT_CONVERTED = 0.3  # to int8 or back, and into the layout that the kernels on the other side want
_TENSOR_CONVERTED = 3000.0  # the start of the operators that convert it
_SUMMED = 4  # input channels of a dot product
_WITHOUT_KERNEL = "ConvTranspose"  # ONNX Runtime computes it in float
_FOLDED = ("Relu", "Clip")  # into the product before them


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product.

    Attributes:
        multiply_adds: Of one run.
        channels: Input channels that each output sums, per position of the window.
        elements: Read and written: of the input, the weights and the output.
    """

    multiply_adds: int
    channels: int
    elements: int

    def nanoseconds(self, *, int8: bool) -> float:
        narrow = self.channels < _SUMMED
        if int8:
            return max(self.multiply_adds * (_INT8_NARROW if narrow else _INT8), self.elements * _BYTE)
        return max(self.multiply_adds * (_FLOAT_NARROW if narrow else _FLOAT), 4 * self.elements * _BYTE)


class Roofline:
    """The estimates of one float model.

    Args:
        model: Its operators have names.
        shapes: Tensor -> its shape for one image; of all inputs, constants and results.

    Attributes:
        products: The products by name.
    """

    def __init__(self, model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.products = {node.name: found for node in model.graph.node if (found := _product(node, shapes))}
        self._float = {node.name for node in model.graph.node if node.op_type == _WITHOUT_KERNEL}
        constants = {value.name for value in model.graph.initializer}
        self._elements = {name: prod(shape) for name, shape in shapes.items() if name not in constants}
        self._made_by = {name: node.name for node in model.graph.node for name in node.output}
        self._read_by: dict[str, set[str]] = {value.name: {""} for value in model.graph.output}
        for node in model.graph.node:
            for name in node.input:
                self._read_by.setdefault(name, set()).add(node.name)
        makers = {node.name: self._made_by.get(node.input[0]) for node in model.graph.node if node.op_type in _FOLDED}
        self._folded = {name: maker for name, maker in makers.items() if maker in self.products}

    def nanoseconds(self, int8: set[str]) -> float:
        """The products' time with these operators in int8, and that of the conversions between int8 and float."""
        int8 = int8 - self._float
        int8 |= {name for name, product in self._folded.items() if product in int8}  # even if they are not rounded
        products = sum(product.nanoseconds(int8=name in int8) for name, product in self.products.items())
        converted = [
            elements
            for name, elements in self._elements.items()
            if len({user in int8 for user in (self._made_by.get(name, ""), *self._read_by.get(name, ()))}) > 1
        ]
        return products + sum(converted) * _ELEMENT_CONVERTED + len(converted) * _TENSOR_CONVERTED


def _product(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> Product | None:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    source, weights, result = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        multiply_adds, channels = prod(result) * prod(weights[1:]), weights[1]
    elif node.op_type == "ConvTranspose":
        multiply_adds, channels = prod(source) * prod(weights[1:]), weights[0]
    else:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        channels = source[-2 if transposed else -1]
        multiply_adds = prod(result) * channels
    return Product(multiply_adds, channels, prod(source) + prod(weights) + prod(result))
