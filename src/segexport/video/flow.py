"""Optical flow between two grey frames: the motion of each pixel."""

from __future__ import annotations

from typing import Literal, Protocol

import cv2
import numpy as np

MIN_SIDE_PIXELS = 16
FlowName = Literal["dis", "blocks"]

_BLOCK = 8  # side of a block, in pixels
_REACH = 7  # search range in each direction, in pixels of the frame at half size
_PER_PIXEL = 32  # cost of a motion by one pixel: half a grey level per pixel of the block


class Flow(Protocol):
    """Computes optical flow."""

    def __call__(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        """Returns float32 (h, w, 2): the motion of each pixel of `previous` to `current`, (x, y) in pixels.

        Args:
            previous, current: uint8 (h, w).
        """
        ...


def flow_named(name: str) -> Flow:
    """Returns the flow with this name."""
    return DisFlow() if name == "dis" else BlockFlow()


class DisFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016) of OpenCV, with the preset and scales of PaddleSeg's HumanSeg.

    The preset is ULTRAFAST. The finest scale is 1 for frames of at most 64 pixels on a side, 2 for at most 160, else 3.
    """

    def __init__(self) -> None:
        self._by_scale: dict[int, cv2.DISOpticalFlow] = {}

    def __call__(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        side = min(previous.shape)
        scale = 1 if side <= 64 else 2 if side <= 160 else 3
        if scale not in self._by_scale:
            made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
            made.setFinestScale(scale)
            self._by_scale[scale] = made
        flow = np.zeros((*previous.shape, 2), np.float32)
        return self._by_scale[scale].calc(np.ascontiguousarray(previous), np.ascontiguousarray(current), flow)


class BlockFlow:
    """Block matching with integers; the Java core gives the same result in every pixel.

    Blocks of 8x8 pixels are compared by the sum of absolute differences: in frames of half the size within 7 pixels in
    each direction, then in the full frames within 1 pixel of twice the result. A motion by one pixel costs half a grey
    level per pixel of the block, so that noise in flat areas does not move. Among equal costs, the motion nearest to
    the start of the search wins. Blocks beyond the frame's edge repeat its last pixel.
    """

    def __call__(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        height, width = previous.shape
        half_previous, half_current = _halved(previous), _halved(current)
        coarse = _searched(half_previous, half_current)
        rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
        parents = 2 * coarse[np.arange(rows) // 2][:, np.arange(columns) // 2]
        blocks = _matched(previous, current, parents, 1)
        flow = blocks.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[:height, :width]
        return flow.astype(np.float32)


def _halved(frame: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels, rounded; repeats an odd last row or column."""
    height, width = frame.shape
    even = np.pad(frame, ((0, height % 2), (0, width % 2)), "edge").astype(np.int64)
    return ((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) >> 2).astype(np.uint8)


def _searched(previous: np.ndarray, current: np.ndarray) -> np.ndarray:
    """`_matched` around zero motion within `_REACH`; faster, because all blocks have the same candidate motions."""
    ys, xs = _covered(previous.shape)
    source = previous[np.ix_(ys, xs)]
    columns = [current[:, np.clip(xs + dx, 0, current.shape[1] - 1)] for dx in range(-_REACH, _REACH + 1)]
    shape = len(ys) // _BLOCK, len(xs) // _BLOCK
    best, found = np.full(shape, np.inf, np.float32), np.zeros((*shape, 2), np.int64)
    for dx, dy in _motions(_REACH):
        target = columns[dx + _REACH].take(np.clip(ys + dy, 0, current.shape[0] - 1), axis=0)
        sums = cv2.boxFilter(
            cv2.absdiff(source, target), cv2.CV_32F, (_BLOCK, _BLOCK), anchor=(0, 0), normalize=False
        )  # integers below 2^24 are exact in float32
        cost = sums[::_BLOCK, ::_BLOCK] + np.float32(_PER_PIXEL * (abs(dx) + abs(dy)))
        better = cost < best
        best[better] = cost[better]
        found[better] = dx, dy
    return found


def _covered(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of a frame for whole blocks; the last ones are repeated."""
    ys, xs = (np.minimum(np.arange(-(-side // _BLOCK) * _BLOCK), side - 1) for side in shape)
    return ys, xs


def _matched(previous: np.ndarray, current: np.ndarray, around: np.ndarray, reach: int) -> np.ndarray:
    """The best motion of each block near `around`, (rows, columns, 2) in whole pixels (x, y)."""
    height, width = previous.shape
    rows, columns = around.shape[:2]
    ys, xs = _covered(previous.shape)
    source = previous[np.ix_(ys, xs)].astype(np.int16)
    by_pixel = around.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    best = np.full((rows, columns), np.iinfo(np.int64).max)
    found = around.copy()
    for dx, dy in _motions(reach):
        x = np.clip(xs[None, :] + by_pixel[..., 0] + dx, 0, width - 1)
        y = np.clip(ys[:, None] + by_pixel[..., 1] + dy, 0, height - 1)
        differences = np.abs(source - current[y, x])
        cost = differences.reshape(rows, _BLOCK, columns, _BLOCK).sum(axis=(1, 3), dtype=np.int64)
        motion = around + np.array((dx, dy))
        cost += _PER_PIXEL * np.abs(motion).sum(axis=2)
        better = cost < best
        best = np.where(better, cost, best)
        found[better] = motion[better]
    return found


def _motions(reach: int) -> list[tuple[int, int]]:
    """All motions (x, y) of at most `reach` pixels, small ones first."""
    span = range(-reach, reach + 1)
    return sorted(((dx, dy) for dy in span for dx in span), key=lambda motion: abs(motion[0]) + abs(motion[1]))
