"""ONNX Runtime: runs the ONNX exports, on the CPU here as on the phone, and on CUDA."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.measure.audit import Ran
from segexport.runtimes.base import WorkerRuntime
from segexport.spec import Format


class OnnxRuntime(WorkerRuntime):
    """Runs `.onnx` files; the provider asked for is the provider used, or it is an error."""

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
