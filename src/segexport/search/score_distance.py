"""How far an export's scores are from the original's: far less noisy on a few images than mIoU, and without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from segexport import preprocess
from segexport.artifact import Manifest
from segexport.data.dataset import Dataset
from segexport.errors import WorkerFailed
from segexport.runtimes.base import Session
from segexport.spec import score_output

_VALUES = 1_000_000  # most scores of an image that are compared: every n-th row and column of a larger one


def scores(session: Session, manifest: Manifest, images: Dataset) -> Iterator[np.ndarray]:
    """The scores of each image, float32 (classes, rows, columns); with an argmax its mask, (rows, columns).

    Raises:
        WorkerFailed: A score is NaN or infinite.
    """
    place = score_output(manifest.outputs)
    for sample in images:
        tensor, placement = preprocess.example(manifest.preprocess, sample.image, input_spec=manifest.image)
        given = preprocess.feed(manifest.inputs, tensor, placement)
        if place is None:
            yield session.infer(given).mask
            continue
        found = session.outputs(given)[place][0].astype(np.float32)
        if manifest.outputs[place].layout.endswith("HWC"):
            found = np.moveaxis(found, -1, 0)
        step = math.isqrt(max(0, found.size - 1) // _VALUES) + 1
        found = found[:, ::step, ::step]
        if not np.isfinite(found).all():
            raise WorkerFailed(f"NaN or infinity in the output on {sample.name}")
        yield found


def distance(originals: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Mean over the images of the distance of an export's `scores` from the original's; 0 if they are equal.

    Of scores: the norm of their difference over that of the original's, without what all classes of a pixel have in
    common. Of masks: the fraction of the pixels whose class differs.
    """
    return float(np.mean([_of_image(own, other) for own, other in zip(originals, others, strict=True)]))


def _of_image(own: np.ndarray, other: np.ndarray) -> float:
    if own.shape != other.shape:
        raise WorkerFailed(f"the output is {list(other.shape)}, that of the original {list(own.shape)}")
    if own.ndim == 2:
        return float(np.mean(own != other))
    own, other = _centred(own), _centred(other)
    return float(np.linalg.norm(own - other) / max(np.linalg.norm(own), np.finfo(np.float32).tiny))


def _centred(scores: np.ndarray) -> np.ndarray:
    return scores - scores.mean(0) if len(scores) > 1 else scores
