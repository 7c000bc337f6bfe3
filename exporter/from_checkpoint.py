"""A training checkpoint of PaddleSeg becomes a program: PaddleSeg builds the network, the checkpoint fills it.

PaddleSeg runs in a process of its own, in its toolchain's Python, or from a checkout of the user's own.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from segexport.artifact import digest_of, file_digest
from segexport.errors import InputError, WorkerFailed
from segexport.exporter import pir, program
from segexport.exporter.program import Program
from segexport.importers.checkpoint import find_checkpoint, read_checkpoint
from segexport.importers.checkpoint_fit import require_fit
from segexport.importers.training_config import TrainingConfig, read_training_config
from segexport.pipeline.step import tool_versions
from segexport.process.worker import Worker

WORKER = Path(__file__).parent / "workers" / "paddleseg_worker.py"
MODULE = "paddleseg"
_LONGEST_S = 1800.0  # to build and trace the largest networks on a slow machine


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
        self.config: TrainingConfig = read_training_config(config)
        self._checkout = checkout
        if checkout is not None and not (checkout / MODULE / "__init__.py").is_file():
            raise InputError(
                f"{checkout}: no checkout of PaddleSeg",
                cause=f"{MODULE}/__init__.py is not in it",
                hint="--paddleseg PATH: the folder that `git clone` made",
            )

    def described(self) -> dict[str, Any]:
        """What decides the program and its preprocessing, for keys and the lineage."""
        builder = tool_versions((MODULE,)) if self._checkout is None else {"checkout": _digest(self._checkout / MODULE)}
        config = self.config.model_dump(mode="json", exclude={"notes"}) | {"file": self.config.file.name}
        network = digest_of({name: config[name] for name in ("model", "dataset")})
        return {
            "files": {"checkpoint": file_digest(self.file), "network": network},
            "config": config,
            "builder": builder,
        }

    def program(self, input_size: tuple[int, int] | None) -> Program:
        """The network with the weights of the checkpoint, which ends in a mask of classes.

        Args:
            input_size: (width, height) that the network is written for; None: any.

        Raises:
            InputError: The checkpoint cannot be read, or is not of this network.
            WorkerFailed: PaddleSeg cannot build the network.
        """
        weights = read_checkpoint(self.file)
        scratch = tempfile.TemporaryDirectory(prefix="segexport-checkpoint-")
        with scratch as folder, Worker(WORKER, needs=MODULE, name="PaddleSeg") as worker:
            network = self._build(worker)
            wanted = {name: (dtype, tuple(shape)) for name, (dtype, shape) in network["weights"].items()}
            require_fit(self.file, weights, wanted, self.config.file, network["num_classes"])
            sides = None if input_size is None else [input_size[1], input_size[0]]
            arguments = {"folder": folder, "names": list(wanted), "sides": sides}
            arrays = [np.ascontiguousarray(weights[name]) for name in wanted]
            worker.call("write", arguments, arrays, timeout_s=_LONGEST_S)
            return _read(Path(folder))

    def _build(self, worker: Worker) -> dict[str, Any]:
        checkout = None if self._checkout is None else str(self._checkout.resolve())
        arguments = {"model": self.config.model, "dataset": self.config.dataset, "checkout": checkout}
        try:
            return worker.call("build", arguments, timeout_s=_LONGEST_S)[0]
        except WorkerFailed as error:  # the configuration is what the user can change
            raise InputError(f"{self.config.file}: {error.what}", cause=error.cause, hint=error.hint) from error


def _read(folder: Path) -> Program:
    """What Paddle 2 writes is a `.pdmodel`, what Paddle 3 writes a `.json`."""
    params, legacy = folder / "model.pdiparams", folder / "model.pdmodel"
    return program.read(legacy, params) if legacy.is_file() else pir.read_program(folder / "model.json", params)


def _digest(package: Path) -> str:
    """Of all Python files below a folder."""
    found = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        found.update(f"{file.relative_to(package)} {file_digest(file)}\n".encode())
    return found.hexdigest()
