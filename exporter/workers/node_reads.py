"""What an operator of an ONNX graph reads."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto


def reads(node: NodeProto) -> Iterator[str]:
    """Names that an operator reads, also inside its branches and loops."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from reads(inner)
            yield from (value.name for value in graph.output)
