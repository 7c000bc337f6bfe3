"""A model that is run on this machine: opened for masks, and opened again for times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.measure import latency
from segexport.measure.parity import ModelUnderTest
from segexport.measure.tiled_session import in_tiles, require_joinable
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions, Session
from segexport.runtimes.watched import with_graph
from segexport.spec import Preprocess


@dataclass(frozen=True)
class LiveModel:
    """An artifact and the options of its runs.

    Attributes:
        name: Name in the comparison.
    """

    name: str
    artifact: ModelArtifact
    options: RunOptions

    def open_session(self, options: RunOptions | None = None) -> Session:
        """Starts the model in a separate process. `options` replace the model's.

        Raises:
            SegexportError: The model cannot be run.
        """
        options = options or self.options
        runtime = runtime_for(self.artifact.manifest.format, options.device, options.runtime)
        return runtime.open(self.artifact, options)

    def open(self, options: RunOptions | None = None) -> ModelUnderTest:
        """Starts the model for a comparison; the caller closes the session."""
        manifest = self.artifact.manifest
        require_joinable(manifest)
        return ModelUnderTest(self.name, in_tiles(self.open_session(options), manifest), manifest, manifest.preprocess)

    def program(
        self, image: np.ndarray, graph: str | None = None, contract: Preprocess | None = None
    ) -> latency.TimedModel:
        """The program to time: this model on one image.

        Args:
            image: uint8 (height, width, 3), RGB.
            graph: The graph that gives the masks (`watched.timed_graph`); None: that of the model's options.
            contract: Replaces the model's preprocessing.
        """
        options = self.options if graph is None else with_graph(self.options, graph)
        manifest = self.artifact.manifest
        tensor, placement = preprocess.example(contract or manifest.preprocess, image)
        return latency.TimedModel(
            lambda: self.open_session(options), preprocess.feed(manifest.inputs, tensor, placement)
        )
