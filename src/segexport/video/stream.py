"""Segments a video frame by frame: `Model.stream` returns a `MaskStream`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from segexport import preprocess
from segexport.errors import OptionError
from segexport.preprocess import Placement
from segexport.spec import Label
from segexport.ui.pictures import colorize, overlay
from segexport.video.smoother import VideoSmoother, alpha


@dataclass(frozen=True)
class NetworkFrame:
    """A frame with the network's output.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        scores: float32 (h, w, classes), probabilities at the size of the network's output.
        grey: uint8 (h, w), the network's input as grey.
        placement: Maps the scores to the frame's size.
    """

    image: np.ndarray
    scores: np.ndarray
    grey: np.ndarray
    placement: Placement


@dataclass(frozen=True)
class VideoFrame:
    """A frame with its smoothed scores.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        scores: float32 (h, w, classes), at the size of the network's output.
        placement: Maps the scores to the frame's size.
        labels: The classes.
        foreground: Ids of the foreground classes.
    """

    image: np.ndarray
    scores: np.ndarray
    placement: Placement
    labels: tuple[Label, ...]
    foreground: frozenset[int]

    @cached_property
    def mask(self) -> np.ndarray:
        """(H, W) uint8 or uint16, the class of each pixel of the frame."""
        best = self.scores.argmax(axis=2).astype(np.uint8 if self.scores.shape[2] <= 256 else np.uint16)
        return preprocess.restore_mask(best, self.placement)

    @cached_property
    def alpha(self) -> np.ndarray:
        """(H, W) float32, the foreground's opacity from 0 to 1."""
        score = self.scores[..., sorted(self.foreground)].sum(axis=2)
        whole = preprocess.restore_scores(alpha(score)[..., None], self.placement)[..., 0]
        return np.clip(whole, np.float32(0), np.float32(1))

    def picture(self, kind: str = "overlay") -> np.ndarray:
        """uint8 (H, W, 3) RGB: `overlay`: the mask over the frame; `color`: its colours; `mask`: the ids as grey."""
        if kind == "overlay":
            return overlay(self.image, self.mask, self.labels)
        if kind == "color":
            return colorize(self.mask, self.labels)
        return np.repeat(self.mask.astype(np.uint8)[..., None], 3, axis=2)


class MaskStream:
    """Segments the frames of a video in order; it stores only the last frame.

    Args:
        network: Function that runs the network on a frame, uint8 (H, W, 3) BGR.
        labels: The classes.
        foreground: Ids of the foreground classes.
        smoother: None: each frame is segmented independently.
    """

    def __init__(
        self,
        network: Callable[[np.ndarray], NetworkFrame],
        labels: tuple[Label, ...],
        foreground: frozenset[int],
        smoother: VideoSmoother | None,
    ) -> None:
        self._network, self._labels, self._foreground, self._smoother = network, labels, foreground, smoother

    def next(self, frame: np.ndarray) -> VideoFrame:
        """Segments the next frame.

        Args:
            frame: uint8 (H, W, 3) in BGR order, as OpenCV reads it.

        Raises:
            SegexportError: The frame has another type or shape, or the model does not run.
        """
        return self.smoothed(self.look(frame))

    def reset(self) -> None:
        """Forgets the last frame, for another video."""
        if self._smoother is not None:
            self._smoother.reset()

    def look(self, frame: np.ndarray) -> NetworkFrame:
        """The first half of `next`, independent of other frames: it can run while another frame is smoothed."""
        return self._network(frame)

    def smoothed(self, seen: NetworkFrame) -> VideoFrame:
        """The second half of `next`, to be called in the order of frames."""
        scores = seen.scores
        if self._smoother is not None:
            if scores.shape[2] == 2:
                front = self._smoother.next(scores[..., 1], seen.grey)
                scores = np.stack([1 - front, front], axis=2)
            else:
                scores = self._smoother.next(scores, seen.grey)
        return VideoFrame(seen.image, scores, seen.placement, self._labels, self._foreground)


def foreground_ids(labels: Sequence[Label], wanted: Iterable[str | int]) -> frozenset[int]:
    """The ids of the wanted classes; if none is given, all but class 0.

    Args:
        wanted: Names or ids.

    Raises:
        InputError: A class does not exist.
    """
    ids: set[int] = set()
    for one in wanted:
        found = [label.id for label in labels if str(one) in (label.name, str(label.id))]
        if not found:
            raise OptionError(f"no class {str(one)!r}", cause=f"the classes are {', '.join(x.name for x in labels)}")
        ids.update(found)
    return frozenset(ids or (label.id for label in labels if label.id))
