"""Finds the first operator that a converter converts wrongly by cutting, converting and running the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from segexport.artifact import ModelArtifact
from segexport.errors import SegexportError
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker
from segexport.spec import TensorSpec


class _End(NamedTuple):
    """A tensor at which the model can be cut."""

    operator: str
    name: str
    shape: list[int]
    reads: list[str]


def first_wrong(source: ModelArtifact, is_same: Callable[[ModelArtifact, Path], bool], context: StepContext) -> str:
    """Returns the first operator with a wrong result but correct inputs; empty if it cannot be determined.

    Bisects the operators before a wrong tensor until one remains. If a parallel branch is already wrong, continues
    there.

    Args:
        source: The ONNX model whose conversion is wrong.
        is_same: Converts a cut model into an empty folder, runs both, and returns whether they agree.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        Worker(WORKERS / "onnx_cut_worker.py", needs=ONNX_TOOLS, name="onnx") as worker,
    ):
        answer, _ = worker.call("ends", {"onnx": str(source.file("model"))}, timeout_s=context.timeout_s)
        ends, known = [_End(*end) for end in answer["ends"]], {}

        def is_right(end: _End) -> bool:
            if end.name not in known:
                folder = Path(scratch) / str(len(known))
                (folder / "made").mkdir(parents=True)
                arguments = {"end": end.name, "out": str(folder / "model.onnx")}
                worker.call("cut", arguments, timeout_s=context.timeout_s)
                spec = TensorSpec(name=end.name, dtype="float32", shape=tuple(end.shape))
                file = source.manifest.files[0].model_copy(update={"path": "model.onnx"})
                manifest = source.manifest.model_copy(update={"outputs": (spec,), "files": (file,)})
                try:
                    known[end.name] = is_same(ModelArtifact(folder, manifest), folder / "made")
                except SegexportError:  # the cut model crashes or does not convert
                    known[end.name] = False
            return known[end.name]

        found = None
        while ends and not is_right(ends[-1]):
            low, high = 0, len(ends) - 1
            while low < high:
                middle = (low + high) // 2
                low, high = (middle + 1, high) if is_right(ends[middle]) else (low, middle)
            found = ends[high]
            ends = _up_to(ends[:high], list(found.reads))
            wrong = [end for end in ends if end.name in found.reads and not is_right(end)]
            ends = _up_to(ends, [wrong[0].name]) if wrong else []
    return f"{found.operator} ({found.name})" if found is not None else ""


def _up_to(ends: list[_End], names: list[str]) -> list[_End]:
    """Returns the ends that lead to one of the tensors, including these."""
    wanted, kept = set(names), []
    for end in reversed(ends):
        if end.name in wanted:
            kept.append(end)
            wanted |= set(end.reads)
    return kept[::-1]
