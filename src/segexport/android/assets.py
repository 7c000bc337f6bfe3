"""Puts exports into the Android app: a pack for each, of what the app reads and what its self-test needs."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segexport import preprocess
from segexport.artifact import MANIFEST_NAME, FileEntry, Manifest, ModelArtifact, Sample, file_entry, write_artifact
from segexport.data.images import decode_image, decode_label
from segexport.errors import InputError, UnsupportedModelError
from segexport.files.atomic import whole_folder
from segexport.files.output_folder import new_folder
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions
from segexport.spec import Format, Label

FORMATS = (Format.ONNX, Format.PADDLE_LITE)
SAMPLE_INPUT, SAMPLE_MASK = "sample.png", "sample-mask.png"


def write_assets(exports: Sequence[ModelArtifact], out_dir: Path, *, sample: Path | None = None) -> list[Path]:
    """Writes the app's `assets/model`: one folder for each export.

    A folder holds the model, `manifest.json`, `labels.txt` (a name per line), `palette.txt` (#RRGGBB per line) and the
    golden sample: an image and the mask that the export's own runtime gives for it here, of the image's size.

    Args:
        exports: ONNX or Paddle-Lite exports.
        out_dir: `android_demo/app/src/main/assets/model`, or wherever an app keeps them; written whole or not at all.
            Packs of an earlier call are replaced, anything else is not.
        sample: An image for the self-test; without one, an export keeps the sample that it has.

    Returns:
        The folders, in the order of `exports`.

    Raises:
        InputError: No exports, a folder that is in the way, or an image that cannot be used.
        UnsupportedModelError: An export that the app cannot run.
        SegexportError: The export does not run here, so there is no mask to expect.
    """
    if not exports:
        raise InputError("no exports were given", hint="segexport export MODEL --to onnx -o EXPORT")
    for artifact in exports:
        _require_runnable(artifact)
    names, again = _names(exports), _holds_packs(out_dir)
    with whole_folder(out_dir) if again else new_folder(out_dir) as folder:
        for artifact, name in zip(exports, names, strict=True):
            _write_pack(artifact, folder / name, sample)
    return [out_dir / name for name in names]


def _holds_packs(folder: Path) -> bool:
    children = list(folder.iterdir()) if folder.is_dir() else []
    return bool(children) and all((child / MANIFEST_NAME).is_file() for child in children)


def _require_runnable(artifact: ModelArtifact) -> None:
    manifest = artifact.manifest
    if manifest.format not in FORMATS:
        raise UnsupportedModelError(
            f"{artifact.path}: the app runs ONNX and Paddle-Lite, this is {manifest.format.value}",
            hint=f"segexport export {artifact.path} --to onnx -o EXPORT",
        )
    if len(manifest.inputs) != 1 or manifest.inputs[0].dtype != "float32":
        inputs = ", ".join(f"{spec.dtype} {spec.name}" for spec in manifest.inputs)
        raise UnsupportedModelError(f"{artifact.path}: the app feeds one float32 image, this takes {inputs}")


def _names(exports: Sequence[ModelArtifact]) -> list[str]:
    """`<model>-<format>-<precision>`, as file names, each once."""
    names: list[str] = []
    for artifact in exports:
        manifest = artifact.manifest
        full = f"{manifest.name}-{manifest.format.value}-{manifest.target.precision.value}"
        name = base = re.sub(r"[^A-Za-z0-9._-]+", "_", full).strip("._") or "model"
        while name in names:
            name = f"{base}-{names.count(name) + sum(other.startswith(f'{base}-') for other in names) + 1}"
        names.append(name)
    return names


def _write_pack(artifact: ModelArtifact, folder: Path, sample: Path | None) -> None:
    folder.mkdir()
    model = artifact.file("model")
    shutil.copyfile(model, folder / model.name)
    files: list[FileEntry] = [file_entry(folder, model.name)]
    found = _sample(artifact, sample)
    if found is not None:
        for name, data in zip((SAMPLE_INPUT, SAMPLE_MASK), found, strict=True):
            (folder / name).write_bytes(data)
            files.append(file_entry(folder, name, "sample"))
    update = {
        "files": tuple(files),
        "sample": Sample(input=SAMPLE_INPUT, expected_mask=SAMPLE_MASK) if found is not None else None,
    }
    manifest = artifact.manifest.model_copy(update=update)
    write_artifact(folder, manifest)
    _write_lines(folder / "labels.txt", manifest, lambda label: label.name)
    _write_lines(folder / "palette.txt", manifest, lambda label: "#{:02X}{:02X}{:02X}".format(*label.rgb))


def _write_lines(file: Path, manifest: Manifest, text: Callable[[Label], str]) -> None:
    file.write_text("".join(f"{text(label)}\n" for label in manifest.labels), encoding="utf-8")


def _sample(artifact: ModelArtifact, image: Path | None) -> tuple[bytes, bytes] | None:
    """The sample's image and mask as PNG; None where there is no image. A PNG decodes to the same pixels everywhere."""
    own = artifact.manifest.sample
    if image is not None:
        pixels = decode_image(image)
        mask = _expected_mask(artifact, pixels)
    elif own is not None:
        pixels, mask = decode_image(artifact.path / own.input), decode_label(artifact.path / own.expected_mask)
    else:
        return None
    if mask.dtype != np.uint8:
        return None  # the app reads a mask as grey levels, of which there are 256
    return _png(pixels), _png(mask)


def _expected_mask(artifact: ModelArtifact, pixels: np.ndarray) -> np.ndarray:
    """What the export answers on this machine, at the image's size; int8 rounds as it does on ARM."""
    manifest = artifact.manifest
    tensor, placement = preprocess.apply(manifest.preprocess, pixels, input_spec=manifest.inputs[0])
    options = {"int8_as_on_arm": True} if manifest.format is Format.ONNX else {}
    with runtime_for(manifest.format).open(artifact, RunOptions(options=options)) as session:
        mask = session.infer([tensor]).mask
    return preprocess.restore_mask(mask, placement)


def _png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG", optimize=True)
    return stream.getvalue()
