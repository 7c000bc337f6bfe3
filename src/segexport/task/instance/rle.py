"""Encodes COCO's run-length codes: alternating runs of 0 and 1, column by column, starting with 0."""

from __future__ import annotations

import numpy as np


def encode(mask: np.ndarray) -> dict[str, list[int]]:
    """Encodes a mask (height, width) as `{"size": [height, width], "counts": [...]}`, uncompressed."""
    flat = (np.asarray(mask) != 0).T.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return {"size": list(mask.shape), "counts": runs}
