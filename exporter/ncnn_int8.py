"""Writes an int8 ONNX model's integers and scales into ncnn's files.

ncnn rounds a layer's input to -127..127 with one scale, and weights with one scale per output channel; it has no zero
points, so the ONNX model must be quantized symmetrically. ncnn's scale is the number of steps per unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from segexport.errors import UnsupportedModelError, WorkerCrashed, WorkerFailed
from segexport.exporter.to_onnx import WORKERS
from segexport.exporter.unquantized_onnx import RoundedParts
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker

FLOAT_OPERATORS = ("ConvTranspose", "MatMul")
"""ONNX operators with weights for which ncnn has no int8 layer, or (Gemm) one that finds scales of its own."""


def write_int8(files: Mapping[str, Path], rounded: RoundedParts, context: StepContext) -> tuple[str, list[str]]:
    """Changes pnnx's fp32 `param` and `bin` in place; returns a note, and the outputs of the products that stay float.

    Raises:
        UnsupportedModelError: The activations have zero points, ncnn has no layer for something that pnnx left, or no
            layer has the weights of a quantized product.
    """
    shifted = [name for name, (_, zero, _, _) in rounded.tensors.items() if zero]
    if shifted:
        raise UnsupportedModelError(
            "ncnn has no zero points, and the int8 model has some",
            cause=f"{len(shifted)} of its tensors, {shifted[0]} first",
            hint="quantize it with `symmetric`, as the target ncnn does",
        )
    products = [
        {
            "output": product["output"],
            "scales": product["scales"],
            "input_scale": rounded.tensors[product["input"]][0],
        }
        for product in rounded.products
        if product["input"] in rounded.tensors
    ]
    arguments = {role: str(path) for role, path in files.items()} | {"products": products}
    try:
        with Worker(WORKERS / "ncnn_files_worker.py", needs="ncnn", name="ncnn's files") as worker:
            answer, _ = worker.call("quantize", arguments, timeout_s=context.timeout_s)
    except (WorkerCrashed, WorkerFailed) as error:
        raise UnsupportedModelError(
            "pnnx converts this model and ncnn cannot load the result", cause=error.cause or error.what
        ) from error
    if not answer["names"]:
        raise UnsupportedModelError(
            "none of ncnn's layers can compute this model in int8",
            cause=f"{len(rounded.products)} products are quantized, and no layer with an int8 form has their weights",
            hint="export it with precision fp16",
        )
    kept = f"int8: {len(answer['names'])} of {len(rounded.products)} quantized products keep weights and scales"
    return kept, answer["floats"]
