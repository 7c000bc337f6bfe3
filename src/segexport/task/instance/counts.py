"""Counts of an instance segmentation model."""

from __future__ import annotations

from dataclasses import dataclass, field

from segexport.measure.parity import Counts
from segexport.runtimes.object_matching import Agreement
from segexport.task.instance.detections import Detections


@dataclass
class ObjectCounts(Counts):
    """The objects of one model.

    Attributes:
        found: Detections of each image, in the data's classes.
        pairs: Agreement of each image with the reference; empty for the reference itself.
        sure: Number of objects with a score of at least `match.SURE`.
        masks: Whether to measure masks in addition to boxes.
    """

    found: list[Detections] = field(default_factory=list)
    pairs: list[Agreement] = field(default_factory=list)
    sure: int = 0
    masks: bool = True

    @property
    def images(self) -> int:
        return len(self.found)

    def image_miou(self, index: int) -> None:
        """None: objects have no mIoU."""
