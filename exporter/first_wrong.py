"""Finds the first operator that a converter converts wrongly by cutting, converting and running parts of the model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker
from segexport.spec import TensorSpec

BUDGET_S = 60.0
"""Longest search, in seconds; after it, the answer is how far the search came."""

Compare = Callable[[ModelArtifact, Path, Sequence[np.ndarray]], tuple[list[np.ndarray], list[bool]]]
"""Runs a part of the model on its inputs, converts it into an empty folder and runs the result.

Returns the part's outputs, and whether the result has each of them.
"""


class _Place(NamedTuple):
    """A place at which the model can be cut in two: the operators before it, and the tensors that cross it."""

    at: int
    crossing: list[str]


class _End(NamedTuple):
    """A tensor at which the model can be cut, and the operator that computes it."""

    at: int
    operator: str
    name: str
    reads: list[str]


class _Late(Exception):
    """The search has used its time."""


def first_wrong(source: ModelArtifact, tensors: Sequence[np.ndarray], compare: Compare, context: StepContext) -> str:
    """Returns where the conversion goes wrong: `from Conv (name) on`, or `between A and B`; empty if it is unknown.

    Halves the part that is wrong, feeding each half with the source's own tensors, so that all conversions together
    are about as large as one of the whole model. Then bisects the tensors of the part that is left. If that part is
    right when it is converted alone, the fault needs the operators before it; the last larger part that was wrong is
    searched instead.

    Args:
        source: The ONNX model whose conversion is wrong.
        tensors: Its input tensors.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        Worker(WORKERS / "onnx_cut_worker.py", needs=ONNX_TOOLS, name="onnx") as worker,
    ):
        search = _Search(source, worker, Path(scratch), compare, context)
        places = search.places
        values = dict(zip((spec.name for spec in source.manifest.inputs), tensors, strict=True))
        low, high, since = (0, values), len(places) - 1, (0, values)
        try:
            while high - low[0] > 1:
                place, values = low
                middle = (place + high) // 2
                new = [name for name in places[middle].crossing if name not in values]
                outputs, same = search.compared(place, values, new)
                if all(same):
                    known = {**values, **dict(zip(new, outputs, strict=True))}
                    low = middle, {name: known[name] for name in places[middle].crossing}
                else:
                    high, since = middle, low
            found = search.first_end(low, high)
            if not found and since[0] != low[0]:
                found = search.first_end(since, high)
        except _Late:
            before, after = (places[at].crossing[-1] for at in (low[0], high))
            return f"between {before} and {after}"
    return f"from {found} on" if found else ""


class _Search:
    """Cuts and compares parts of one model."""

    def __init__(
        self, source: ModelArtifact, worker: Worker, scratch: Path, compare: Compare, context: StepContext
    ) -> None:
        self._source, self._worker, self._scratch, self._compare = source, worker, scratch, compare
        self._timeout_s, self._started, self._parts = context.timeout_s, time.monotonic(), 0
        answer, _ = worker.call("places", {"onnx": str(source.file("model"))}, timeout_s=context.timeout_s)
        self.places = [_Place(*place) for place in answer["places"]]
        self._ends, self._sizes = [_End(*end) for end in answer["ends"]], answer["sizes"]

    def compared(
        self, place: int, values: dict[str, np.ndarray], ends: list[str]
    ) -> tuple[list[np.ndarray], list[bool]]:
        """Compares the tensors `ends`, computed from those that cross a place.

        Raises:
            _Late: There is no time left.
        """
        if time.monotonic() - self._started > BUDGET_S:
            raise _Late
        folder = self._scratch / str(self._parts)
        (folder / "made").mkdir(parents=True)
        self._parts += 1
        arguments = {"starts": self.places[place].crossing, "ends": ends, "out": str(folder / "model.onnx")}
        answer, _ = self._worker.call("cut", arguments, timeout_s=self._timeout_s)
        before = self._source.manifest
        own = {spec.name: spec for spec in before.inputs}
        manifest = before.model_copy(
            update={
                "inputs": tuple(own.get(name) or self._spec(name) for name in answer["inputs"]),
                "outputs": tuple(map(self._spec, ends)),
                "files": (before.files[0].model_copy(update={"path": "model.onnx"}),),
            }
        )
        given = [values[name] for name in answer["inputs"]]
        return self._compare(ModelArtifact(folder, manifest), folder / "made", given)

    def first_end(self, start: tuple[int, dict[str, np.ndarray]], high: int) -> str:
        """The first operator between two places with a wrong result but correct inputs; empty if all are right.

        If a parallel branch is already wrong, continues there.
        """
        (place, values), known = start, {}
        ends = [end for end in self._ends if self.places[place].at <= end.at < self.places[high].at]

        def is_right(end: _End) -> bool:
            if end.name not in known:
                known[end.name] = all(self.compared(place, values, [end.name])[1])
            return known[end.name]

        found = None
        while ends and not is_right(ends[-1]):
            low, top = 0, len(ends) - 1
            while low < top:
                middle = (low + top) // 2
                low, top = (middle + 1, top) if is_right(ends[middle]) else (low, middle)
            found = ends[top]
            ends = _up_to(ends[:top], list(found.reads))
            wrong = [end for end in ends if end.name in found.reads and not is_right(end)]
            ends = _up_to(ends, [wrong[0].name]) if wrong else []
        return f"{found.operator} ({found.name})" if found is not None else ""

    def _spec(self, name: str) -> TensorSpec:
        return TensorSpec(name=name, dtype="float32", shape=tuple(self._sizes[name]))


def _up_to(ends: list[_End], names: list[str]) -> list[_End]:
    """Returns the ends that lead to one of the tensors, including these."""
    wanted, kept = set(names), []
    for end in reversed(ends):
        if end.name in wanted:
            kept.append(end)
            wanted |= set(end.reads)
    return kept[::-1]
