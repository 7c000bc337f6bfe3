"""Writes the reference's tensors on one image to files, operator by operator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segexport.exporter.program import Op, Program
from segexport.exporter.to_onnx import WORKERS
from segexport.process.worker import Worker

_BOOKKEEPING = frozenset({"XShape", "ReserveSpace", "SavedMean", "SavedVariance", "MeanOut", "VarianceOut"})
_BYTES_AT_ONCE = 192_000_000  # reference tensors that are compared in one run


@dataclass(frozen=True)
class Trace:
    """The values of a program's variables on one image.

    Attributes:
        files: Variable -> .npy file; includes the inputs.
        shapes: Variable -> sizes.
    """

    program: Program
    files: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    sizes_bytes: dict[str, int]

    def groups(self, variables: Sequence[str]) -> Iterator[list[str]]:
        """The variables in order, in groups whose tensors fit into memory."""
        group: list[str] = []
        total = 0
        for name in variables:
            if group and total + self.sizes_bytes[name] > _BYTES_AT_ONCE:
                yield group
                group, total = [], 0
            group.append(name)
            total += self.sizes_bytes[name]
        if group:
            yield group


def trace(program: Program, tensors: Sequence[np.ndarray], folder: Path, timeout_s: float) -> Trace:
    """Runs the program without fusion and writes every tensor that depends on the image into `folder`.

    Raises:
        SegexportError: The program does not run on these tensors.
    """
    names = image_dependent(program)
    program.write(folder, "reference")
    groups, total = [[]], 0
    for name in names:
        total += _bytes(program, name)
        if total > _BYTES_AT_ONCE and groups[-1]:
            groups.append([])
            total = _bytes(program, name)
        groups[-1].append(name)
    arguments = {"prefix": str(folder / "reference"), "groups": groups, "folder": str(folder)}
    with Worker(WORKERS / "paddle_trace_worker.py", needs="paddle", name="reference") as worker:
        answer, _ = worker.call("trace", arguments, list(tensors), timeout_s=timeout_s)
    found = answer["tensors"]
    files = {name: entry["file"] for name, entry in found.items()}
    shapes = {name: tuple(entry["shape"]) for name, entry in found.items()}
    for index, (name, tensor) in enumerate(zip(program.feed_names, tensors, strict=True)):
        files[name], shapes[name] = str(folder / f"feed{index}.npy"), tensor.shape
        np.save(files[name], tensor)
    sizes = {name: Path(file).stat().st_size for name, file in files.items()}
    return Trace(program, files, shapes, sizes)


def _bytes(program: Program, name: str) -> int:
    """Bytes of a tensor by the program's shapes; a dynamic size counts as 256."""
    dims = [size if size > 0 else 256 for size in program.shape(name)]
    return 4 * math.prod(dims)


def image_dependent(program: Program) -> list[str]:
    """The variables that depend on the image, in execution order; sizes and constants are left out."""
    known: dict[str, None] = dict.fromkeys(program.feed_names)
    found: dict[str, None] = {}
    for op in program.compute_ops():
        if op.type != "shape" and any(name in known for name in op.input_names()):
            for name in main_outputs(op):
                if program.vars[name].is_tensor:
                    known[name] = found[name] = None
    return list(found)


def main_outputs(op: Op) -> list[str]:
    """The outputs of an operator, without those for its gradient."""
    return [name for slot, names in op.outputs.items() if slot not in _BOOKKEEPING for name in names]
