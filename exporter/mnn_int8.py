"""Passes activation ranges and weight scales to MNN's converter, layer by layer.

The converter rounds a convolution's weights with the given scales (`--compressionParamsFile`, the message `Pipeline` of
its `MNN_compression.proto`, as JSON). Weights that are already on the grid do not change, so the file contains the
integers that segexport's quantization chose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segexport.exporter.unquantized_onnx import clip_tensors, unquantized_onnx
from segexport.pipeline.step import StepContext

_PRODUCTS = ("Conv",)  # MNN 3.6.1 cannot read the int8 matrix products that it writes
# On x86, MNN 3.6.1 ignores the sign in int8 max pooling, and computes int8 averages and ReLUs of sums wrongly.
_FLOAT_OPERATORS = ("MaxPool", "AveragePool", "GlobalAveragePool", "Relu")
_LOWEST, _HIGHEST = -128, 127


def for_mnn(onnx: Path, floats: Path, context: StepContext) -> tuple[Path, str]:
    """Splits an int8 ONNX model for MNN's converter: writes the float model to `floats`, and its rounding beside it.

    What neither enters nor leaves an int8 layer stays float, but limited to its range: on an image that exceeds the
    ranges, layers behind would otherwise get values that the source never gives them.

    Returns the file of the rounding, and a note.
    """
    told = floats.with_name("int8.json")
    rounded = unquantized_onnx(onnx, floats, context, float_operators=_FLOAT_OPERATORS)
    layers = compression(rounded.tensors, rounded.products)
    told_of = {end["name"] for layer in layers for end in (*layer["input"], *layer["output"])}
    clip_tensors(floats, rounded.ranges(but=told_of), context)
    content = {"version": "3.6.1", "algo": [{"type": "QUANTIZE", "quantParams": {"layer": layers}}]}
    told.write_text(json.dumps(content), encoding="utf-8")
    return told, f"int8: {len(layers)} of {len(rounded.products)} quantized products keep weights and scales"


def compression(tensors: Mapping[str, Sequence[Any]], products: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the layers that compute in int8; arguments as returned by `onnx_unquantize_worker.unquantize`.

    The last products, which compute the scores, stay float: MNN would round the scores without benefit. MNN names a
    product with a fused ReLU by the ReLU's output.
    """
    layers = []
    for product in products:
        takes, makes = product["input"], product["end"]
        rounded = takes in tensors and makes in tensors and not product["is_last"]
        if product["operator"] in _PRODUCTS and rounded:
            weight = {"name": product["output"], "scales": product["scales"], "clampMin": _LOWEST, "clampMax": _HIGHEST}
            layer = {"input": [_activation(takes, tensors[takes])], "weight": [weight]}
            layers.append({**layer, "output": [_activation(makes, tensors[makes])]})
    return layers


def _activation(name: str, rounded: Sequence[Any]) -> dict[str, Any]:
    """Returns a tensor's quantization parameters; shifts unsigned integers, because MNN's are signed."""
    scale, zero, low, _ = rounded
    bounds = {"clampMin": _LOWEST, "clampMax": _HIGHEST}
    return {"name": name, "bits": 8, "scales": [scale], "zeroPoint": zero - low + _LOWEST, **bounds}
