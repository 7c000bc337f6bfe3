"""The reference of a check: a model that runs beside the exports (`live`), or a recording (`recorded_reference`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.judge.results import Export, ReferenceRun
from segexport.measure import latency
from segexport.measure.mask_proof import MaskProof
from segexport.measure.parity import Comparison, ModelUnderTest
from segexport.references.recheck import Again, Contradiction
from segexport.runtimes.base import SessionInfo
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

    def open_again(self) -> ModelUnderTest:
        """Opens it to test its predictions: on the CPU, by the plain program. The caller closes the session."""
        ...

    def shared_preprocess(self, exports: Sequence[ModelArtifact]) -> Preprocess | None:
        """The exports' preprocessing if the reference must use it; None: it keeps its own."""
        ...

    def program(self, image: np.ndarray, graph: str, contract: Preprocess) -> latency.TimedModel | None:
        """The program to time alternately with the exports; None if times are recorded.

        Args:
            graph: The graph that was proven to give the masks (`watched.timed_graph`).
            contract: The preprocessing of the comparison.
        """
        ...

    def recheck(self, contradiction: Contradiction, comparison: Comparison, again: Again) -> dict[str, Check]:
        """Tests this reference for each export that contradicts it (`recheck`).

        Args:
            again: Compares the exports with the result of `open_again`, on some images.
        """
        ...

    def run(
        self, info: SessionInfo, proof: MaskProof | None, comparison: Comparison, timing: latency.Timing | None
    ) -> ReferenceRun:
        """Describes for the report how its predictions were made.

        Args:
            info, proof: Those of the session that was opened.
            timing: The times of `program`; None if it was not timed.
        """
        ...
