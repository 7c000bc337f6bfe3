"""Counts of an instance segmentation model."""

from __future__ import annotations

from dataclasses import dataclass, field

from segexport.measure.parity import Counts
from segexport.runtimes.object_matching import Agreement
from segexport.task.instance.detections import Detections


@dataclass
class ObjectCounts(Counts):
    """What one model found.

    Attributes:
        found: Of each image, in the data's classes.
        pairs: Of each image, how far it agrees with the reference; empty for the reference itself.
        sure: How many objects have a score of at least `match.SURE`.
        masks: Whether masks are measured, and not boxes alone.
    """

    found: list[Detections] = field(default_factory=list)
    pairs: list[Agreement] = field(default_factory=list)
    sure: int = 0
    masks: bool = True

    @property
    def images(self) -> int:
        return len(self.found)

    def image_miou(self, index: int) -> None:
        """Objects have none."""
