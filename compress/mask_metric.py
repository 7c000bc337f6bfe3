"""The metric for sensitivities: mIoU if there are labels, else agreement with the original.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle

from segexport.compress import losses
from segexport.compress.batches import Batch
from segexport.compress.live_program import LiveProgram
from segexport.compress.score_maps import at_size, score_map_of
from segexport.exporter.program import Program
from segexport.measure import metrics


class MaskMetric:
    """mIoU or agreement of a program on a few images, at the size of its score map.

    Args:
        original: The program to compare with.
        batches: Images, with or without labels.
        classes: Number of label classes; None: use agreement even if there are labels.
    """

    def __init__(self, original: Program, batches: Sequence[Batch], classes: int | None, ignored: int = 255) -> None:
        self._where = score_map_of(original)
        self._batches, self._classes, self._ignored = batches, classes, ignored
        labelled = classes is not None and all(batch.labels is not None for batch in batches)
        self.name = "miou" if labelled else "agreement"
        masks = self._masks(original)
        self._truths = [
            at_size(batch.labels, *mask.shape[1:]) if labelled else mask
            for batch, mask in zip(batches, masks, strict=True)
        ]

    def __call__(self, program: Program) -> float:
        masks = self._masks(program)
        if self.name == "agreement":
            return float(np.mean([metrics.agreement(a[0], b[0]) for a, b in zip(masks, self._truths, strict=True)]))
        total = sum(
            metrics.confusion_matrix(truth[0], mask[0], self._classes, self._ignored)
            for mask, truth in zip(masks, self._truths, strict=True)
        )
        return metrics.scores(total).miou or 0.0

    def _masks(self, program: Program) -> list[np.ndarray]:
        net = LiveProgram(program)
        net.eval()
        name, axis = self._where
        found = []
        with paddle.no_grad():
            for batch in self._batches:
                scores = net.read([paddle.to_tensor(batch.images)], [name])[name]
                scores = scores if axis == 1 else paddle.moveaxis(scores, axis, 1)
                found.append(losses.two_classes(scores).numpy().argmax(1).astype(np.uint8))
        return found
