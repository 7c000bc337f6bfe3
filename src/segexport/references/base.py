"""What exports are compared with: a model that runs beside them (`live`), or a recording (`recorded_reference`)."""

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
    """The original, whose masks or objects exports have to give.

    Attributes:
        artifact: The model; of a recording, its manifest alone.
        identity: Tells it from every other reference: names and digests.
    """

    @property
    def artifact(self) -> ModelArtifact: ...
    @property
    def identity(self) -> tuple[str, ...]: ...

    def require_fit(self, exports: Sequence[Export]) -> None:
        """Raises InputError for an export that cannot be compared with this reference."""

    def with_groups(self, data: Dataset) -> Dataset:
        """The data with the groups that a recording knows, where the data names none itself."""
        ...

    def open(self) -> ModelUnderTest:
        """Ready to answer images; who asks for it closes its session.

        Raises:
            SegexportError: It cannot be run.
        """
        ...

    def shared_preprocess(self, exports: Sequence[ModelArtifact]) -> Preprocess | None:
        """The exports' preprocessing, where the reference has to take it over; None: it keeps its own."""
        ...

    def program(self, image: np.ndarray, ran: ModelUnderTest) -> latency.TimedModel | None:
        """What is timed in turn with the exports; None where the times are known already. `ran`: what `open` gave."""
        ...

    def recheck(self, contradiction: Contradiction, comparison: Comparison, anew: Anew) -> dict[str, Check]:
        """Whether this reference is right, for each export that contradicts it (`recheck`)."""
        ...

    def run(self, ran: ModelUnderTest, comparison: Comparison, timing: latency.Timing | None) -> ReferenceRun:
        """How its answers came about, for the report.

        Args:
            ran: What `open` gave.
            timing: Of `program`; None where nothing was timed.
        """
        ...
