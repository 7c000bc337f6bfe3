"""Evaluates a model during training with the metrics of `segexport evaluate`.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segexport import preprocess
from segexport.compress import distributed as ranks
from segexport.compress.training import Trainer
from segexport.data.dataset import Dataset
from segexport.measure import metrics
from segexport.spec import Preprocess


@dataclass(frozen=True)
class Validation:
    """Labelled images outside the training data, and the model's preprocessing for them."""

    data: Dataset
    preprocess: Preprocess
    classes: int

    def measure(self, trainer: Trainer) -> dict[str, Any]:
        """Returns `miou`, `category_iou` and `pixel_accuracy` of the weights that `trainer` would keep now.

        Raises:
            InputError: An image cannot be read.
        """
        total = np.zeros((self.classes, self.classes), np.int64)
        dtype = np.uint8 if self.classes <= 256 else np.uint16
        with trainer.kept_weights() as net:
            for sample in self.data.shard(ranks.own(), ranks.count()):
                tensor, placement = preprocess.apply(self.preprocess.of_a_tile, sample.image)
                scores = trainer.objective.scores(net, tensor)[0]
                mask = preprocess.restore_mask(scores.argmax(0).astype(dtype), placement)
                ignored = self.data.ignore_index
                total += metrics.confusion_matrix(sample.label, mask, self.classes, ignored, name=sample.name)
        found = metrics.scores(ranks.sum_of(total))
        return {"miou": found.miou, "category_iou": list(found.class_iou), "pixel_accuracy": found.pixel_accuracy}
