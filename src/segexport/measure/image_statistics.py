"""Compares the images of a calibration with those of a check: ranges from other images do not fit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from segexport.spec import ImageStatistics

LIMIT = 2.5
"""Distance of two means, in standard deviations between images, above which the images are of another kind.

Measured on street scenes (CamVid): another drive 1.0 to 1.2, a drive at dusk 2.1; red and blue exchanged 3.6, three
fifths darker 8.7, nuclei under a microscope 5.1.
"""
_ENOUGH = 4  # images on either side
_LEAST_SPREAD = 0.02  # of the tensor's whole spread: a few similar images must not make every other one look foreign


class StatisticsCounter:
    """Accumulates the statistics of preprocessed images."""

    def __init__(self) -> None:
        self._rows: list[list[float]] = []

    def add(self, tensor: np.ndarray) -> None:
        """Adds an image.

        Args:
            tensor: (1, channels, height, width), float32.
        """
        channels = tensor[0].astype(np.float64)
        mean, sd = channels.mean(axis=(1, 2)), channels.std(axis=(1, 2))
        gray = channels.mean(axis=0)
        detail = np.abs(np.diff(gray, axis=1)).mean() if gray.shape[1] > 1 else 0.0
        self._rows.append([*mean, *sd, float(detail), float(mean[0] - mean[-1])])

    def result(self) -> ImageStatistics:
        """The mean and the standard deviation of each statistic over the images."""
        rows = np.array(self._rows)
        mean, sd = rows.mean(axis=0), rows.std(axis=0)
        return ImageStatistics(
            images=len(rows),
            mean=tuple(float(f"{value:.6g}") for value in mean),
            sd=tuple(float(f"{value:.6g}") for value in sd),
        )


def statistics_of(tensors: Iterable[np.ndarray]) -> ImageStatistics:
    """The statistics of preprocessed images, each (1, channels, height, width)."""
    counter = StatisticsCounter()
    for tensor in tensors:
        counter.add(tensor)
    return counter.result()


def furthest(one: ImageStatistics, other: ImageStatistics) -> tuple[str, float] | None:
    """The statistic whose means are furthest apart, and the distance in standard deviations between images.

    None if either side has too few images to tell, or another number of channels.
    """
    if min(one.images, other.images) < _ENOUGH or len(one.mean) != len(other.mean):
        return None
    means = np.array([one.mean, other.mean])
    spread = np.sqrt(np.square([one.sd, other.sd]).mean(axis=0))
    channels = (len(one.mean) - 2) // 2
    scale = means[:, channels : 2 * channels].mean()  # the contrast within an image
    distances = np.abs(means[0] - means[1]) / np.maximum(spread, _LEAST_SPREAD * scale + 1e-12)
    index = int(distances.argmax())
    names = [f"the brightness of channel {i}" for i in range(channels)]
    names += [f"the contrast of channel {i}" for i in range(channels)]
    names += ["the fine detail", "the difference between the first and the last channel"]
    return names[index], float(distances[index])
