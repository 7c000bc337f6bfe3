"""Turns an `.xml` and `.bin` pair from another tool into an artifact that can be checked."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from segexport.artifact import ModelArtifact, digest_of, file_digest, file_entry, read_artifact, write_artifact
from segexport.errors import MissingInputError
from segexport.exporter.from_onnx import adopted
from segexport.exporter.to_onnx import WORKERS
from segexport.exporter.to_openvino import MODEL, OPENVINO_TOOLS, WEIGHTS
from segexport.files.store import Store
from segexport.process.worker import Worker
from segexport.spec import Format

_VERSION = "1"


def adopt_openvino(path: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
    """Stores both files as an artifact with the reference's preprocessing and labels, which they do not contain.

    Raises:
        InputError: The `.bin` is missing, or inputs or outputs do not match the reference's.
        WorkerError: The files are not an OpenVINO model.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise MissingInputError(
            f"{path}: an OpenVINO model without its weights", cause=f"{weights.name} is not beside it"
        )
    identity = {
        "adopt openvino": _VERSION,
        "files": [file_digest(path), file_digest(weights)],
        "reference": reference.digest,
        "name": path.stem,
    }
    key = digest_of(identity)
    found = store.find_artifact(key)
    return found or read_artifact(store.keep(key, partial(_write, path, weights, reference, key)))


def _write(path: Path, weights: Path, reference: ModelArtifact, key: str, folder: Path) -> None:
    with Worker(WORKERS / "openvino_worker.py", needs=OPENVINO_TOOLS, name="openvino") as worker:
        asked = {"model": str(path), "names": [spec.name for spec in reference.manifest.outputs]}
        answer, _ = worker.call("describe", asked, timeout_s=300)
    shutil.copyfile(path, folder / MODEL)
    shutil.copyfile(weights, folder / WEIGHTS)
    files = (file_entry(folder, MODEL), file_entry(folder, WEIGHTS, "params"))
    notes = ["made by somebody else; preprocessing and labels are the reference's"]
    write_artifact(folder, adopted(path, Format.OPENVINO, files, answer, reference, key, notes))
