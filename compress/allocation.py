"""Allocates channel widths under cost budgets: first cuts channels with high cost and low importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from segexport.compress.channel_cost import ChannelCost, Cost, out_of_reach
from segexport.compress.channel_graph import ChannelGraph


def allocate(
    graph: ChannelGraph,
    importance: Sequence[np.ndarray],
    budgets: Mapping[Cost, float],
    *,
    align: int = 8,
    least_kept: float = 0.0,
) -> np.ndarray:
    """Selects the units to remove so that every cost meets its budget with little loss of importance.

    Greedy: in each step, the group with the smallest loss per saved cost loses its least important units, in blocks
    that keep a multiple of `align` channels; savings are recomputed for the current widths. Scores are compared across
    groups, as in Group Fisher pruning (Liu et al., ICML 2021, section 3.3, there one channel at a time).

    Args:
        graph: The analysis.
        importance: For each group a score per unit, comparable across groups, e.g. from `fisher`.
        budgets: Cost -> fraction that may remain. Budgets that are not yet met have equal weight.
        align: The remaining channels are a multiple of this if the group is at least that wide.
        least_kept: Smallest fraction of units that a group keeps: the sum of scores underestimates the loss from
            removing nearly all of a layer.

    Returns:
        Roots of the removed units, sorted, for `cut`.

    Raises:
        InputError: A budget is out of reach.
    """
    return _Allocation(graph, importance, budgets, align, least_kept).removed()


class _Allocation:
    def __init__(
        self,
        graph: ChannelGraph,
        importance: Sequence[np.ndarray],
        budgets: Mapping[Cost, float],
        align: int,
        least_kept: float,
    ) -> None:
        self.graph, self.budgets = graph, budgets
        self.costs = {what: ChannelCost(graph, what) for what in budgets}
        self.units = [len(group.units) for group in graph.groups]
        self.kept = list(self.units)
        self.whole = {what: cost.at(self.units) for what, cost in self.costs.items()}
        self.order = [np.argsort(scores, kind="stable") for scores in importance]
        self.sums = [
            np.concatenate([[0.0], np.cumsum(scores[index])])
            for scores, index in zip(importance, self.order, strict=True)
        ]
        self.stops = [_widths(len(group.units), group.step(align), least_kept) for group in graph.groups]

    def removed(self) -> np.ndarray:
        while over := self._over_budget():
            offers = [offer for group in range(len(self.kept)) if (offer := self._offer(group, over))]
            if not offers:
                what = over[0]
                least = self.costs[what].at(self.kept) / self.whole[what]
                raise out_of_reach(self.graph, what, self.budgets[what], least)
            _, group, width = min(offers)
            self.kept[group] = width
        gone = [
            group.units[index[: len(index) - kept]]
            for group, index, kept in zip(self.graph.groups, self.order, self.kept, strict=True)
        ]
        return np.sort(np.concatenate(gone)) if gone else np.empty(0, np.int64)

    def _over_budget(self) -> list[Cost]:
        return [
            what
            for what, ratio in self.budgets.items()
            if self.costs[what].at(self.kept) > ratio * self.whole[what] * (1 + 1e-9)
        ]

    def _offer(self, group: int, over: Sequence[Cost]) -> tuple[float, int, int] | None:
        """Returns (loss per saved cost, group, the next narrower width)."""
        width = next((width for width in self.stops[group] if width < self.kept[group]), None)
        if width is None:
            return None
        saved = sum(self.costs[what].saved(self.kept, group, width) / self.whole[what] for what in over)
        loss = self.sums[group][self.units[group] - width] - self.sums[group][self.units[group] - self.kept[group]]
        return (float(loss) / saved, group, width) if saved > 0 else None


def _widths(count: int, step: int, least_kept: float) -> list[int]:
    """Returns the allowed numbers of units of a group, widest first."""
    least = max(1, least_kept * count)
    return [width for width in range((count - 1) // step * step, 0, -step) if width >= least]
