"""Builds a PaddleSeg network from a configuration and exports it as a program.

PaddleSeg runs in a separate process, in its toolchain's Python or from the user's checkout.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segexport.artifact import digest_of, file_digest
from segexport.errors import InputError, MissingInputError, SegexportError, WorkerFailed
from segexport.exporter import pir, program
from segexport.exporter.program import Program
from segexport.files.disk import require_temporary_room
from segexport.importers.training_config import TrainingConfig
from segexport.pipeline.step import tool_versions
from segexport.process.worker import Worker

WORKER = Path(__file__).parent / "workers" / "paddleseg_worker.py"
MODULE = "paddleseg"
_LONGEST_S = 1800.0  # enough to build and trace the largest networks on a slow machine


@dataclass(frozen=True)
class Built:
    """A network built by PaddleSeg.

    Attributes:
        weights: Type and shape of each weight, by name.
        num_classes: Number of classes, 0 if unknown.
    """

    weights: dict[str, tuple[str, tuple[int, ...]]]
    num_classes: int


class PaddleSegNetwork:
    """A network described by a configuration.

    Args:
        config: The parsed configuration.
        checkout: Folder of the PaddleSeg that builds it; None: the toolchain's.

    Attributes:
        title: The name of the system that builds it.
        module: Its Python package.
        worker: The script that runs it.

    Raises:
        InputError: The folder is not a PaddleSeg checkout.
    """

    title, module, worker = "PaddleSeg", MODULE, WORKER
    _determining = ("model", "dataset")  # what of the configuration decides the network

    def __init__(self, config: TrainingConfig, checkout: Path | None = None) -> None:
        self.config, self._checkout = config, checkout
        if checkout is not None and not (checkout / self.module / "__init__.py").is_file():
            raise MissingInputError(
                f"{checkout}: no checkout of {self.title}",
                cause=f"{self.module}/__init__.py is not in it",
                hint="--paddleseg PATH: the folder that `git clone` made",
            )

    def described(self, **files: str) -> dict[str, Any]:
        """Returns everything that determines the program and its preprocessing, for keys and lineage.

        Args:
            files: Digests of the weight files.
        """
        own = self._checkout
        builder = tool_versions((self.module,)) if own is None else {"checkout": _digest(own / self.module)}
        config = self.config.model_dump(mode="json", exclude={"notes"}) | {"file": self.config.file.name}
        network = digest_of({name: config[name] for name in self._determining})
        return {"files": {**files, "network": network}, "config": config, "builder": builder}

    def program(
        self,
        input_size: tuple[int, int] | None,
        fill: Callable[[Built], Mapping[str, np.ndarray]],
        *,
        heads: int = 0,
        seed: int = 0,
    ) -> Program:
        """Builds the network and exports it.

        Args:
            input_size: Fixed (width, height); None: dynamic.
            fill: Returns weights by name; weights that it omits stay random.
            heads: 0: the output is a mask, as written by PaddleSeg's `export.py`. Else the outputs are the scores of
                this many of PaddleSeg's training heads, the main head first.
            seed: Seed of the random weights.

        Raises:
            InputError: PaddleSeg cannot build the network, it has fewer heads, or `fill` raises it.
            WorkerFailed: The network cannot be exported.
            StorageError: The folder for temporary files is full.
        """
        scratch = tempfile.TemporaryDirectory(prefix="segexport-paddleseg-")
        with scratch as folder, Worker(self.worker, needs=self.module, name=self.title) as worker:
            weights = fill(self._build(worker, seed))
            sides = None if input_size is None else [input_size[1], input_size[0]]
            arguments = {"folder": folder, "names": list(weights), "sides": sides, "heads": heads}
            arrays = [np.ascontiguousarray(value) for value in weights.values()]
            try:
                worker.call("write", arguments, arrays, timeout_s=_LONGEST_S)
                written = _read(Path(folder))
            except SegexportError as error:
                require_temporary_room(error)  # on a full disk Paddle silently writes truncated files
                raise
        if len(written.fetch_names) < heads:
            raise InputError(
                f"{self.config.model['type']} has {len(written.fetch_names)} heads, {heads} are to be trained",
                hint="give a weight for each of its heads: multi_loss_weight",
            )
        return written

    def _asked(self) -> dict[str, Any]:
        """What the worker builds."""
        return {"model": self.config.model, "dataset": self.config.dataset}

    def _build(self, worker: Worker, seed: int) -> Built:
        checkout = None if self._checkout is None else str(self._checkout.resolve())
        arguments = {**self._asked(), "checkout": checkout, "seed": seed}
        try:
            answer = worker.call("build", arguments, timeout_s=_LONGEST_S)[0]
        except WorkerFailed as error:  # the user can change the configuration
            raise InputError(f"{self.config.file}: {error.what}", cause=error.cause, hint=error.hint) from error
        weights = {name: (dtype, tuple(shape)) for name, (dtype, shape) in answer["weights"].items()}
        return Built(weights, answer["num_classes"])


def _read(folder: Path) -> Program:
    """Reads the exported program: a `.pdmodel` from Paddle 2, a `.json` from Paddle 3."""
    params, legacy = folder / "model.pdiparams", folder / "model.pdmodel"
    return program.read(legacy, params) if legacy.is_file() else pir.read_program(folder / "model.json", params)


def _digest(package: Path) -> str:
    """Returns the digest of all Python files below a folder."""
    found = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        found.update(f"{file.relative_to(package)} {file_digest(file)}\n".encode())
    return found.hexdigest()
