"""Estimates the first-order change of the loss without a weight: the gradient-based pruning criterion.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from segexport.compress.batches import Batch
from segexport.compress.live_program import LiveProgram
from segexport.compress.task_loss import TaskLoss
from segexport.errors import DataError
from segexport.exporter.program import Program


def saliency(program: Program, batches: Iterable[Batch]) -> dict[str, np.ndarray]:
    """Returns the mean over batches of (weight times gradient) squared, per weight.

    Molchanov et al.: Importance Estimation for Neural Network Pruning (CVPR 2019), equation 8. The loss is the cross
    entropy with the labels or, without labels, with the model's predicted classes. BatchNorm keeps its running
    statistics.

    Args:
        batches: Images, with or without labels.

    Returns:
        float32 scores by parameter name, in the parameter's shape, for `prune(criterion="saliency")`.

    Raises:
        InputError: There are no batches.
    """
    net = LiveProgram(program)
    net.eval()
    loss = TaskLoss(program)
    sums = {weight: np.zeros(net.tensor(weight).shape, np.float32) for weight in net.trained_names()}
    count = 0
    for batch in batches:
        loss(net, batch).backward()
        for weight, total in sums.items():
            held = net.tensor(weight)
            if held.grad is not None:
                total += (held * held.grad).square().numpy()
        net.clear_gradients()
        count += 1
    if not count:
        raise DataError("no images to measure the weights' importance on")
    return {weight: total / count for weight, total in sums.items()}
