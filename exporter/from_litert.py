"""Converts a `.tflite` file from another tool to an artifact that can be checked."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from segexport.artifact import ModelArtifact, digest_of, file_digest, file_entry, read_artifact, write_artifact
from segexport.errors import MismatchError
from segexport.exporter.from_onnx import adopted
from segexport.exporter.to_litert import MODEL
from segexport.files.store import Store
from segexport.process.worker import Worker
from segexport.runtimes.base import WORKERS
from segexport.spec import Format, TensorSpec

_VERSION = "1"


def adopt_litert(path: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
    """Stores the file as an artifact with the reference's preprocessing and labels, which it does not contain.

    Raises:
        InputError: The inputs or outputs do not match the reference's, or the image is not float32.
        WorkerError: The file is not a LiteRT model.
    """
    identity = {
        "adopt litert": _VERSION,
        "file": file_digest(path),
        "reference": reference.digest,
        "name": path.stem,
    }
    key = digest_of(identity)
    found = store.find_artifact(key)
    return found or read_artifact(store.keep(key, partial(_write, path, reference, key)))


def _write(path: Path, reference: ModelArtifact, key: str, folder: Path) -> None:
    with Worker(WORKERS / "litert_worker.py", needs="ai_edge_litert", name="litert") as worker:
        answer, _ = worker.call("describe", {"model": str(path)}, timeout_s=300)
    for wanted, found in zip(reference.manifest.inputs, answer["inputs"], strict=False):
        if found["dtype"] != wanted.dtype:
            raise MismatchError(
                f"{path}: the input {found['name']!r} takes {found['dtype']}, the reference's {wanted.dtype}",
                hint="convert the model with float inputs and outputs; inside, it may be in int8",
            )
    shutil.copyfile(path, folder / MODEL)
    notes = ["made by somebody else; preprocessing and labels are the reference's"]
    manifest = adopted(path, Format.LITERT, (file_entry(folder, MODEL),), answer, reference, key, notes)
    channels, classes = reference.manifest.preprocess.channels, reference.manifest.num_classes
    update = {
        "inputs": tuple(_laid_out(spec, channels) for spec in manifest.inputs),
        "outputs": tuple(_laid_out(spec, classes) for spec in manifest.outputs),
    }
    write_artifact(folder, manifest.model_copy(update=update))


def _laid_out(spec: TensorSpec, channels: int) -> TensorSpec:
    """Returns the tensor with the layout from its shape: the axis with `channels` elements has the channels."""
    is_last = len(spec.shape) == 4 and spec.shape[3] == channels and spec.shape[1] != channels
    return spec.model_copy(update={"layout": "NHWC"}) if is_last and spec.layout == "NCHW" else spec
