"""A model that is run here: opened for masks, and opened anew for times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.measure import latency
from segexport.measure.parity import ModelUnderTest
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions, Session
from segexport.spec import Preprocess


@dataclass(frozen=True)
class LiveModel:
    """An artifact and how it is run.

    Attributes:
        name: What the comparison calls it.
    """

    name: str
    artifact: ModelArtifact
    options: RunOptions

    def open_session(self) -> Session:
        """Starts the model in a process of its own.

        Raises:
            SegexportError: It cannot be run.
        """
        return runtime_for(self.artifact.manifest.format, self.options.device).open(self.artifact, self.options)

    def open(self) -> ModelUnderTest:
        """The same, ready to be compared; who asks for it closes its session."""
        manifest = self.artifact.manifest
        return ModelUnderTest(self.name, self.open_session(), manifest, manifest.preprocess)

    def program(self, image: np.ndarray, contract: Preprocess | None = None) -> latency.Program:
        """What is timed: this model on one image.

        Args:
            image: uint8 (height, width, 3), RGB.
            contract: In place of the model's own preprocessing.
        """
        manifest = self.artifact.manifest
        tensor, placement = preprocess.apply(contract or manifest.preprocess, image)
        return latency.Program(self.open_session, preprocess.feed(manifest.inputs, tensor, placement))
