"""Finds how much of a model can remain for a target latency, measured in the target runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.errors import InputError
from segexport.exporter.to_onnx import ToOnnx
from segexport.pipeline.step import StepContext
from segexport.runtimes.base import RunOptions
from segexport.runtimes.ort import OnnxRuntime
from segexport.runtimes.paddle import PaddleRuntime

Where = Literal["onnxruntime", "paddle"]
_TRIES = 6
_ROUNDS = 5
_RUNS = 4  # of each model per round


@dataclass(frozen=True)
class Timed:
    """One attempt: the remaining fraction of multiply-accumulates, and of the time."""

    macs_kept: float
    latency_kept: float


def macs_for_latency(
    make: Callable[[float], ModelArtifact],
    ratio_of: Callable[[ModelArtifact], float],
    wanted: float,
    tries: int = _TRIES,
) -> tuple[float, list[Timed]]:
    """Returns the largest tried fraction of multiply-accumulates that runs in the fraction `wanted` of the time.

    Bisects over fractions; a fraction that cannot be reached counts as too small.

    Args:
        make: Prunes to a fraction of the multiply-accumulates; raises InputError if it is unreachable.
        ratio_of: Measures a model's time relative to the original's.

    Raises:
        InputError: No attempt was fast enough.
    """
    low, high, best = 0.0, 1.0, None
    told: list[Timed] = []
    for _ in range(tries):
        share = (low + high) / 2
        try:
            made = make(share)
        except InputError:
            low = share
            continue
        told.append(Timed(round(share, 4), round(ratio_of(made), 4)))
        if told[-1].latency_kept <= wanted:
            low = best = share
        else:
            high = share
    if best is None:
        least = min((each.latency_kept for each in told), default=1.0)
        raise InputError(
            f"pruning does not bring this model to {wanted:.0%} of its time",
            cause=f"the fastest of {len(told)} candidates took {least:.0%}",
            hint="allow more time",
        )
    return best, told


class Stopwatch:
    """Times pruned models against the original, alternating, in separate processes.

    Args:
        source: The original model.
        where: Runtime to measure in; models are exported first for ONNX Runtime.
    """

    def __init__(self, source: ModelArtifact, where: Where, context: StepContext) -> None:
        self._where, self._context = where, context
        self._folder = tempfile.TemporaryDirectory(prefix="segexport-latency-")
        self._count = 0
        self._original = self._placed(source)
        random = np.random.default_rng(0)
        shapes = [tuple(max(1, size) for size in spec.shape) for spec in source.manifest.inputs]
        self._tensors = [random.standard_normal(shape).astype(np.float32) for shape in shapes]

    def ratio(self, artifact: ModelArtifact) -> float:
        """Returns the median over rounds of the ratio of the median times of model and original."""
        runtime = OnnxRuntime() if self._where == "onnxruntime" else PaddleRuntime()
        options = RunOptions(threads=self._context.threads, timeout_s=self._context.timeout_s)
        placed = self._placed(artifact)
        with runtime.open(self._original, options) as first, runtime.open(placed, options) as second:
            for session in (first, second):
                session.bench(self._tensors, _RUNS)
            ratios = [
                np.median(second.bench(self._tensors, _RUNS)) / np.median(first.bench(self._tensors, _RUNS))
                for _ in range(_ROUNDS)
            ]
        return float(np.median(ratios))

    def _placed(self, artifact: ModelArtifact) -> ModelArtifact:
        if self._where == "paddle":
            return artifact
        self._count += 1
        folder = Path(self._folder.name) / str(self._count)
        folder.mkdir()
        write_artifact(folder, ToOnnx().run(artifact, folder, self._context))
        return read_artifact(folder)

    def close(self) -> None:
        self._folder.cleanup()

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
