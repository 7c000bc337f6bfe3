"""Overlays of a search for Model Explorer: how much each layer's int8 costs the result, its time, its precision."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.report.model_explorer import numbers, words
from segexport.search.candidate import Trial
from segexport.search.space import Space


def of_search(
    space: Space, points: Sequence[Trial], chosen: Trial | None, graph: str, nodes: Sequence[str]
) -> dict[str, dict]:
    """Name -> overlay of an ONNX export.

    Args:
        space: The search space, with the layers and their times.
        points: All candidates.
        chosen: The chosen one; None: fp32 is shipped.
        graph: Name of the graph in the export's file.
        nodes: Names of its operators; layers without an operator of their name are left out.
    """
    there = set(nodes)
    members = {group[0]: group for group in space.groups}
    harm = {
        name: point.distance
        for point in points
        if point.attempt.stage == "layers" and point.distance is not None
        for name in members.get(point.attempt.subject, (point.attempt.subject,))
        if name in there
    }
    layers = [layer for layer in space.layers if layer.name in there]
    in_float = _float_nodes(chosen)
    found = {
        "sensitivity": numbers(graph, "relative change of the scores if only this layer is int8", harm),
        "float_time": numbers(graph, "time in fp32, ms", {layer.name: layer.float_ms for layer in layers}),
        "int8_time": numbers(graph, "time in int8, ms", {layer.name: layer.int8_ms for layer in layers}),
        "precision": words(
            graph,
            "precision of the chosen export",
            {layer.name: "fp32" if in_float is None or layer.name in in_float else "int8" for layer in layers},
        ),
    }
    return {name: content for name, content in found.items() if content}


def _float_nodes(chosen: Trial | None) -> frozenset[str] | None:
    """Names of the layers that stay in float in a candidate; None: all."""
    if chosen is None or chosen.candidate.precision.arithmetic != "int8":
        return None
    return frozenset(chosen.candidate.float_nodes)
