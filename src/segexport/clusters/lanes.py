"""Computes lanes from a binary mask and an embedding: clusters pixels by embedding and fits a curve to each cluster."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from segexport.clusters.dbscan import dbscan
from segexport.spec import Lanes

MOST_POINTS = 8000
"""Largest number of pixels for exact clustering; further pixels are assigned to the nearest cluster."""


_LEAST_SPREAD = 0.5  # smallest spread of an embedding's dimension, as a fraction of the widest one's


@dataclass(frozen=True)
class Lane:
    """A lane.

    Attributes:
        points: (n, 2) float32, x and y in pixels, from top to bottom.
        pixels: Number of pixels of the network's output in the lane.
    """

    points: np.ndarray
    pixels: int


def lane_pixels(binary: np.ndarray, embedding: np.ndarray, rule: Lanes) -> np.ndarray:
    """Numbers the pixels of each lane (Neven et al., Towards End-to-End Lane Detection, IV 2018, section II).

    The steps and parameters are PaddleSeg's (`contrib/LaneNet/utils/lanenet_postprocess.py`): the mask is closed, small
    parts are dropped, embeddings are standardized and clustered by DBSCAN. Standardizing would turn the noise of a
    single lane, or of a dimension in which lanes do not differ, into distances; both cases are excluded.

    Args:
        binary: (h, w) bool, pixels of any lane.
        embedding: float32 (h, w, d), finite.
        rule: The parameters.

    Returns:
        (h, w) int64: 0 for no lane, else its number; lanes are numbered from left to right by their lowest pixels.
    """
    mask = binary.astype(np.uint8)
    if rule.closing:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rule.closing, rule.closing))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] > rule.min_area
    large[0] = False
    rows, columns = np.nonzero(large[parts.astype(np.intp)])
    labels = _clustered(embedding[rows, columns].astype(np.float64), rule)
    found = np.zeros(binary.shape, np.int64)
    order = sorted(range(labels.max(initial=-1) + 1), key=lambda cluster: _foot(rows, columns, labels == cluster))
    for number, cluster in enumerate(order, 1):
        belongs = labels == cluster
        found[rows[belongs], columns[belongs]] = number
    return found


def fitted(xs: np.ndarray, ys: np.ndarray, rule: Lanes) -> np.ndarray:
    """Fits the curve x(y) to a lane's pixels: (n, 2) float32, a point every `step` rows and at both ends.

    PaddleSeg fits in a bird's-eye view of one camera; here the polynomial is fitted in the image.

    Args:
        xs, ys: (n,) positions in pixels of the image, not integers.
        rule: The parameters.
    """
    top, bottom = float(ys.min()), float(ys.max())
    middle, half = (top + bottom) / 2, max((bottom - top) / 2, 1e-9)
    degree = min(rule.degree, len(np.unique(ys)) - 1)
    rows = np.unique([top, *np.arange(np.ceil(top / rule.step) * rule.step, bottom, rule.step), bottom])
    if degree < 1:  # one row: a horizontal lane
        return np.array([[xs.min(), top], [xs.max(), top]], np.float32)
    curve = np.polynomial.polynomial.polyfit((ys - middle) / half, xs, degree)
    along = np.polynomial.polynomial.polyval((rows - middle) / half, curve)
    return np.stack([np.clip(along, xs.min(), xs.max()), rows], axis=1).astype(np.float32)


def _clustered(embedding: np.ndarray, rule: Lanes) -> np.ndarray:
    if not len(embedding):
        return np.zeros(0, np.int64)
    spread = embedding.std(axis=0)
    if np.hypot.reduce(spread) <= rule.one_lane:
        return np.zeros(len(embedding), np.int64)
    standard = (embedding - embedding.mean(axis=0)) / np.maximum(spread, _LEAST_SPREAD * spread.max())
    count = len(standard)
    if count <= MOST_POINTS:
        return dbscan(standard, rule.eps, rule.min_samples)
    chosen = np.linspace(0, count - 1, MOST_POINTS).astype(np.int64)
    sample = standard[chosen]
    few = dbscan(sample, rule.eps, max(1, round(rule.min_samples * MOST_POINTS / count)))
    clusters = few.max(initial=-1) + 1
    labels, nearest = np.full(count, -1, np.int64), np.full(count, np.inf)
    for cluster in range(clusters):
        own = sample[few == cluster]
        centre = own.mean(axis=0)
        reach = ((own - centre) ** 2).sum(axis=1).max()
        distance = ((standard - centre) ** 2).sum(axis=1)
        better = (distance <= reach) & (distance < nearest)
        labels[better], nearest[better] = cluster, distance[better]
    labels[chosen] = few
    return labels


def _foot(rows: np.ndarray, columns: np.ndarray, belongs: np.ndarray) -> tuple[float, float]:
    """Sort key of lanes: the mean column of the lowest row, and the negative row."""
    lowest = rows[belongs].max()
    return float(columns[belongs][rows[belongs] == lowest].mean()), -float(lowest)
