"""Writes arithmetic on tensors of more axes than ncnn has as the same on few axes, between reshapes.

Neighbouring axes are one axis if each tensor has both, or repeats along both.
"""

from __future__ import annotations

from itertools import groupby
from math import prod

import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes
from pnnx_axes import MOST_AXES, is_too_many, reshape

BROADCAST = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"})


def _few_axes(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, constants: Arrays) -> Others:
    """Replaces arithmetic on too many axes, or on five of which pnnx does not see that one is the batch."""
    (made,), rank = node.output, max(len(shapes.get(name, [])) for name in node.input)
    sizes = [[1] * (rank - len(shapes.get(name, []))) + shapes.get(name, []) for name in node.input]
    after = [max(each) for each in zip(*sizes, strict=True)]
    if rank <= MOST_AXES or any(0 in each for each in sizes):
        return None
    if not is_too_many(after) and all(_keeps_batch(graph, shapes, name) for name in node.input):
        return None
    axes = [axis for axis in range(rank) if after[axis] > 1]
    groups = [list(group) for _, group in groupby(axes, lambda axis: [each[axis] == 1 for each in sizes])]
    if len(groups) > MOST_AXES:
        return None
    nodes, names = [], []
    for number, (name, each) in enumerate(zip(node.input, sizes, strict=True)):
        few, named = [prod(each[axis] for axis in group) for group in groups], f"{made}.few{number}"
        few = few[next((place for place, size in enumerate(few) if size > 1), len(few)) :]
        if name in constants:
            graph.initializer.append(numpy_helper.from_array(constants[name].reshape(few), named))
        else:
            nodes.append(reshape(graph, shapes, name, named, few))
        names.append(named)
    nodes.append(helper.make_node(node.op_type, names, [f"{made}.few"], node.name))
    return [*nodes, reshape(graph, shapes, f"{made}.few", made, after)]


def _keeps_batch(graph: onnx.GraphProto, shapes: Shapes, name: str) -> bool:
    """Whether the first axis is the image's batch axis on the whole way from the model's input."""
    makers = {made: node for node in graph.node for made in node.output}
    while (maker := makers.get(name)) is not None and maker.input:
        if shapes.get(name, [1])[:1] != [1]:
            return False
        name = next((one for one in maker.input if one in makers), "")
    return True


RULES = dict.fromkeys(BROADCAST, _few_axes)
