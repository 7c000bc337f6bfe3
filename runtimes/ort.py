"""ONNX Runtime, on the CPU and on CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segexport.files.model_format import Format
from segexport.runtimes.base import WorkerRuntime

if TYPE_CHECKING:
    from segexport.measure.audit import Ran


class OnnxRuntime(WorkerRuntime):
    """Runs `.onnx` files; opening fails if the requested provider is not the one in use."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    runs = (Format.ONNX,)
    profiles = True
    worker = "onnxruntime_worker.py"
    needs = "onnxruntime"

    def no_fp16(self, ran: Sequence[Ran]) -> str:
        if any(one.is_product and one.provider != "CPUExecutionProvider" for one in ran):
            return ""
        return "ONNX Runtime has no fp16 kernels for this CPU: weights are fp16, the arithmetic here is fp32"
