"""The LiteRT (TensorFlow Lite) runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.measure.audit import Ran
from segexport.runtimes.base import WorkerRuntime
from segexport.spec import Format


class LiteRtRuntime(WorkerRuntime):
    """Runs `.tflite` files with XNNPACK, as an Android app does by default."""

    name = "litert"
    title = "LiteRT"
    runs = (Format.LITERT,)
    profiles = True
    worker = "litert_worker.py"
    needs = "ai_edge_litert"

    def no_fp16(self, ran: Sequence[Ran]) -> str:
        return "weights are fp16; LiteRT computes in fp32 on a CPU unless the app asks for fp16"
