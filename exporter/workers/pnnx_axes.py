"""Tensors of more axes than ncnn has, which exist only between reshapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from node_reads import reads
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Shapes

MOST_AXES = 4  # beside a batch axis of size 1
RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})


def is_too_many(sizes: Sequence[int]) -> bool:
    """Whether ncnn has no tensor of these sizes."""
    return len(sizes) - (len(sizes) > 0 and sizes[0] == 1) > MOST_AXES


def reshape(graph: onnx.GraphProto, shapes: Shapes, value: str, made: str, sizes: Sequence[int]) -> NodeProto:
    """A reshape to `sizes`, which become those of `made`."""
    shapes[made] = list(sizes)
    graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), f"{made}.shape"))
    return helper.make_node("Reshape", [value, f"{made}.shape"], [made], f"{made}.reshape")


def join_reshapes(graph: onnx.GraphProto, shapes: Shapes) -> int:
    """Lets a reshape of a reshape read what that one reads, if more than four axes are between; how many.

    Of five axes, pnnx drops the first only if it knows that it is the batch axis, which a reshape may hide.
    """
    makers = {name: node for node in graph.node for name in node.output}
    joined = 0
    for node in graph.node:
        if node.op_type not in RESHAPES:
            continue
        value, after = node.input[0], shapes.get(node.output[0], [])
        while len(shapes.get(value, [])) > MOST_AXES and value in makers and makers[value].op_type in RESHAPES:
            value = makers[value].input[0]
        if value != node.input[0] and after and 0 not in after:
            node.CopyFrom(reshape(graph, shapes, value, node.output[0], after))
            joined += 1
    if joined:
        _drop_unread(graph)
    return joined


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Removes reshapes that nothing reads, the last ones first."""
    read, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if node.op_type not in RESHAPES or node.output[0] in read:
            read.update(reads(node))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
