"""Writes an ONNX model operator by operator, each by its rule."""

from __future__ import annotations

import litert_elements
import litert_moves
import litert_reductions
import litert_samples
import litert_windows
from litert_arithmetic import Rule
from litert_graph import LiteRtGraph, Order, channels_last, plain
from litert_source import OnnxSource, SourceNode


def quantize(graph: LiteRtGraph) -> None:
    x = graph.node.inputs[0]
    order = graph.order(x)
    given = graph.read(x, order)
    graph.node.integer = True  # what it writes, where it reads floats
    graph.write("QUANTIZE", [given], order)


RULES: dict[str, Rule] = {
    **litert_elements.RULES,
    **litert_reductions.RULES,
    **litert_moves.RULES,
    **litert_samples.RULES,
    **litert_windows.RULES,
    "QuantizeLinear": quantize,
}

# What XNNPACK computes in int8 with any scale of its input and output, or with the same one. LiteRT's own kernel would
# cut the model that XNNPACK runs into parts; what is missing here is faster between two roundings.
INTEGER = frozenset(
    {
        "Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
        "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Resize", "Slice", "Split", "Sub", "Transpose", "Squeeze",
        "Unsqueeze",
    }
)  # fmt: skip


def write(source: OnnxSource, precision: str, channels_last_ends: frozenset[str]) -> tuple[LiteRtGraph, dict, dict]:
    """Writes every operator.

    Args:
        channels_last_ends: Inputs and outputs to store in the order [N, H, W, C].

    Returns:
        The graph, and name -> tensor of its inputs and of its outputs.
    """
    graph = LiteRtGraph(source, precision)
    inputs = {}
    for name in source.inputs:
        shape = graph.shape(name)
        order = channels_last(len(shape)) if name in channels_last_ends else plain(len(shape))
        graph.node = SourceNode("Input", [], [name], {})
        inputs[name] = graph.output(order)
    for node in source.nodes:
        graph.node = node
        if node.kind not in RULES:
            raise graph.unsupported("LiteRT has no such operator")
        RULES[node.kind](graph)
    outputs = {}
    for name, tensor in source.outputs.items():
        graph.node = SourceNode("Output", [tensor], [f"{name}.end"], {})
        rank = len(graph.shape(tensor))
        order = channels_last(rank) if name in channels_last_ends else plain(rank)
        outputs[name] = _ended(graph, name, tensor, order, taken=[*inputs.values(), *outputs.values()])
    return graph, inputs, outputs


def _ended(graph: LiteRtGraph, name: str, tensor: str, order: Order, taken: list[int]) -> int:
    """Returns an output's tensor; a copy if it is also another input or output; integers instead of booleans."""
    index = graph.read(tensor, order)
    shape = graph.file.shape(index)
    dtype = "float32" if tensor in graph.source.roundings else graph.source.dtypes[tensor]
    if dtype == "bool":
        return graph.temporary("CAST", [index], shape, "int32", name)
    if index in taken or tensor in graph.source.constants:
        inputs = [index, graph.integers(*shape)]
        return graph.temporary("RESHAPE", inputs, shape, dtype, name, newShape=list(shape))
    return index
