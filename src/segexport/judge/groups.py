"""Groups of images that are not independent: a video, a patient, a scene. A group is one statistical unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grouping:
    """Which images belong to the same group.

    Attributes:
        codes: (images,) int, the group of each image, numbered by first appearance.
    """

    codes: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[str] | None, images: int) -> Grouping:
        """Builds it from the name of each image's group; None: every image is a separate group.

        Raises:
            ValueError: The number of names differs from the number of images.
        """
        if groups is None:
            return cls(np.arange(images))
        if len(groups) != images:
            raise ValueError(f"{len(groups)} groups for {images} images")
        number = {name: code for code, name in enumerate(dict.fromkeys(groups))}
        return cls(np.array([number[name] for name in groups], int))

    def __len__(self) -> int:
        return int(self.codes.max()) + 1 if self.codes.size else 0

    def of_images(self, chosen: np.ndarray) -> Grouping:
        """The groups of some images, (images,) bool; empty groups are removed."""
        _, first, sorted_codes = np.unique(self.codes[chosen], return_index=True, return_inverse=True)
        return Grouping(np.argsort(np.argsort(first))[sorted_codes])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums (images, ...) values by group: (groups, ...)."""
        total = np.zeros((len(self), *values.shape[1:]), values.dtype)
        np.add.at(total, self.codes, values)
        return total

    @property
    def freedom(self) -> int:
        """Degrees of freedom of t: one less than the equal groups that these are worth, rounded down; at least 1.

        With n images in each group that is sum(n)**2 / sum(n**2), the groups themselves where all are of one size
        (Carter, Schnepel and Steigerwald, "Asymptotic Behavior of a t-Test Robust to Cluster Heterogeneity", 2017).
        """
        sizes = np.bincount(self.codes).astype(float)
        return max(1, int(sizes.sum() ** 2 / (sizes**2).sum() + 1e-9) - 1) if sizes.size else 1
