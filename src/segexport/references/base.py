"""The reference of a check: a model that runs beside the exports (`live`), or a recording (`recorded_reference`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.judge.results import Export, ReferenceRun
from segexport.measure import latency
from segexport.measure.parity import Comparison, ModelUnderTest
from segexport.references.recheck import Anew, Contradiction
from segexport.spec import Preprocess
from segexport.verdict import Check


class Reference(Protocol):
    """The original, whose masks or objects exports must reproduce.

    Attributes:
        artifact: The model; for a recording, only its manifest.
        identity: Names and digests that identify it.
    """

    @property
    def artifact(self) -> ModelArtifact: ...
    @property
    def identity(self) -> tuple[str, ...]: ...

    def require_fit(self, exports: Sequence[Export]) -> None:
        """Raises InputError for an export that cannot be compared with this reference."""

    def with_groups(self, data: Dataset) -> Dataset:
        """The data with the recorded groups, if the data has none."""
        ...

    def open(self) -> ModelUnderTest:
        """Opens it for predictions; the caller closes the session.

        Raises:
            SegexportError: It cannot be run.
        """
        ...

    def shared_preprocess(self, exports: Sequence[ModelArtifact]) -> Preprocess | None:
        """The exports' preprocessing if the reference must use it; None: it keeps its own."""
        ...

    def program(self, image: np.ndarray, ran: ModelUnderTest) -> latency.TimedModel | None:
        """The program to time alternately with the exports; None if times are recorded. `ran`: the result of `open`."""
        ...

    def recheck(self, contradiction: Contradiction, comparison: Comparison, anew: Anew) -> dict[str, Check]:
        """Tests this reference for each export that contradicts it (`recheck`)."""
        ...

    def run(self, ran: ModelUnderTest, comparison: Comparison, timing: latency.Timing | None) -> ReferenceRun:
        """Describes for the report how its predictions were made.

        Args:
            ran: The result of `open`.
            timing: The times of `program`; None if it was not timed.
        """
        ...
