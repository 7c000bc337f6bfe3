"""What MNN's converter is told of int8: our ranges of activations and scales of weights, layer by layer.

The converter rounds the weights of a convolution by the scales that it is given (`--compressionParamsFile`, the message
`Pipeline` of its `MNN_compression.proto`, as JSON). Weights that lie on their grid already come out as they are, so the
file holds the integers that our own quantization chose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker

_PRODUCTS = ("Conv",)  # MNN 3.6.1 writes products of matrices in int8 so that it cannot read them
# On x86, MNN 3.6.1 takes the largest of integers without their sign, and averages them otherwise than it should.
_FLOAT_OPERATORS = ("MaxPool", "AveragePool", "GlobalAveragePool")
_LOWEST, _HIGHEST = -128, 127


def unquantized_onnx(onnx: Path, folder: Path, context: StepContext) -> tuple[Path, Path, str]:
    """An int8 ONNX model as MNN's converter takes it: the floats, what it is told of them, and a note."""
    floats, told = folder / "float.onnx", folder / "int8.json"
    arguments = {"onnx": str(onnx), "out": str(floats), "float_operators": _FLOAT_OPERATORS}
    with Worker(WORKERS / "onnx_unquantize_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
        answer, _ = worker.call("unquantize", arguments, timeout_s=context.timeout_s)
    layers = compression(answer["tensors"], answer["products"])
    content = {"version": "3.6.1", "algo": [{"type": "QUANTIZE", "quantParams": {"layer": layers}}]}
    told.write_text(json.dumps(content), encoding="utf-8")
    return floats, told, f"int8: {len(layers)} of {len(answer['products'])} quantized products keep weights and scales"


def compression(tensors: Mapping[str, Sequence[Any]], products: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The layers that compute in int8; arguments as `onnx_unquantize_worker.unquantize` answers them.

    The last products, which give the scores, stay float: MNN would round the scores for nothing. Of a product whose
    ReLU is fused with it, MNN calls the layer by the ReLU's output.
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
    """A tensor's rounding; MNN's integers have a sign, so that those without one move down."""
    scale, zero, low, _ = rounded
    bounds = {"clampMin": _LOWEST, "clampMax": _HIGHEST}
    return {"name": name, "bits": 8, "scales": [scale], "zeroPoint": zero - low + _LOWEST, **bounds}
