"""Smooths the scores of a video over time by optical flow, so that masks do not flicker."""

from __future__ import annotations

import cv2
import numpy as np

from segexport.errors import InputError, ModelOutputError
from segexport.video.flow import MIN_SIDE_PIXELS, DisFlow, Flow

# The published parameters. Weights apply to the new score, and 1 - weight to the tracked one.
CONSISTENT_BELOW = 8  # squared length, in pixels, of forward plus backward flow
MOVING, STATIC = 0.3, 0.05
CERTAIN_MOVING, CERTAIN_STATIC = 0.4, 0.3
CERTAIN_ABOVE = 0.9
ALPHA_BELOW, ALPHA_ABOVE = 0.2, 0.8


class VideoSmoother:
    """Smooths scores frame by frame; it stores only the last frame and does not look ahead.

    The method of PaddleSeg's HumanSeg (release 0.5, `contrib/HumanSeg/utils/humanseg_postprocess.py`): scores of the
    last frame move along the flow to this one. Where forward and backward flow cancel, the new and the tracked score
    are averaged; elsewhere only the new score is used. The weight of the new score is smaller for a pixel that did not
    move, and larger for one on which the network is certain. A 3x3 Gaussian follows.

    PaddleSeg tracks one score in 0..255 and compares it with 0.1 and 0.9, so that nearly every pixel counts as certain.
    Here scores are in 0..1, as these limits require. All classes share one weight per pixel, and a pixel is certain if
    its best class is above 0.9; for two classes this is the published rule.

    Args:
        flow: The optical flow; default: `DisFlow`, as published.
    """

    def __init__(self, flow: Flow | None = None) -> None:
        self._flow = DisFlow() if flow is None else flow
        self._grey: np.ndarray | None = None
        self._scores: np.ndarray | None = None

    def next(self, scores: np.ndarray, grey: np.ndarray) -> np.ndarray:
        """Smooths the next frame. A frame with another size resets the smoother.

        Args:
            scores: float32 (h, w), the probability of the foreground, or (h, w, classes).
            grey: uint8 (h, w), the frame at the size of the scores.

        Returns:
            float32, of the shape of `scores`.

        Raises:
            InputError: Scores are not finite, too small for optical flow, or differ in size from `grey`.
        """
        scores = np.asarray(scores, np.float32)
        _require(scores, grey)
        fused = scores
        if self._scores is not None and self._grey is not None and self._scores.shape == scores.shape:
            forward, backward = self._flow(self._grey, grey), self._flow(grey, self._grey)
            fused = fuse(scores, *track(self._scores, forward, backward))
        smooth = blurred(fused)
        self._grey, self._scores = grey.copy(), smooth
        return smooth.copy()

    def reset(self) -> None:
        """Forgets the last frame, for another video."""
        self._grey = self._scores = None


def track(scores: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moves the last frame's scores along the flow.

    Args:
        scores: float32 (h, w) or (h, w, classes) of the last frame.
        forward: float32 (h, w, 2): motion (x, y) of each pixel from the last frame to this one, in pixels.
        backward: The same from this frame to the last.

    Returns:
        The moved scores; (h, w) bool, pixels that have one; (h, w) bool, pixels without motion.
    """
    height, width = scores.shape[:2]
    ahead, back = _whole(forward), _whole(backward)
    rows, columns = np.indices((height, width), np.int64)
    to_x, to_y = columns + ahead[..., 0], rows + ahead[..., 1]
    inside = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
    to_x, to_y, ahead, moved = to_x[inside], to_y[inside], ahead[inside], scores[inside]
    back = back[to_y, to_x]
    consistent = ((ahead + back) ** 2).sum(axis=1) < CONSISTENT_BELOW
    still = (ahead == 0).all(axis=1) & (back == 0).all(axis=1)

    tracked = np.zeros_like(scores)
    is_tracked, is_static = np.zeros((height, width), bool), np.zeros((height, width), bool)
    # If several pixels move to the same one, the last in row order is kept: NumPy assigns in order.
    tracked[to_y[consistent], to_x[consistent]] = moved[consistent]
    is_tracked[to_y[consistent], to_x[consistent]] = True
    is_static[to_y[still], to_x[still]] = True
    return tracked, is_tracked, is_static


def fuse(scores: np.ndarray, tracked: np.ndarray, is_tracked: np.ndarray, is_static: np.ndarray) -> np.ndarray:
    """Averages new scores with tracked ones from `track`; float32."""
    certain = (
        (scores > np.float32(CERTAIN_ABOVE)) | (scores < np.float32(1 - CERTAIN_ABOVE))
        if scores.ndim == 2
        else scores.max(axis=2) > np.float32(CERTAIN_ABOVE)
    )
    weight = np.where(
        certain,
        np.where(is_static, np.float32(CERTAIN_STATIC), np.float32(CERTAIN_MOVING)),
        np.where(is_static, np.float32(STATIC), np.float32(MOVING)),
    )
    if scores.ndim == 3:
        weight, is_tracked = weight[..., None], is_tracked[..., None]
    return np.where(is_tracked, weight * scores + (np.float32(1) - weight) * tracked, scores)


def blurred(scores: np.ndarray) -> np.ndarray:
    """Applies a 3x3 Gaussian, (1, 2, 1) / 4 in both directions; reflects the border without repeating its pixels."""
    if scores.ndim == 2:
        return cv2.GaussianBlur(scores, (3, 3), 0)
    return np.stack([blurred(plane) for plane in np.moveaxis(scores, 2, 0)], axis=2)


def alpha(score: np.ndarray) -> np.ndarray:
    """Opacity of the foreground: the smoothed score (h, w), blurred once more and stretched from 0.2..0.8 to 0..1."""
    stretched = (blurred(score) - np.float32(ALPHA_BELOW)) / np.float32(ALPHA_ABOVE - ALPHA_BELOW)
    return np.clip(stretched, np.float32(0), np.float32(1))


def _whole(flow: np.ndarray) -> np.ndarray:
    """Rounds to whole pixels, halves away from zero; limits motions to height + width."""
    far = np.float32(flow.shape[0] + flow.shape[1])
    clipped = np.clip(np.nan_to_num(flow, nan=float(far)), -far, far)
    return np.trunc(clipped + np.copysign(np.float32(0.5), clipped)).astype(np.int64)


def _require(scores: np.ndarray, grey: np.ndarray) -> None:
    if scores.ndim not in (2, 3) or grey.dtype != np.uint8 or grey.shape != scores.shape[:2]:
        raise InputError(
            f"scores of {list(scores.shape)} and a frame of {grey.dtype} {list(grey.shape)} cannot be smoothed",
            cause="scores are (h, w) or (h, w, classes), the frame is uint8 (h, w) of the same size",
        )
    if min(grey.shape) < MIN_SIDE_PIXELS:
        height, width = grey.shape
        raise InputError(
            f"scores of {width}x{height} cannot be smoothed",
            cause=f"optical flow needs at least {MIN_SIDE_PIXELS} pixels on a side",
            hint="predict without smoothing: --no-smooth",
        )
    if not np.isfinite(scores).all():
        raise ModelOutputError("scores with NaN or infinity cannot be smoothed")
