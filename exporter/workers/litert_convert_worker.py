"""Writes an ONNX model as a LiteRT file. Command: convert."""

from __future__ import annotations

import importlib.metadata

import litert_rules
from litert_source import read


def convert(arguments, _arrays):
    """Writes `out`.

    Args:
        onnx, out: Paths of the files.
        precision: Precision of the constants, as in `litert_graph.LiteRtGraph`.
        channels_last: Inputs and outputs to store in the order [N, H, W, C].
    """
    source = read(arguments["onnx"], litert_rules.INTEGER)
    ends = frozenset(arguments["channels_last"])
    graph, inputs, outputs = litert_rules.write(source, arguments["precision"], ends)
    graph.file.save(arguments["out"], inputs, outputs)
    return {"version": importlib.metadata.version("ai-edge-litert")}, []


COMMANDS = {"convert": convert}
