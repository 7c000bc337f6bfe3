"""Overlays for Google's Model Explorer: a value for each operator, in its node-data JSON.

A file holds, for each graph, `results`: node id -> `value`, and colours by `gradient` or `bgColor` (the classes
`ModelNodeData`, `GraphNodeData` and `NodeDataResult` of ai-edge-model-explorer). The ids are those that the adapter
model-explorer-onnx gives to operators: their names in the file, which Netron shows too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from segexport.diagnose.schema import Diagnosis
from segexport.files.atomic import write_file

FOLDER = "model_explorer"
LOW_RGB, HIGH_RGB = "#ffffff", "#d55e00"
_PRECISION_COLORS = {"int8": "#56b4e9", "fp16": "#009e73", "fp32": "#f0e442"}


def write_overlays(folder: Path, files: Mapping[str, dict]) -> None:
    """Writes overlays into `folder/model_explorer`: name -> content; nothing if there is none.

    Raises:
        StorageError: A file cannot be written.
    """
    for name, content in files.items():
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_file(folder / FOLDER / f"{name}.json", text + "\n")


def of_diagnosis(diagnosis: Diagnosis) -> dict[str, dict]:
    """The overlays of a diagnosis: local and accumulated error, and the precision of every layer.

    Empty if the export's format has no names of operators, or Model Explorer does not read it.
    """
    if not diagnosis.graph:
        return {}
    local = {node: layer.score for layer, node in _nodes(diagnosis) if layer.score is not None}
    accumulated = {
        node: layer.accumulated.relative for layer, node in _nodes(diagnosis) if layer.accumulated is not None
    }
    precision = {
        node: "int8"
        if layer.quantized is not None
        else "fp32"
        if diagnosis.precision == "int8"
        else diagnosis.precision
        for layer, node in _nodes(diagnosis)
    }
    found = {
        "local_error": numbers(diagnosis.graph, f"error of the layer alone, {diagnosis.unit}", local),
        "accumulated_error": numbers(diagnosis.graph, "largest error from the image on, of the range", accumulated),
        "precision": words(diagnosis.graph, "precision", precision),
    }
    return {name: content for name, content in found.items() if content}


def _nodes(diagnosis: Diagnosis) -> Iterator[tuple]:
    for layer in diagnosis.layers:
        for node in layer.nodes:
            yield layer, node


def numbers(graph: str, name: str, values: Mapping[str, float | None]) -> dict:
    """An overlay of numbers: white for the least, orange for the largest; empty without values."""
    finite = {
        node: {"value": float(value)} for node, value in values.items() if value is not None and math.isfinite(value)
    }
    if not finite:
        return {}
    gradient = [{"stop": 0, "bgColor": LOW_RGB}, {"stop": 1, "bgColor": HIGH_RGB}]
    return {graph: {"name": name, "results": finite, "gradient": gradient}}


def words(graph: str, name: str, values: Mapping[str, str]) -> dict:
    """An overlay of names, such as precisions, each in a colour of its own; empty without values."""
    results = {
        node: {"value": value, "bgColor": _PRECISION_COLORS.get(value, "#cccccc")} for node, value in values.items()
    }
    return {graph: {"name": name, "results": results, "showExpandedSummaryOnGroupNode": True}} if results else {}
