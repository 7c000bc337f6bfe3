"""Converts a detector's outputs to the objects of one image, inside a worker. NumPy only."""

from __future__ import annotations

import numpy as np
from worker_host import WorkerFailure


def are_in(specs: list[dict]) -> bool:
    """Whether the outputs belong to an instance segmentation model."""
    return any(spec["semantics"] == "instance_masks" for spec in specs)


def objects(outputs: list[np.ndarray], specs: list[dict]) -> tuple[np.ndarray, np.ndarray, list[int], bool]:
    """Returns the objects of one image, best score first.

    Omits rows without an object (class below 0, score 0 or a box without area), which exports append to avoid empty
    tensors, and rows that contain NaN or infinity.

    Returns:
        (n, 6) float32 of (class, score, left, top, right, bottom); the masks' bits (n, height, ceil(width / 8)) uint8;
        [width, height]; and whether every number was finite.
    """
    by_meaning = {spec["semantics"]: np.asarray(out) for spec, out in zip(specs, outputs, strict=True)}
    rows, masks = by_meaning["boxes"], by_meaning["instance_masks"]
    if rows.ndim != 2 or rows.shape[1] != 6:
        rows = rows.reshape(0, 6) if rows.size < 6 else _refuse(f"rows of objects have the shape {list(rows.shape)}")
    counts = by_meaning.get("box_count", np.array([len(rows)])).reshape(-1)
    if counts.size != 1:
        raise WorkerFailure(f"objects of {counts.size} images at once; a run has one image")
    number = min(len(rows), max(int(counts[0]), 0))
    if masks.ndim != 3 or len(masks) < number:
        raise WorkerFailure(
            f"masks of shape {list(masks.shape)} for {number} objects",
            cause="masks of the image's size are expected, [objects, height, width]",
        )
    rows = rows[:number].astype(np.float32)
    finite = np.isfinite(rows).all(axis=1)
    with np.errstate(invalid="ignore"):
        real = finite & (rows[:, 0] >= 0) & (rows[:, 1] > 0) & (rows[:, 4] > rows[:, 2]) & (rows[:, 5] > rows[:, 3])
    kept = np.flatnonzero(real)
    kept = kept[np.argsort(-rows[kept, 1], kind="stable")]
    height, width = masks.shape[1:]
    bits = np.zeros((len(kept), height, -(-width // 8)), np.uint8)
    for row, index in zip(bits, kept, strict=True):  # one by one: all at once would copy all masks
        row[:] = np.packbits(masks[index] > 0.5, axis=1)
    return rows[kept], bits, [int(width), int(height)], bool(finite.all())


def _refuse(what: str) -> np.ndarray:
    raise WorkerFailure(what, cause="(class, score, left, top, right, bottom) is expected")
