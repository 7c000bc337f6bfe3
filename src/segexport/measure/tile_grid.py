"""Where the tiles of an image lie, and which pixels of it each of them decides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segexport.spec import Tiles


@dataclass(frozen=True)
class Span:
    """A tile along one side of the image, in pixels.

    Attributes:
        start, stop: What the tile covers; beyond the image, its pixels are mirrored.
        first, last: The pixels from `first` to before `last` are those that it decides, or adds to.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def kept(self) -> slice:
        """The decided pixels, counted from the tile's own start."""
        return slice(self.first - self.start, self.last - self.start)


def spans(tiles: Tiles, axis: int, length: int) -> tuple[Span, ...]:
    """The tiles along one side.

    `center`: PaddleX, `overlap_tile_predict`, with tiles that all have one size: PaddleX's last tile is as small as
    what is left, which a network of fixed size would see enlarged. `average`: PaddleSeg, `core/infer.py`,
    `slide_inference`: the last tile is moved back until it ends with the image.

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
    """The pixels of a tile: a view, or a copy where it is mirrored beyond the image's edges."""
    height, width = image.shape[:2]
    if rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width:
        return image[rows.start : rows.stop, columns.start : columns.stop]
    across = _mirrored(columns, width)
    return image.take(_mirrored(rows, height), axis=0).take(across, axis=1)


def times(all_spans: tuple[Span, ...], length: int) -> np.ndarray:
    """How many tiles add to each pixel of a side: (length,) float32."""
    counted = np.zeros(length, np.float32)
    for span in all_spans:
        counted[span.first : span.last] += 1
    return counted


def _mirrored(span: Span, length: int) -> np.ndarray:
    """Indices as of `cv2.flip` at an edge: -1 is 0, -2 is 1; again and again where the image is small."""
    index = np.arange(span.start, span.stop) % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)
