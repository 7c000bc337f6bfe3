"""Scores channels by what their feature maps add to those of the other channels.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import paddle

from segexport.compress.batches import Batch
from segexport.compress.channel_classes import PRODUCTS
from segexport.compress.channel_graph import ChannelGraph
from segexport.compress.live_program import LiveProgram
from segexport.errors import DataError
from segexport.exporter.program import Op

_GRID = 16  # cells along height and width, or along the square root of a sequence
_RIDGE = 1e-3  # of a channel's variance


def redundancy(graph: ChannelGraph, batches: Iterable[Batch]) -> list[np.ndarray]:
    """Returns for each unit the part of its feature maps that the remaining channels of its group do not explain.

    Feature maps are those that weights read, pooled to a coarse grid. A group's covariance over images and cells tells
    which part of a channel's variance the best linear combination of the others leaves; the channel with the smallest
    part goes first, and the parts of the others are computed anew. Filters are redundant where their maps agree place
    by place, as in SIRFP (Wu et al., AAAI 2025), which sums similarities of pairs; here all others explain a channel
    together, because `reconstruct` replaces it by all of them.

    Args:
        graph: The analysis of the program.
        batches: Images; labels are not used.

    Returns:
        For each group a float64 score per unit that increases in the order of removal.

    Raises:
        DataError: There are no images.
    """
    moments = [_Moments(len(group.units)) for group in graph.groups]
    readings = list(_readings(graph))
    net = LiveProgram(graph.program)
    net.eval()
    count = 0
    with paddle.no_grad():
        for batch in batches:
            held = net.read([paddle.to_tensor(batch.images)], {name for name, _, _ in readings})
            for name, axis, places in readings:
                pooled = _pooled(held[name].numpy(), axis)
                for group, channels in places.items():
                    moments[group].add((name, axis), pooled[channels])
            count += 1
    if not count:
        raise DataError("no images to measure the channels' redundancy on")
    return [unexplained(each.covariance()) for each in moments]


def unexplained(covariance: np.ndarray) -> np.ndarray:
    """Returns the unexplained part of the variance of each channel when it is removed, smallest first.

    Args:
        covariance: (channels, channels). Channels without variance are explained by a bias.

    Returns:
        (channels,) scores that increase in the order of removal.
    """
    scale = np.sqrt(np.diag(covariance).clip(0))
    moving = scale > 1e-6 * max(scale.max(initial=0.0), 1e-30)
    scale = np.where(moving, scale, 1.0)
    correlation = covariance / np.outer(scale, scale) * np.outer(moving, moving)
    precision = np.linalg.inv(correlation + _RIDGE * np.eye(len(scale)))
    scores, left, last = np.zeros(len(scale)), np.ones(len(scale), bool), -np.inf
    for _ in range(len(scale)):
        parts = np.where(moving, 1 / np.diag(precision).clip(1e-12), 0.0)
        goes = int(np.argmin(np.where(left, parts, np.inf)))
        last = scores[goes] = max(parts[goes], np.nextafter(last, np.inf))
        left[goes] = False
        # The Schur complement: the precision of the others without this channel.
        precision -= np.outer(precision[:, goes], precision[goes] / precision[goes, goes])
        precision[goes, goes] = 1.0
    return scores


class _Moments:
    """The covariance of a group's units over images and cells, summed over the variables that hold them.

    Every variable counts alike: it is in units of its first image's deviation.
    """

    def __init__(self, units: int) -> None:
        self._products = np.zeros((units, units))
        self._sums: dict[tuple[str, int], np.ndarray] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._scales: dict[tuple[str, int], float] = {}

    def add(self, variable: tuple[str, int], values: np.ndarray) -> None:
        """Adds values (copies, units, cells) of a variable along an axis."""
        scale = self._scales.setdefault(variable, float(values.std()) or 1.0)
        values = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float64) / scale
        self._products += values @ values.T
        self._sums[variable] = self._sums.get(variable, 0.0) + values.sum(1)
        self._counts[variable] = self._counts.get(variable, 0) + values.shape[1]

    def covariance(self) -> np.ndarray:
        """Returns (units, units); zeros if no weight reads the group."""
        products = self._products.copy()
        for variable, sums in self._sums.items():
            products -= np.outer(sums, sums) / self._counts[variable]
        return products


def _readings(graph: ChannelGraph) -> Iterator[tuple[str, int, dict[int, np.ndarray]]]:
    """Yields (variable, axis, group -> channels that hold its units (copies, units)) of what weights read."""
    group_of = {unit: index for index, group in enumerate(graph.groups) for unit in group.units.tolist()}
    names = dict.fromkeys(name for op in graph.program.compute_ops() for name in _features(graph, op))
    for name in names:
        for axis, ids in enumerate(graph.of(name)):
            if ids is None:
                continue
            channels: dict[int, list[int]] = {}
            for channel, root in enumerate(graph.roots(ids).tolist()):
                channels.setdefault(root, []).append(channel)
            places = {}
            for index in {group_of.get(root, -1) for root in channels} - {-1}:
                units = graph.groups[index].units.tolist()
                copies = min(len(channels.get(unit, ())) for unit in units)
                if copies:
                    places[index] = np.array([channels[unit][:copies] for unit in units]).T
            if places:
                yield name, axis, places


def _features(graph: ChannelGraph, op: Op) -> list[str]:
    if "Filter" not in op.inputs and op.type not in PRODUCTS:
        return []
    return [name for name in op.input_names() if name in graph.labels and name not in graph.program.params]


def _pooled(values: np.ndarray, axis: int) -> np.ndarray:
    """Returns the means over a coarse grid: (channels, cells). Axes before the last two are not pooled."""
    values = np.moveaxis(values, axis, 0)
    values = values.reshape(values.shape[0], -1, *values.shape[-2:]) if values.ndim > 3 else values
    grids = (_GRID, _GRID) if values.ndim > 3 else (1, _GRID * _GRID)
    for along, cells in zip((-2, -1), grids, strict=True):
        size = values.shape[along]
        if size > cells > 1:
            edges = np.arange(cells) * size // cells
            counts = np.diff([*edges, size])
            shape = [1] * values.ndim
            shape[along] = cells
            values = np.add.reduceat(values, edges, axis=along) / counts.reshape(shape)
    return values.reshape(values.shape[0], -1)
