"""A reference that is run together with the exports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.judge.results import REFERENCE, Export, ReferenceRun
from segexport.judge.times import latency_of
from segexport.measure import latency
from segexport.measure.mask_proof import MaskProof
from segexport.measure.parity import Comparison, ModelUnderTest
from segexport.recipe.schema import CheckRecipe
from segexport.references.live_model import LiveModel
from segexport.references.recheck import Again, Contradiction, rechecked
from segexport.runtimes.base import RunOptions, SessionInfo
from segexport.runtimes.watched import with_graph
from segexport.spec import Preprocess
from segexport.verdict import Check


@dataclass(frozen=True)
class LiveReference:
    """A model and the options of its runs; a `Reference`."""

    artifact: ModelArtifact
    options: RunOptions = field(default_factory=RunOptions)

    @classmethod
    def of(cls, artifact: ModelArtifact, check: CheckRecipe) -> LiveReference:
        """Builds it with a check's options."""
        options = RunOptions(check.reference_device, check.threads, check.timeout_s)
        return cls(artifact, with_graph(options, "watched" if check.timing_seconds else "plain"))

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.artifact.manifest.name, self.artifact.digest, "")

    @property
    def _model(self) -> LiveModel:
        return LiveModel(REFERENCE, self.artifact, self.options)

    def require_fit(self, exports: Sequence[Export]) -> None:
        """Accepts every export: a wrong one is found by its masks."""

    def with_groups(self, data: Dataset) -> Dataset:
        return data

    def open(self) -> ModelUnderTest:
        return self._model.open()

    def open_again(self) -> ModelUnderTest:
        return self._model.open(with_graph(replace(self.options, device="cpu"), "plain"))

    def shared_preprocess(self, exports: Sequence[ModelArtifact]) -> Preprocess | None:
        """The exports' preprocessing if the model's size is dynamic and theirs is fixed: both need the same tensor."""
        first, *others = (export.manifest.preprocess for export in exports) if exports else (None,)
        free = -1 in self.artifact.manifest.image.shape[2:]
        shared = all(other == first for other in others)
        return first if free and shared and first != self.artifact.manifest.preprocess else None

    def program(self, image: np.ndarray, graph: str, contract: Preprocess) -> latency.TimedModel:
        return self._model.program(image, graph, contract)

    def recheck(self, contradiction: Contradiction, comparison: Comparison, again: Again) -> dict[str, Check]:
        """Runs the model again in a fresh process, on the CPU, by the plain program."""
        return rechecked(contradiction, comparison, again, same_device=self.options.device == "cpu")

    def run(
        self, info: SessionInfo, proof: MaskProof | None, comparison: Comparison, timing: latency.Timing | None
    ) -> ReferenceRun:
        on_gpu, notes = self.options.device.startswith("gpu"), info.notes
        if not on_gpu:
            notes = (*notes, "the reference ran on the CPU, as a substitute for a GPU")
        times = latency_of(timing, info, comparison.reference, comparison.preprocess_ms)
        return ReferenceRun(self.artifact, info, on_gpu, times, timing, None, notes, proof)
