"""Small images whose labels can be learned in seconds, and the artifact of a net that learns them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.exporter.program import Program
from segexport.spec import Format, Precision, Preprocess
from segexport.ui.pictures import default_labels

NAMES = ("low", "middle", "high")


def write_data(root: Path, labelled: bool = True, names: Sequence[str] = NAMES, split: str = "train") -> Dataset:
    """Six 32x32 images of noise on bands, one for each name; the label is the band, the brightness tells it."""
    random = np.random.RandomState(0)
    root.mkdir(parents=True, exist_ok=True)
    lines, top = [], len(names) - 1
    for index in range(6):
        label = np.repeat(np.minimum(np.arange(32) * (index + 3) // 64, top), 32).reshape(32, 32).astype(np.uint8)
        image = np.clip(label[..., None] * 200 // top + random.randint(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / f"image{index}.png"), image)
        cv2.imwrite(str(root / f"label{index}.png"), label)
        lines.append(f"image{index}.png label{index}.png" if labelled else f"image{index}.png")
    (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (root / "labels.txt").write_text("\n".join(names) + "\n")
    return Dataset.open(root, split)


def write_model(program: Program, folder: Path, names: Sequence[str] = NAMES) -> ModelArtifact:
    """The program as an artifact."""
    model, params = program.write(folder)
    manifest = Manifest(
        name="segmenter",
        format=Format.PADDLE,
        files=(file_entry(folder, model.name), file_entry(folder, params.name, "params")),
        inputs=tuple(program.inputs()),
        outputs=tuple(program.outputs()),
        preprocess=Preprocess(),
        labels=default_labels(names),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    write_artifact(folder, manifest)
    return read_artifact(folder)
