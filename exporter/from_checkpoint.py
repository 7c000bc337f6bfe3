"""Converts a training checkpoint to a program: a network of PaddleSeg or PaddleDetection, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segexport.artifact import file_digest
from segexport.exporter.paddledet_network import PaddleDetNetwork
from segexport.exporter.paddleseg_network import Built, PaddleSegNetwork
from segexport.exporter.program import Program
from segexport.importers.checkpoint import find_checkpoint, read_checkpoint
from segexport.importers.checkpoint_fit import require_fit
from segexport.importers.detection_config import is_detection, read_detection_config
from segexport.importers.training_config import read_training_config


class TrainingCheckpoint:
    """A checkpoint and its network configuration.

    Args:
        path: Weights file, or a folder that contains one.
        config: Configuration file of PaddleSeg or PaddleDetection.
        checkout: Folder of the PaddleSeg or PaddleDetection that trained the model; None: the toolchain's.

    Attributes:
        file: The weights file.
        config: The parsed configuration.
        builder: The system that builds the network.

    Raises:
        InputError: A file is missing or not of the expected kind.
    """

    def __init__(self, path: Path, config: Path, checkout: Path | None = None) -> None:
        self.file = find_checkpoint(path)
        if is_detection(config):
            self.config = read_detection_config(config)
            self._network = PaddleDetNetwork(self.config, checkout)
        else:
            self.config = read_training_config(config)
            self._network = PaddleSegNetwork(self.config, checkout)
        self.builder = self._network.title

    def described(self) -> dict[str, Any]:
        """See `PaddleSegNetwork.described`."""
        return self._network.described(checkpoint=file_digest(self.file))

    def program(self, input_size: tuple[int, int] | None) -> Program:
        """Returns the network with the checkpoint's weights; its output is a class mask, or objects with their masks.

        Args:
            input_size: Fixed (width, height) of the network; None: dynamic.

        Raises:
            InputError: The checkpoint cannot be read or does not match the network.
            WorkerFailed: The network cannot be exported.
        """
        weights = read_checkpoint(self.file)

        def all_of_them(network: Built) -> Mapping[str, np.ndarray]:
            require_fit(self.file, weights, network.weights, self.config.file, network.num_classes)
            return weights

        return self._network.program(input_size, all_of_them)
