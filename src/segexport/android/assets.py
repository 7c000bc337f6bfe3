"""Adds exports to the Android app: one pack each, with the files that the app and its self-test need."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segexport import preprocess
from segexport.android.readme import write_pack_readme
from segexport.artifact import MANIFEST_NAME, FileEntry, Manifest, ModelArtifact, SelfTest, file_entry, write_artifact
from segexport.data.images import decode_image, decode_label, encode_image
from segexport.errors import OptionError, UnsupportedModelError
from segexport.files.atomic import whole_folder
from segexport.files.output_folder import new_folder
from segexport.pipeline.registry import runtime_for, target_of, targets
from segexport.runtimes.base import RunOptions
from segexport.spec import Label

SAMPLE_INPUT, SAMPLE_MASK = "sample.png", "sample-mask.png"
SAMPLE_TENSOR = "sample.f32"  # instead of a picture, if the phone's decoder does not give the model's input


def write_assets(exports: Sequence[ModelArtifact], out_dir: Path, *, sample: Path | None = None) -> list[Path]:
    """Writes the app's `assets/model`: one folder per export.

    A folder contains the model, `manifest.json`, `README.md`, `labels.txt` (one name per line), `palette.txt` (#RRGGBB
    per line) and the golden sample: an image and its mask from the export's runtime on this machine, at the image's
    size.

    Args:
        exports: Exports for targets that the app supports.
        out_dir: `android_demo/app/src/main/assets/model`, or the same folder of another app; written whole or not at
            all. Replaces only packs of an earlier call.
        sample: An image for the self-test; None: each export keeps its own sample.

    Returns:
        The folders, in the order of `exports`.

    Raises:
        InputError: There are no exports, the folder contains other files, or the image cannot be used.
        UnsupportedModelError: The app cannot run an export.
        SegexportError: An export does not run here, so its expected mask is unknown.
    """
    if not exports:
        raise OptionError("no exports were given", hint="segexport export MODEL --to onnx -o EXPORT")
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
    manifest, target = artifact.manifest, target_of(artifact.manifest.format)
    if target is None or not target.packed:
        *some, last = (each.title for each in targets().values() if each.packed)
        raise UnsupportedModelError(
            f"{artifact.path}: the app runs {', '.join(some)} and {last}, this is {manifest.format}",
            hint=f"segexport export {artifact.path} --to onnx -o EXPORT",
        )
    if manifest.target.hints:
        hints = ", ".join(f"{name} {value}" for name, value in manifest.target.hints.items())
        raise UnsupportedModelError(
            f"{artifact.path}: without the session hint {hints}, it computes another mask",
            cause=f"the app cannot set hints: {target.title}'s Java classes have no call for them",
            hint=f"segexport export {artifact.path} --to onnx -o EXPORT",
        )
    if manifest.preprocess.tiles is not None:
        raise UnsupportedModelError(f"{artifact.path}: the app runs whole images, and this manifest asks for tiles")
    if len(manifest.inputs) != 1 or manifest.inputs[0].dtype != "float32":
        inputs = ", ".join(f"{spec.dtype} {spec.name}" for spec in manifest.inputs)
        raise UnsupportedModelError(f"{artifact.path}: the app feeds one float32 image, this takes {inputs}")


def _names(exports: Sequence[ModelArtifact]) -> list[str]:
    """Unique folder names, `<model>-<format>-<precision>`."""
    names: list[str] = []
    for artifact in exports:
        manifest = artifact.manifest
        full = f"{manifest.name}-{manifest.format}-{manifest.target.precision.value}"
        name = base = re.sub(r"[^A-Za-z0-9._-]+", "_", full).strip("._") or "model"
        while name in names:
            name = f"{base}-{names.count(name) + sum(other.startswith(f'{base}-') for other in names) + 1}"
        names.append(name)
    return names


def _write_pack(artifact: ModelArtifact, folder: Path, sample: Path | None) -> None:
    target = target_of(artifact.manifest.format)
    assert target is not None, "exports were looked at before"
    folder.mkdir()
    files: list[FileEntry] = []
    for entry in artifact.manifest.files:
        if entry.role in target.packed:
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path / entry.path, folder / entry.path)
            files.append(entry)
    found = _sample(artifact, sample)
    for name, data in found or ():
        (folder / name).write_bytes(data)
        files.append(file_entry(folder, name, "sample"))
    update = {
        "files": tuple(files),
        "sample": SelfTest(input=found[0][0], expected_mask=found[1][0]) if found is not None else None,
    }
    manifest = artifact.manifest.model_copy(update=update)
    write_artifact(folder, manifest)
    write_pack_readme(folder, manifest)
    _write_lines(folder / "labels.txt", manifest, lambda label: label.name)
    _write_lines(folder / "palette.txt", manifest, lambda label: "#{:02X}{:02X}{:02X}".format(*label.rgb))


def _write_lines(file: Path, manifest: Manifest, text: Callable[[Label], str]) -> None:
    file.write_text("".join(f"{text(label)}\n" for label in manifest.labels), encoding="utf-8")


def _sample(artifact: ModelArtifact, image: Path | None) -> tuple[tuple[str, bytes], tuple[str, bytes]] | None:
    """Name and bytes of the sample's input and its mask; None without an image.

    A PNG decodes to the same pixels everywhere. An image that a phone cannot decode is stored as a tensor, with a mask
    of the tensor's size.
    """
    own, contract = artifact.manifest.sample, artifact.manifest.preprocess
    if image is not None:
        pixels = decode_image(image, pixels=contract.pixels)
        mask = _expected_mask(artifact, pixels)
    elif own is not None and contract.takes_bitmaps:
        pixels = decode_image(artifact.path / own.input, pixels=contract.pixels)
        mask = decode_label(artifact.path / own.expected_mask)
    else:
        return None
    if mask.dtype != np.uint8:
        return None  # the app reads a mask as grey levels, of which there are 256
    found = SAMPLE_INPUT, encode_image(pixels)[0]
    if not contract.takes_bitmaps:
        tensor, _ = preprocess.apply(contract, pixels, input_spec=artifact.manifest.inputs[0])
        if tensor.shape != artifact.manifest.inputs[0].channels_first.shape:
            return None  # the app takes the tensor's size from the manifest
        found = SAMPLE_TENSOR, tensor.astype("<f4").tobytes()
    return found, (SAMPLE_MASK, encode_image(mask[:, :, None])[0])


def _expected_mask(artifact: ModelArtifact, pixels: np.ndarray) -> np.ndarray:
    """The export's mask on this machine, at the image's or tensor's size (see `_sample`); int8 rounds as on ARM."""
    manifest = artifact.manifest
    tensor, placement = preprocess.apply(manifest.preprocess, pixels, input_spec=manifest.inputs[0])
    target = target_of(manifest.format)
    assert target is not None, "exports were looked at before"
    options = RunOptions(options=dict(target.as_on_device))
    with runtime_for(manifest.format).open(artifact, options) as session:
        mask = session.infer([tensor]).mask
    return preprocess.restore_mask(mask, placement) if manifest.preprocess.takes_bitmaps else mask
