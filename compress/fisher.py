"""Measures channel importance, comparable across the network, as the second-order change of the loss.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from segexport.compress.batches import Batch
from segexport.compress.channel_graph import Axis, ChannelGraph
from segexport.compress.live_program import LiveProgram
from segexport.compress.task_loss import TaskLoss
from segexport.errors import DataError


def fisher(graph: ChannelGraph, batches: Iterable[Batch]) -> list[np.ndarray]:
    """Returns the mean over images of the squared derivative of the loss with respect to a gate on a unit's channels.

    The gate is where the channels are read, so that it closes all coupled channels together: its derivative is the sum
    of weight times gradient over the filter slices that read them. Group Fisher pruning (Liu et al., ICML 2021,
    equation 6). The loss is the cross entropy with the labels or, without labels, with the model's predicted classes.
    BatchNorm keeps its running statistics.

    Args:
        graph: The analysis of the program.
        batches: Images, with or without labels; each batch counts as one sample, so use batches of one image.

    Returns:
        For each group of the graph a float64 score per unit.

    Raises:
        InputError: There are no images.
    """
    program = graph.program
    net = LiveProgram(program)
    net.eval()
    loss = TaskLoss(program)
    gates = [_gate(graph, index) for index in range(len(graph.groups))]
    sums = [np.zeros(len(group.units)) for group in graph.groups]
    count = 0
    for batch in batches:
        loss(net, batch).backward()
        products: dict[str, np.ndarray] = {}
        for gate, total in zip(gates, sums, strict=True):
            found = np.zeros(len(total))
            for (weight, along), positions in gate:
                if weight not in products:
                    held = net.tensor(weight)
                    products[weight] = (held * held.grad).numpy() if held.grad is not None else held.numpy() * 0
                slices = np.moveaxis(products[weight], along, 0).reshape(len(positions), -1).sum(1, dtype=np.float64)
                inside = positions >= 0
                np.add.at(found, positions[inside], slices[inside])
            total += found**2
        net.clear_gradients()
        count += 1
    if not count:
        raise DataError("no images to measure the channels' importance on")
    return [total / count for total in sums]


def _gate(graph: ChannelGraph, index: int) -> list[tuple[Axis, np.ndarray]]:
    """Returns the weight axes that read a group's channels, with each coordinate's index in the group, -1 outside.

    If no weights read them (a norm over channels, a product of features), returns the weights that produce them.
    """
    group = graph.groups[index]
    position = {unit: place for place, unit in enumerate(group.units.tolist())}
    makers = set(graph.sources())
    weights = {name for name, _ in makers}
    reading, making = [], []
    for axis in graph.parameter_axes():
        if axis[0] in weights:
            places = np.array([position.get(root, -1) for root in graph.axis_roots(*axis).tolist()])
            if (places >= 0).any():
                (making if axis in makers else reading).append((axis, places))
    return reading or making
