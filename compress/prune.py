"""Structured pruning of exported programs: removes whole channels and everything coupled to them.

Cuts arrays and attributes without running or training the program. A pruned program needs fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from segexport.compress.allocation import allocate
from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_classes import isomorphic_classes
from segexport.compress.channel_cost import ChannelCost, Cost, out_of_reach
from segexport.compress.channel_cut import cut
from segexport.compress.channel_graph import ChannelGraph, ChannelGroup
from segexport.compress.cost import macs, parameters
from segexport.errors import InputError, OptionError
from segexport.exporter.program import Program

Criterion = Literal["l1", "fpgm", "saliency", "fisher", "redundancy"]
FROM_WEIGHTS = frozenset({"l1", "fpgm"})
"""Criteria that need no images."""

MEASURED = frozenset({"fisher", "redundancy"})
"""Criteria whose scores per unit are measured on images."""

Widths = Literal["uniform", "global", "isomorphic"]


@dataclass(frozen=True)
class Width:
    """A channel group's width before and after. `name` is the parameter that produces the channels."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Pruned:
    """A pruned program and a record of the pruning.

    Attributes:
        removed: The removed units, by the graph's numbers.
        frozen_because: Reason -> parameters of which some or all channels could not be cut.
    """

    program: Program
    removed: np.ndarray
    widths: list[Width]
    frozen_because: dict[str, list[str]]
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int

    @property
    def macs_cut_ratio(self) -> float:
        return 1 - self.macs_after / max(1, self.macs_before)


def prune(
    program: Program,
    ratio: float | Mapping[str, float],
    *,
    criterion: Criterion = "l1",
    saliency: Mapping[str, np.ndarray] | None = None,
    scores: Sequence[np.ndarray] | None = None,
    align: int = 8,
    graph: ChannelGraph | None = None,
) -> Pruned:
    """Removes the least important channels of each group.

    Args:
        program: The program to prune, with fixed height and width. It is not modified.
        ratio: Fraction of channels to remove, in [0, 1): one for all groups, or by the name of a parameter that
            produces the group's channels (unnamed groups are not pruned; the smallest of several ratios applies).
        criterion: `l1`: the weights' absolute sum (Li et al., ICLR 2017, section 3.1). `fpgm`: the distance to all
            other filters, which removes those nearest to the geometric median (He et al., CVPR 2019, section 3.3).
            `saliency`: the sum of given scores, e.g. weight times gradient (Molchanov et al., CVPR 2019, equation 8).
            Those of `MEASURED`: given scores per unit, of `fisher` or `redundancy`.
        saliency: For `saliency`: a score per weight, in the parameter's shape.
        scores: For criteria in `MEASURED`: for each group of the graph a score per unit.
        align: The remaining channels are a multiple of this if the group is at least that wide.
        graph: The program's analysis, if available.

    Raises:
        InputError: A ratio is outside [0, 1), a named parameter produces no channels, or scores have a wrong shape.
    """
    graph = graph or analyze(program)
    _require_ratios(ratio, graph)
    removed: list[np.ndarray] = []
    worth = importances(graph, criterion, saliency=saliency, scores=scores)
    for group, values in zip(graph.groups, worth, strict=True):
        count = len(group.units)
        keep = kept_units(group, _ratio_of(group, ratio), align)
        if keep < count:
            removed.append(group.units[np.argsort(values, kind="stable")[: count - keep]])
    return remove(graph, np.sort(np.concatenate(removed)) if removed else np.empty(0, np.int64))


def prune_to_budgets(
    graph: ChannelGraph,
    budgets: Mapping[Cost, float],
    widths: Widths,
    *,
    criterion: Criterion = "l1",
    saliency: Mapping[str, np.ndarray] | None = None,
    scores: Sequence[np.ndarray] | None = None,
    align: int = 8,
    least_kept: float = 0.0,
) -> Pruned:
    """Removes the least important channels until every budget is met.

    Args:
        graph: The analysis of the program.
        budgets: Cost -> fraction that may remain.
        widths: `uniform`: every group loses the same fraction. `global`: groups with high cost and low importance lose
            most. `isomorphic`: every class of isomorphic groups loses the same fraction, its least important channels;
            with `fisher` those with the smallest loss per saved cost.
        criterion, saliency, scores, align: As for `prune`.
        least_kept: For `global` and `isomorphic`: smallest fraction of units that a group keeps.

    Raises:
        InputError: A budget is out of reach, or scores have a wrong shape.
    """
    if widths == "uniform":
        ratio = uniform_ratio(graph, budgets, align=align)
        return prune(
            graph.program, ratio, criterion=criterion, saliency=saliency, scores=scores, align=align, graph=graph
        )
    worth = importances(graph, criterion, saliency=saliency, scores=scores)
    classes = isomorphic_classes(graph) if widths == "isomorphic" else None
    per_cost = criterion == "fisher"  # the others rank channels, but do not estimate a loss
    gone = allocate(graph, worth, budgets, align=align, least_kept=least_kept, classes=classes, per_cost=per_cost)
    return remove(graph, gone)


def remove(graph: ChannelGraph, gone: np.ndarray) -> Pruned:
    """Removes these units from the graph's program."""
    program = graph.program
    widths = []
    for group in graph.groups:
        kept = len(group.units) - int(np.isin(group.units, gone).sum())
        widths.append(Width(group.name, len(group.units) * group.copies, kept * group.copies))
    smaller = cut(graph, gone)
    smaller.verify("the pruned program")
    return Pruned(
        program=smaller,
        removed=gone,
        widths=widths,
        frozen_because=graph.frozen_because,
        macs_before=macs(program),
        macs_after=macs(smaller),
        parameters_before=parameters(program),
        parameters_after=parameters(smaller),
    )


def uniform_ratio(graph: ChannelGraph, budgets: Mapping[Cost, float], *, align: int = 8, steps: int = 14) -> float:
    """Returns the smallest common ratio for all groups that meets every budget.

    Args:
        budgets: Cost -> fraction that may remain.

    Raises:
        InputError: No ratio meets the budgets.
    """
    costs = {what: ChannelCost(graph, what) for what in budgets}

    def shares(ratio: float) -> dict[Cost, float]:
        kept = [kept_units(group, ratio, align) for group in graph.groups]
        return {what: cost.at(kept) / max(1, cost.at(cost.units)) for what, cost in costs.items()}

    low, high = 0.0, 0.97
    for what, least in shares(high).items():
        if least > budgets[what] * (1 + 1e-9):
            raise out_of_reach(graph, what, budgets[what], least)
    for _ in range(steps):
        middle = (low + high) / 2
        if all(share <= budgets[what] * (1 + 1e-9) for what, share in shares(middle).items()):
            high = middle
        else:
            low = middle
    return high


def kept_units(group: ChannelGroup, ratio: float, align: int) -> int:
    """Number of units to keep: the nearest multiple that gives `align` channels, at least one multiple."""
    count = len(group.units)
    step = group.step(align)
    wanted = count * (1 - ratio)
    # Ties go to the narrower multiple; 1e-9 absorbs the error of ratios that are not binary fractions.
    multiples = max(1, int(np.ceil(wanted / step - 0.5 - 1e-9)))
    return min(count, multiples * step)


def importances(
    graph: ChannelGraph,
    criterion: Criterion,
    *,
    saliency: Mapping[str, np.ndarray] | None = None,
    scores: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Returns for each group a score per unit: the given ones for criteria in `MEASURED`, else see `importance`."""
    if criterion not in MEASURED:
        return [importance(graph, group, criterion, saliency) for group in graph.groups]
    if scores is None or [len(each) for each in scores] != [len(group.units) for group in graph.groups]:
        raise InputError(f"the {criterion} criterion has no scores for the channels of this program")
    return list(scores)


def importance(
    graph: ChannelGraph, group: ChannelGroup, criterion: Criterion, saliency: Mapping[str, np.ndarray] | None = None
) -> np.ndarray:
    """Returns a score per unit of the group: the sum over all weights that produce its channels.

    Each parameter has equal weight, regardless of the magnitude of its weights.
    """
    position = {unit: index for index, unit in enumerate(group.units.tolist())}
    scores = np.zeros(len(group.units))
    for name, axis in group.sources:
        roots = graph.axis_roots(name, axis)
        channels = _channel_scores(graph.program.params[name], axis, name, criterion, saliency)
        mine = np.array([position.get(root, -1) for root in roots.tolist()])
        inside = mine >= 0
        mean = channels[inside].mean()
        np.add.at(scores, mine[inside], channels[inside] / (mean if mean > 0 else 1))
    return scores


def _channel_scores(
    value: np.ndarray, axis: int, name: str, criterion: Criterion, saliency: Mapping[str, np.ndarray] | None
) -> np.ndarray:
    if criterion == "saliency":
        if saliency is None or name not in saliency or saliency[name].shape != value.shape:
            raise InputError(f"the saliency criterion has no scores of shape {list(value.shape)} for {name}")
        value = saliency[name]
    filters = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1).astype(np.float64)
    if criterion == "fpgm":
        squares = (filters**2).sum(1)
        distances = np.maximum(squares[:, None] + squares[None, :] - 2 * filters @ filters.T, 0)
        return np.sqrt(distances).sum(1)
    return np.abs(filters).sum(1)


def _ratio_of(group: ChannelGroup, ratio: float | Mapping[str, float]) -> float:
    if isinstance(ratio, Mapping):
        return min((ratio[name] for name, _ in group.sources if name in ratio), default=0.0)
    return ratio


def _require_ratios(ratio: float | Mapping[str, float], graph: ChannelGraph) -> None:
    given = dict(ratio) if isinstance(ratio, Mapping) else {"": ratio}
    known = {name for group in graph.groups for name, _ in group.sources}
    for name, value in given.items():
        if not 0 <= value < 1:
            of = f" of {name}" if name else ""
            raise OptionError(
                f"the pruning ratio{of} is {value}",
                cause="a ratio is the fraction of channels to remove: at least 0, below 1",
            )
        if name and name not in known:
            raise InputError(
                f"{name!r} has no channels that can be cut", hint="`segexport inspect` lists those that can"
            )
