"""A model's raw scores for one image, condensed to what can be compared years later on another machine."""

from __future__ import annotations

import hashlib

import numpy as np

from segexport.spec import Frozen, TensorSpec

POINTS = 8
"""Scores are kept at so many rows and columns, evenly spread."""

_SCORES = ("logits", "probability")


class LogitDigest(Frozen):
    """The scores of one image, (C, H, W), condensed.

    Attributes:
        output: Name of the output; the first that is a segmentation.
        sha256: Of the float32 values, little-endian, C order: equal only where every bit is.
        mean, std: Per class over all pixels.
        points: Per class, the values at `POINTS` x `POINTS` pixels, row by row; at `point_places`. Empty where
            they were not asked for.
    """

    output: str
    sha256: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    points: tuple[tuple[float, ...], ...] = ()


def point_places(size: int) -> np.ndarray:
    """The `POINTS` pixels along a side of `size`: the middles of equal parts."""
    return (2 * np.arange(POINTS) + 1) * size // (2 * POINTS)


def as_planes(output: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """(C, H, W) float32 of one image's scores."""
    scores = output[0] if output.ndim == 4 else output
    planes = scores.transpose(2, 0, 1) if spec.layout.endswith("HWC") else scores
    return np.ascontiguousarray(planes, "<f4")


def digest_logits(output: np.ndarray, spec: TensorSpec, *, points: bool = False) -> LogitDigest | None:
    """Condenses one image's scores; None where they contain NaN or infinity, which are not numbers to compare."""
    planes = as_planes(output, spec)
    if not np.isfinite(planes).all():
        return None
    return LogitDigest(
        output=spec.name,
        sha256=hashlib.sha256(planes.tobytes()).hexdigest(),
        shape=(planes.shape[0], planes.shape[1], planes.shape[2]),
        mean=_seven_digits(planes.mean((1, 2), dtype=np.float64)),
        std=_seven_digits(planes.std((1, 2), dtype=np.float64)),
        points=tuple(_seven_digits(row) for row in at_points(planes)) if points else (),
    )


def _seven_digits(values: np.ndarray) -> tuple[float, ...]:
    """As much as float32 has; more would only make files larger."""
    return tuple(float(f"{value:.7g}") for value in values)


def at_points(planes: np.ndarray) -> np.ndarray:
    """(C, POINTS * POINTS) float32: the scores at the kept places."""
    rows, columns = point_places(planes.shape[1]), point_places(planes.shape[2])
    return planes[:, rows][:, :, columns].reshape(len(planes), -1)


def deviation(output: np.ndarray, spec: TensorSpec, recorded: LogitDigest) -> float:
    """Root mean square difference at the kept places, over the standard deviation of the recorded scores.

    Infinity where shapes differ or the scores are not numbers.
    """
    planes = as_planes(output, spec)
    if planes.shape != tuple(recorded.shape):
        return float("inf")
    points = np.array(recorded.points)
    spread = float(np.sqrt(np.mean(np.square(recorded.std)) + np.var(recorded.mean)))
    found = float(np.sqrt(np.mean(np.square(at_points(planes) - points))))
    return found / spread if spread > 0 and np.isfinite(found) else float("inf") if found else 0.0
