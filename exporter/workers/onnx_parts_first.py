"""Takes parts of a tensor before a transpose that moves the batch axis, instead of after it.

Attention computes queries, keys and values in one product: [batch, tokens, 3, heads, width], transposed to [3, batch,
heads, tokens, width], of which it takes each third. ncnn's tensors have no batch axis, so no other axis can take its
place. Here each third is a slice of [batch, tokens, 3 * heads * width] and is transposed by itself; the values are the
same.
"""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper


def take_parts_first(graph: GraphProto, shapes: dict[str, list[int]]) -> int:
    """Rewrites each transpose whose readers take single indices of its first axis; returns their number.

    Args:
        shapes: Sizes of the graph's tensors.
    """
    changed = 0
    for node in [node for node in graph.node if node.op_type == "Transpose"]:
        axes, sizes = _attributes(node).get("perm", []), shapes.get(node.input[0], [])
        if len(axes) < 2 or axes[0] == 0 or axes[1] != 0 or len(axes) != len(sizes) or not all(sizes):
            continue
        parts, readers = _parts(graph, node.output[0])
        if not parts:
            continue
        made = _parts_first(graph, node, axes, sizes, parts)
        place = next(index for index, one in enumerate(graph.node) if one is node)
        for offset, one in enumerate(made):
            graph.node.insert(place + offset, one)
        for one in (node, *readers):
            graph.node.remove(one)
        changed += 1
    return changed


def _parts(graph: GraphProto, name: str) -> tuple[dict[str, int], list[NodeProto]]:
    """Returns each part of a tensor -> its index in the first axis, and the operators that take the parts.

    Without parts if anything else reads the tensor.
    """
    parts, taking = {}, []
    for reader in (node for node in graph.node if name in node.input):
        if reader.op_type == "Slice":
            start, end, axes, steps = (_given(graph, reader, at) for at in (1, 2, 3, 4))
            is_one = axes == [0] and steps in (None, [1]) and start and end == [start[0] + 1] and start[0] >= 0
            indices = start if is_one else None
        elif reader.op_type == "Split" and _attributes(reader).get("axis", 0) == 0:
            sizes = _given(graph, reader, 1) or _attributes(reader).get("split") or [1] * len(reader.output)
            indices = list(range(len(sizes))) if set(sizes) == {1} else None
        else:
            indices = None
        if indices is None:
            return {}, []
        taking.append(reader)
        for output, index in zip(reader.output, indices, strict=True):
            for squeeze in (node for node in graph.node if output in node.input):
                axes = _given(graph, squeeze, 1) or _attributes(squeeze).get("axes")
                if squeeze.op_type != "Squeeze" or axes != [0]:
                    return {}, []
                parts[squeeze.output[0]] = index
                taking.append(squeeze)
    kept = {output.name for output in graph.output} - parts.keys()
    return ({}, []) if kept & {name, *(made for one in taking for made in one.output)} else (parts, taking)


def _parts_first(
    graph: GraphProto, node: NodeProto, axes: list[int], sizes: list[int], parts: dict[str, int]
) -> list[NodeProto]:
    """Returns the operators that compute the parts from the transpose's input."""
    name, taken = node.output[0], axes[0]
    width = prod(sizes[taken + 1 :])

    def constant(name: str, *values: int) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    flat = constant(f"{name}.flat", sizes[0], prod(sizes[1:taken]), sizes[taken] * width)
    rest = constant(f"{name}.rest", *(size for axis, size in enumerate(sizes) if axis != taken))
    last = constant(f"{name}.last", 2)
    made = [helper.make_node("Reshape", [node.input[0], flat], [f"{name}.whole"])]
    for part, index in parts.items():
        bounds = (constant(f"{part}.start", index * width), constant(f"{part}.end", (index + 1) * width))
        made += [
            helper.make_node("Slice", [f"{name}.whole", *bounds, last], [f"{part}.slice"]),
            helper.make_node("Reshape", [f"{part}.slice", rest], [f"{part}.apart"]),
            helper.make_node("Transpose", [f"{part}.apart"], [part], perm=[axis - (axis > taken) for axis in axes[1:]]),
        ]
    return made


def _given(graph: GraphProto, node: NodeProto, index: int) -> list[int] | None:
    """Returns an input's constant values; None if it has none."""
    name = node.input[index] if index < len(node.input) else ""
    constants = (one for one in graph.node if one.op_type == "Constant" and one.output[0] == name)
    values = [one for one in graph.initializer if one.name == name] or [_attributes(one)["value"] for one in constants]
    return numpy_helper.to_array(values[0]).reshape(-1).tolist() if name and values else None


def _attributes(node: NodeProto) -> dict:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
