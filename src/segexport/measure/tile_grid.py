"""Computes the tiles of an image, and the pixels that each tile decides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segexport.spec import Tiles


@dataclass(frozen=True)
class Span:
    """A tile along one side of the image, in pixels.

    Attributes:
        start, stop: Range of the tile; outside the image, pixels are mirrored.
        first, last: Range of the pixels that the tile decides or contributes to; `last` is excluded.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def kept(self) -> slice:
        """The range of the decided pixels, relative to the tile's start."""
        return slice(self.first - self.start, self.last - self.start)


def spans(tiles: Tiles, axis: int, length: int) -> tuple[Span, ...]:
    """The tiles along one side.

    `center`: PaddleX, `overlap_tile_predict`, but with tiles of one size: PaddleX's last tile is smaller, and would be
    enlarged for a network with fixed input size. `average`: PaddleSeg, `core/infer.py`, `slide_inference`: the last
    tile ends with the image.

    Args:
        axis: 0 for columns, 1 for rows.
        length: The image's width or height.
    """
    size, overlap = tiles.size[axis], tiles.overlap[axis]
    step = size - overlap
    if tiles.blend == "center":
        margin = overlap // 2
        firsts = range(0, length, step)
        return tuple(Span(first - margin, first - margin + size, first, min(first + step, length)) for first in firsts)
    count = 1 if length <= size else math.ceil((length - size) / step) + 1
    stops = [min(index * step + size, length) for index in range(count)]
    starts = [max(stop - size, 0) for stop in stops]
    return tuple(Span(start, stop, start, stop) for start, stop in zip(starts, stops, strict=True))


def cut(image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
    """The pixels of a tile: a view, or a copy if pixels are mirrored outside the image."""
    height, width = image.shape[:2]
    if rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width:
        return image[rows.start : rows.stop, columns.start : columns.stop]
    across = _mirrored(columns, width)
    return image.take(_mirrored(rows, height), axis=0).take(across, axis=1)


def times(all_spans: tuple[Span, ...], length: int) -> np.ndarray:
    """The number of tiles that contribute to each pixel of a side, (length,) float32."""
    counted = np.zeros(length, np.float32)
    for span in all_spans:
        counted[span.first : span.last] += 1
    return counted


def _mirrored(span: Span, length: int) -> np.ndarray:
    """Indices mirrored at the edges (-1 is 0, -2 is 1), repeatedly for a small image."""
    index = np.arange(span.start, span.stop) % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)
