"""Splits a quantized ONNX model into floats and their rounding, for formats that store scales with the tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker


class RoundedParts(NamedTuple):
    """The rounding of the int8 model; see `onnx_unquantize_worker.unquantize`."""

    tensors: dict[str, Sequence[Any]]
    products: list[dict[str, Any]]

    def ranges(self, but: Collection[str] = ()) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each rounded tensor, except `but`."""
        return {
            name: ((low - zero) * scale, (high - zero) * scale)
            for name, (scale, zero, low, high) in self.tensors.items()
            if name not in but
        }


def unquantized_onnx(
    onnx: Path, floats: Path, context: StepContext, *, float_operators: Sequence[str] = ()
) -> RoundedParts:
    """Writes the int8 model `onnx` without its rounding operators to `floats`; weights keep their rounded values.

    Args:
        float_operators: Types of operators that must neither read nor write integers.
    """
    arguments = {"onnx": str(onnx), "out": str(floats), "float_operators": list(float_operators)}
    with Worker(WORKERS / "onnx_unquantize_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
        answer, _ = worker.call("unquantize", arguments, timeout_s=context.timeout_s)
    return RoundedParts(answer["tensors"], answer["products"])


def widened_onnx(onnx: Path, floats: Path, context: StepContext) -> dict[str, int]:
    """Writes the model `onnx` with weights stored as integers (see `StoreWeights`) to `floats`, with float ones.

    Returns:
        Output of each product with such weights -> their bits.
    """
    with Worker(WORKERS / "onnx_unquantize_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
        return worker.call("widen", {"onnx": str(onnx), "out": str(floats)}, timeout_s=context.timeout_s)[0]["bits"]


def clip_tensors(onnx: Path, ranges: Mapping[str, tuple[float, float]], context: StepContext) -> None:
    """Limits tensors of the model `onnx`, in place, to their lowest and highest values."""
    with Worker(WORKERS / "onnx_unquantize_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
        worker.call("clip", {"onnx": str(onnx), "ranges": dict(ranges)}, timeout_s=context.timeout_s)


def clip_inputs(onnx: Path, rounded: RoundedParts, outputs: Collection[str], context: StepContext) -> None:
    """Limits what the products of these outputs read, in the model `onnx`, in place, to the ranges of the rounding."""
    ranges, read = rounded.ranges(), {product["output"]: product["input"] for product in rounded.products}
    arguments = {"onnx": str(onnx), "ranges": {output: ranges[read[output]] for output in outputs}}
    with Worker(WORKERS / "onnx_unquantize_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
        worker.call("clip_inputs", arguments, timeout_s=context.timeout_s)
