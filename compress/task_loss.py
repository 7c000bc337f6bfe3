"""The loss that pruning criteria differentiate.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import paddle

from segexport.compress import losses
from segexport.compress.batches import Batch
from segexport.compress.live_program import LiveProgram
from segexport.compress.score_maps import at_size, score_map_of
from segexport.exporter.program import Program


class TaskLoss:
    """Cross entropy with the labels or, without labels, with the model's predicted classes.

    Computed on the scores before upsampling, with labels resized to them.
    """

    def __init__(self, program: Program) -> None:
        self._name, self._axis = score_map_of(program)

    def __call__(self, net: LiveProgram, batch: Batch) -> paddle.Tensor:
        scores = net.read([paddle.to_tensor(batch.images)], [self._name])[self._name]
        scores = scores if self._axis == 1 else paddle.moveaxis(scores, self._axis, 1)
        scores = losses.two_classes(scores)
        if batch.labels is None:
            return losses.cross_entropy(scores, scores.detach().argmax(1))
        return losses.cross_entropy(scores, paddle.to_tensor(at_size(batch.labels, *scores.shape[2:])))
