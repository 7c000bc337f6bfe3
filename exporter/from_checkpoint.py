"""A training checkpoint of PaddleSeg becomes a program: PaddleSeg builds the network, the checkpoint fills it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segexport.artifact import file_digest
from segexport.exporter.paddleseg_network import Built, PaddleSegNetwork
from segexport.exporter.program import Program
from segexport.importers.checkpoint import find_checkpoint, read_checkpoint
from segexport.importers.checkpoint_fit import require_fit
from segexport.importers.training_config import read_training_config


class PaddleSegCheckpoint:
    """A checkpoint and the configuration of its network.

    Args:
        path: File of weights, or a folder with one.
        config: PaddleSeg's configuration.
        checkout: Folder of the PaddleSeg that the model was trained with; None: the toolchain's.

    Attributes:
        file: The weights.
        config: What the configuration says.

    Raises:
        InputError: One of them is not what it should be.
    """

    def __init__(self, path: Path, config: Path, checkout: Path | None = None) -> None:
        self.file = find_checkpoint(path)
        self.config = read_training_config(config)
        self._network = PaddleSegNetwork(self.config, checkout)

    def described(self) -> dict[str, Any]:
        """As `PaddleSegNetwork.described`."""
        return self._network.described(checkpoint=file_digest(self.file))

    def program(self, input_size: tuple[int, int] | None) -> Program:
        """The network with the weights of the checkpoint, which ends in a mask of classes.

        Args:
            input_size: (width, height) that the network is written for; None: any.

        Raises:
            InputError: The checkpoint cannot be read, or is not of this network.
            WorkerFailed: PaddleSeg cannot write the network.
        """
        weights = read_checkpoint(self.file)

        def all_of_them(network: Built) -> Mapping[str, np.ndarray]:
            require_fit(self.file, weights, network.weights, self.config.file, network.num_classes)
            return weights

        return self._network.program(input_size, all_of_them)
