"""Lists the convolutions and matrix products of an ONNX export that can run in int8, with float and int8 times."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.errors import Interrupted, SegexportError
from segexport.exporter.targets.layers import Layers, QuantizableLayer
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.process.settled import settled
from segexport.process.worker import Worker
from segexport.recipe.calibration import Calibration

_PROFILED_RUNS = 6


def onnx_layers(
    fp32: ModelArtifact,
    int8: Callable[[], ModelArtifact] | None,
    tensors: Sequence[np.ndarray],
    *,
    threads: int,
    timeout_s: float,
) -> Layers:
    """Returns the graph's products with their float and int8 times; arguments as in `ExportTarget.layers`."""
    with tempfile.TemporaryDirectory() as scratch:
        folded = str(Path(scratch) / "folded.onnx")
        arguments: dict[str, Any] = {"fp32": str(fp32.file("model")), "folded": folded}
        arguments["float_operators"] = list(Calibration().float_operators)

        def asked(profiled: str = "") -> dict:
            """Returns the layers of the fp32 model and, for a file `profiled`, the time of each."""
            with Worker(WORKERS / "onnx_layers_worker.py", needs=ONNX_TOOLS, threads=threads, name="layers") as worker:
                answer, _ = worker.call("layers", arguments, timeout_s=timeout_s)
                if profiled:
                    given = {"model": profiled, "prefix": str(Path(scratch) / "profile"), "runs": _PROFILED_RUNS}
                    answer, _ = worker.call("profile", given, list(tensors), timeout_s=timeout_s)
            return answer

        answer = settled(asked)
        times: list[dict[str, float]] = [{}, {}]
        if int8 is not None:
            try:
                times = [settled(partial(asked, file))["ms"] for file in (folded, str(int8().file("model")))]
            except Interrupted:  # the caller keeps the layers found so far
                raise
            except SegexportError:  # int8 may be impossible; the attempt itself will report why
                times = [{}, {}]
    return Layers(
        tuple(
            QuantizableLayer(name=name, operator=kind, float_ms=times[0].get(name), int8_ms=times[1].get(name))
            for name, kind in answer["layers"]
        ),
        tuple(answer["operators"]),
    )
