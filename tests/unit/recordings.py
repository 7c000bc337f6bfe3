"""Data sets, exports and recorded references that were never run: small, and known to the last pixel."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from segexport.artifact import FileEntry, LineageEntry, Manifest, ModelArtifact, TargetDevice, digest_of
from segexport.data.dataset import Dataset
from segexport.judge.results import Export
from segexport.measure import metrics
from segexport.recipe.limits import Limits
from segexport.references.reference_file import (
    Data,
    Header,
    Image,
    Noise,
    ReferenceFile,
    RuntimeRecord,
    Times,
    new_reference,
    read_reference,
)
from segexport.runtimes.base import Prediction
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec

NAMES = ("ground", "tree", "sky")
LABELS = tuple(Label(id=index, name=name, rgb=(index, 0, 0)) for index, name in enumerate(NAMES))
HEIGHT, WIDTH = 30, 42  # no multiple of anything
SOURCE = {"model": "a" * 64, "params": "b" * 64}


def make_data(root: Path, images: int = 12, *, labels: bool = True, seed: int = 0) -> Dataset:
    """Random pictures; a label is the mask that `mask_of` gives, with a border of ignored pixels."""
    generator = np.random.default_rng(seed)
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(images):
        pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Pillow.fromarray(pixels).save(root / "images" / f"{index}.png")
        label = mask_of(index).copy()
        label[0] = 255
        Pillow.fromarray(label).save(root / "labels" / f"{index}.png")
        lines.append(f"images/{index}.png labels/{index}.png" if labels else f"images/{index}.png")
    (root / "val.txt").write_text("\n".join(lines) + "\n")
    (root / "labels.txt").write_text("\n".join(NAMES) + "\n")
    return Dataset.open(root, "val")


def mask_of(index: int) -> np.ndarray:
    """The reference's mask of an image: three stripes whose edges depend on its number."""
    rows = np.arange(HEIGHT)[:, None] + np.zeros(WIDTH, int)
    return ((rows > 6 + index % 5).astype(np.uint8) + (rows > 18 + index % 7)).astype(np.uint8)


def margin_of(index: int) -> np.ndarray:
    return np.random.default_rng(100 + index).gamma(1.0, 2.0, (HEIGHT, WIDTH)).astype(np.float32)


def manifest(
    *, format: Format = Format.PADDLE, precision: Precision = Precision.FP32, source: dict | None = SOURCE, **changes
) -> Manifest:
    """Of a model whose files do not exist."""
    given = {
        "name": "stripes",
        "format": format,
        "files": (FileEntry(path="model.bin", sha256="c" * 64, size_bytes=1000),),
        "inputs": (TensorSpec(name="x", dtype="float32", shape=(1, 3, -1, -1), layout="NCHW", semantics="image"),),
        "outputs": (TensorSpec(name="y", dtype="float32", shape=(1, 3, -1, -1), layout="NCHW", semantics="logits"),),
        "preprocess": Preprocess(),
        "labels": LABELS,
        "target": TargetDevice(arch="any", precision=precision),
        "lineage": (LineageEntry(step="import", version="2", params={"files": source} if source else {}),),
    }
    return Manifest(**(given | changes))


def subject(name: str = "onnx-fp32", limits: Limits | None = None, **changes) -> Export:
    made = manifest(**({"format": Format.ONNX} | changes))
    return Export(name, made.format, made.target.precision, ModelArtifact(Path("."), made), None, limits)


def write_recording(path: Path, data: Dataset, *, gpu: bool = False, noise_miou_delta: float = 0.0) -> ReferenceFile:
    """A recording of `mask_of` and `margin_of` for all images."""
    images = []
    with new_reference(path) as recorder:
        for sample in data:
            mask = mask_of(sample.index)
            found = Prediction(mask, margin_of(sample.index), True, 2.0, 0.5)
            truth = mask if sample.label is None else sample.label
            recorder.add(found, metrics.confusion_matrix(truth, mask, len(NAMES)))
            entry = data.entries[sample.index]
            images.append(
                Image(
                    name=sample.name,
                    image_sha256=data.digest(entry.image),
                    label_sha256=None if entry.label is None else data.digest(entry.label),
                    group=entry.group if data.groups else "",
                    width=WIDTH,
                    height=HEIGHT,
                    inference_ms=2.0,
                    postprocess_ms=0.5,
                )
            )
        recorder.finish(
            Header(
                created="2024-05-06T07:08:09+00:00",
                segexport_version="0.1.0",
                model=manifest(),
                data=Data(
                    path="street",
                    split="val",
                    labels=LABELS,
                    labelled=data.labelled,
                    ignore_index=255,
                    fingerprint=data.ungrouped().fingerprint,
                    groups=data.groups,
                ),
                runner=RuntimeRecord(
                    runtime="paddle",
                    version="2.6.2",
                    provider="CUDA" if gpu else "oneDNN",
                    device="Some GPU" if gpu else "Some CPU",
                    asked="gpu:0" if gpu else "cpu",
                    is_gpu=gpu,
                    driver="550.1" if gpu else "",
                    threads=1,
                    load_ms=10.0,
                ),
                noise=Noise(
                    images=len(images),
                    pixels=len(images) * HEIGHT * WIDTH,
                    differing_pixels=7 if noise_miou_delta else 0,
                    worst_image=0.0,
                    miou_delta=noise_miou_delta,
                ),
                times=Times(
                    sessions=6,
                    peak_rss_bytes=222_000_000,
                    blocks_ms=tuple((3.0 + 0.01 * block, 3.1) for block in range(12)),
                    first_ms=9.0,
                    warm_up_runs=11,
                    preprocess_ms=1.0,
                    postprocess_ms=0.5,
                ),
                images=tuple(images),
            )
        )
    return read_reference(path)


def rewrite(
    path: Path, *, header: dict | None = None, members: dict[str, bytes] | None = None, sign: bool = True
) -> None:
    """Changes an archive in place as somebody with a text editor and, with `sign`, a sha256 tool would."""
    with zipfile.ZipFile(path) as file:
        found = {name: file.read(name) for name in file.namelist()}
    content = json.loads(found["header.json"]) | (header or {})
    if sign:
        content.pop("digest", None)
        content["digest"] = digest_of(content)
    found |= {"header.json": json.dumps(content).encode()} | (members or {})
    with zipfile.ZipFile(path, "w") as file:
        for name, data in found.items():
            file.writestr(name, data)
