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
    classes: Sequence[int] | None = None,
    per_cost: bool = True,
) -> np.ndarray:
    """Selects the units to remove so that every cost meets its budget with little loss of importance.

    Greedy: in each step, the group with the smallest loss per saved cost loses its least important units, in blocks
    that keep a multiple of `align` channels; savings are recomputed for the current widths. Blocks that turn out not to
    be needed for the budgets are given back, the last one first. Scores are compared across groups, as in Group Fisher
    pruning (Liu et al., ICML 2021, section 3.3, there one channel at a time).

    Args:
        graph: The analysis.
        importance: For each group a score per unit, comparable across groups, e.g. from `fisher`.
        budgets: Cost -> fraction that may remain. Budgets that are not yet met have equal weight.
        align: The remaining channels are a multiple of this if the group is at least that wide.
        least_kept: Smallest fraction of units that a group keeps: the sum of scores underestimates the loss from
            removing nearly all of a layer.
        classes: For each group the number of its class. Scores are then compared only within a class, and all classes
            lose the same fraction of their units, as far as `align` and `least_kept` let them: Fang et al., Isomorphic
            Pruning (ECCV 2024), section 3.3.
        per_cost: Whether scores are losses, to be weighed against the saved cost. False: with `classes`, the loss per
            unit counts, whatever it saves.

    Returns:
        Roots of the removed units, sorted, for `cut`.

    Raises:
        InputError: A budget is out of reach.
    """
    return _Allocation(graph, importance, budgets, align, least_kept, classes, per_cost).removed()


class _Allocation:
    def __init__(
        self,
        graph: ChannelGraph,
        importance: Sequence[np.ndarray],
        budgets: Mapping[Cost, float],
        align: int,
        least_kept: float,
        classes: Sequence[int] | None,
        per_cost: bool,
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
        self.classes, self.per_cost = classes, per_cost

    def removed(self) -> np.ndarray:
        before: list[tuple[int, int]] = []
        while over := self._over_budget():
            offers = self._offers(over)
            if self.classes is not None:
                offers = self._of_classes(self.classes, offers)
            if not offers:
                what = over[0]
                least = self.costs[what].at(self.kept) / self.whole[what]
                raise out_of_reach(self.graph, what, self.budgets[what], least)
            _, group, width = min(offers)
            before.append((group, self.kept[group]))
            self.kept[group] = width
        self._give_back(before)
        gone = [
            group.units[index[: len(index) - kept]]
            for group, index, kept in zip(self.graph.groups, self.order, self.kept, strict=True)
        ]
        return np.sort(np.concatenate(gone)) if gone else np.empty(0, np.int64)

    def _give_back(self, before: Sequence[tuple[int, int]]) -> None:
        """Undoes cuts as far as the budgets allow; `before` has (group, width before) of each cut, in their order."""
        refused = set()
        for group, width in reversed(before):
            narrower, self.kept[group] = self.kept[group], width
            if group in refused or self._over_budget():
                self.kept[group] = narrower
                refused.add(group)  # its earlier blocks matter less than this one

    def _over_budget(self) -> list[Cost]:
        return [
            what
            for what, ratio in self.budgets.items()
            if self.costs[what].at(self.kept) > ratio * self.whole[what] * (1 + 1e-9)
        ]

    def _offers(self, over: Sequence[Cost]) -> list[tuple[float, int, int]]:
        """Returns (loss per saved cost or per unit, group, the next narrower width) of every group."""
        offers = []
        for group, kept in enumerate(self.kept):
            width = next((width for width in self.stops[group] if width < kept), None)
            if width is None:
                continue
            saved = sum(self.costs[what].saved(self.kept, group, width) / self.whole[what] for what in over)
            loss = self.sums[group][self.units[group] - width] - self.sums[group][self.units[group] - kept]
            if saved > 0:
                offers.append((float(loss) / (saved if self.per_cost else kept - width), group, width))
        return offers

    def _of_classes(
        self, classes: Sequence[int], offers: Sequence[tuple[float, int, int]]
    ) -> list[tuple[float, int, int]]:
        """Returns (lost fraction of the class, group, width) for the best offer of each class.

        The fraction counts half of the offer, so that a class of few blocks loses the nearest number of them.
        """
        best: dict[int, tuple[float, int, int]] = {}
        for offer in offers:
            number = classes[offer[1]]
            best[number] = min(offer, best.get(number, offer))
        units, kept = _sums(classes, self.units), _sums(classes, self.kept)
        return [
            (1 - (kept[number] - (self.kept[group] - width) / 2) / units[number], group, width)
            for number, (_, group, width) in best.items()
        ]


def _sums(classes: Sequence[int], counts: Sequence[int]) -> dict[int, int]:
    """Returns the sum of the groups' counts of each class."""
    sums: dict[int, int] = {}
    for number, count in zip(classes, counts, strict=True):
        sums[number] = sums.get(number, 0) + count
    return sums


def _widths(count: int, step: int, least_kept: float) -> list[int]:
    """Returns the allowed numbers of units of a group, widest first."""
    least = max(1, least_kept * count)
    return [width for width in range((count - 1) // step * step, 0, -step) if width >= least]
