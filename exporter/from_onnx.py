"""Turns an `.onnx` file from another tool into an artifact that can be checked against its Paddle model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segexport.artifact import (
    MANIFEST_NAME,
    FileEntry,
    LineageEntry,
    Manifest,
    ModelArtifact,
    TargetDevice,
    digest_of,
    file_digest,
    file_entry,
    read_artifact,
    write_artifact,
)
from segexport.errors import InputError, MismatchError
from segexport.exporter.mask_output import mask_of
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.files.external_data import external_data, require_inside
from segexport.files.store import Store
from segexport.process.worker import Worker
from segexport.spec import Format, Precision, Semantics, TensorSpec

_VERSION = "2"


def adopt_onnx(path: Path, reference: ModelArtifact, store: Store) -> ModelArtifact:
    """Stores the file as an artifact with the reference's preprocessing and labels, which the file does not contain.

    Also copies external weight files from the model's folder.

    Raises:
        InputError: The file is not an ONNX model, its weights are outside its folder, or its inputs differ from the
            reference's.
    """
    weights = _weights(path)
    identity: dict[str, Any] = {
        "adopt": _VERSION,
        "onnx": file_digest(path),
        "reference": reference.digest,
        "name": path.stem,
    }
    if weights:
        identity["weights"] = {name: file_digest(path.parent / name) for name in weights}
    key = digest_of(identity)
    found = store.find_artifact(key)
    return found or read_artifact(store.keep(key, lambda folder: _write(path, weights, reference, folder, key)))


def _weights(path: Path) -> tuple[str, ...]:
    """Returns the model's external weight files."""
    names = tuple(dict.fromkeys(require_inside(path, location) for location in external_data(path)))
    if MANIFEST_NAME in names:
        raise InputError(f"{path}: its weights are in {MANIFEST_NAME}", cause="an artifact's own file has that name")
    return tuple(name for name in names if name != path.name)


def _write(path: Path, weights: tuple[str, ...], reference: ModelArtifact, folder: Path, key: str) -> None:
    model = folder / (path.name if weights else "model.onnx")  # weight files keep their names, which are arbitrary
    notes = ["made by somebody else; preprocessing and labels are the reference's"]
    with Worker(WORKERS / "onnx_worker.py", needs=ONNX_TOOLS, name="onnx") as worker:
        answer, _ = worker.call("describe", {"onnx": str(path)}, timeout_s=300)
        if weights:
            found, _ = worker.call("small_inside", {"onnx": str(path), "out": str(model)}, timeout_s=300)
            notes.append(f"weights are in {', '.join(weights)}; {found['moved']} small tensors went into the model")
        else:
            shutil.copyfile(path, model)
    for name in weights:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, folder / name)
    files = (file_entry(folder, model.name), *(file_entry(folder, name, "params") for name in weights))
    write_artifact(folder, adopted(path, Format.ONNX, files, answer, reference, key, notes))


def adopted(
    path: Path,
    format: Format,
    files: tuple[FileEntry, ...],
    answer: dict[str, Any],
    reference: ModelArtifact,
    key: str,
    notes: Sequence[str],
) -> Manifest:
    """Builds the manifest of a foreign file with the reference's preprocessing and labels.

    Args:
        files: Copies of the model file and its companions in the artifact's folder.
        answer: `inputs`, `outputs` (name, dtype, shape) and `precision`, as read from the file.
        key: The artifact's key in the store.

    Raises:
        InputError: The inputs or outputs do not match the reference's.
    """
    before = reference.manifest
    if len(answer["inputs"]) != len(before.inputs):
        raise MismatchError(
            f"{path}: {len(answer['inputs'])} inputs, but the reference has {len(before.inputs)}",
            hint="check it against the model that it was made from",
        )
    inputs = tuple(
        spec.model_copy(update={"name": new["name"], "dtype": new["dtype"], "shape": tuple(new["shape"])})
        for spec, new in zip(before.inputs, answer["inputs"], strict=True)
    )
    return Manifest(
        name=path.stem,
        format=format,
        files=files,
        inputs=inputs,
        outputs=_outputs(answer["outputs"], before, path),
        preprocess=before.preprocess,
        postprocess=before.postprocess,
        labels=before.labels,
        ignore_index=before.ignore_index,
        target=TargetDevice(arch="any", precision=Precision(answer["precision"])),
        lineage=(
            LineageEntry(
                step="adopt",
                version=_VERSION,
                key=key,
                notes=tuple(notes),
            ),
        ),
    )


def _outputs(found: list[dict], reference: Manifest, path: Path) -> tuple[TensorSpec, ...]:
    """Derives semantics from type and shape if the reference outputs a mask; else copies the reference's, in order."""
    if mask_of(reference.outputs):
        return tuple(_output(new, reference) for new in found)
    if len(found) != len(reference.outputs):
        raise MismatchError(
            f"{path}: {len(found)} outputs, but the reference has {len(reference.outputs)}",
            hint="check it against the model that it was made from",
        )
    return tuple(
        spec.model_copy(update={"name": new["name"], "dtype": new["dtype"], "shape": tuple(new["shape"])})
        for spec, new in zip(reference.outputs, found, strict=True)
    )


def _output(new: dict, reference: Manifest) -> TensorSpec:
    """Reads integers as class indices, and scores like the reference's, with the class axis as channels."""
    shape, classes = tuple(new["shape"]), reference.num_classes
    if not new["dtype"].startswith("float"):
        return TensorSpec(
            name=new["name"], dtype=new["dtype"], shape=shape, layout="NHW"[: len(shape)], semantics="class_index"
        )
    given = [spec.semantics for spec in reference.outputs if spec.semantics in ("logits", "probability")]
    semantics: Semantics = "probability" if given[:1] == ["probability"] else "logits"
    layout = "NHWC" if len(shape) == 4 and shape[3] == classes and shape[1] != classes else "NCHW"
    return TensorSpec(name=new["name"], dtype=new["dtype"], shape=shape, layout=layout, semantics=semantics)
