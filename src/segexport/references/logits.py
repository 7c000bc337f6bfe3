"""Summarizes a model's raw scores for one image, for later comparison on another machine."""

from __future__ import annotations

import hashlib

import numpy as np

from segexport.spec import Frozen, TensorSpec

POINTS = 8
"""Number of rows, and of columns, at which scores are kept, evenly spread."""

_SCORES = ("logits", "probability")


class LogitDigest(Frozen):
    """A summary of the scores of one image, (C, H, W).

    Attributes:
        output: Name of the output: the first segmentation.
        sha256: Digest of the float32 values, little-endian, C order.
        mean, std: Per class over all pixels.
        points: Per class, the values at `POINTS` x `POINTS` pixels (`point_places`), row by row; empty if not
            requested.
    """

    output: str
    sha256: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    points: tuple[tuple[float, ...], ...] = ()


def point_places(size: int) -> np.ndarray:
    """The `POINTS` positions along a side of `size` pixels: the middles of equal parts."""
    return (2 * np.arange(POINTS) + 1) * size // (2 * POINTS)


def as_planes(output: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """(C, H, W) float32 of one image's scores."""
    scores = output[0] if output.ndim == 4 else output
    planes = scores.transpose(2, 0, 1) if spec.layout.endswith("HWC") else scores
    return np.ascontiguousarray(planes, "<f4")


def digest_logits(output: np.ndarray, spec: TensorSpec, *, points: bool = False) -> LogitDigest | None:
    """Summarizes one image's scores; None if they contain NaN or infinity."""
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
    """Rounds to float32's precision; more digits would only make files larger."""
    return tuple(float(f"{value:.7g}") for value in values)


def at_points(planes: np.ndarray) -> np.ndarray:
    """(C, POINTS * POINTS) float32: the scores at the kept positions."""
    rows, columns = point_places(planes.shape[1]), point_places(planes.shape[2])
    return planes[:, rows][:, :, columns].reshape(len(planes), -1)


def deviation(output: np.ndarray, spec: TensorSpec, recorded: LogitDigest) -> float:
    """Root mean square difference at the kept positions, divided by the standard deviation of the recorded scores.

    Infinity if shapes differ or scores are not finite.
    """
    planes = as_planes(output, spec)
    if planes.shape != tuple(recorded.shape):
        return float("inf")
    points = np.array(recorded.points)
    spread = float(np.sqrt(np.mean(np.square(recorded.std)) + np.var(recorded.mean)))
    found = float(np.sqrt(np.mean(np.square(at_points(planes) - points))))
    return found / spread if spread > 0 and np.isfinite(found) else float("inf") if found else 0.0
