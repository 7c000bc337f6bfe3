"""Prunes in stages with images: measures channel importance, cuts, and reconstructs the remaining weights.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segexport.compress.batches import Batch
from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_cost import ChannelCost, Cost
from segexport.compress.channel_graph import ChannelGraph
from segexport.compress.cost import macs, parameters
from segexport.compress.fisher import fisher
from segexport.compress.prune import Pruned, Width, prune, prune_to_budgets, remove
from segexport.compress.prune_job import PruneOptions
from segexport.compress.reconstruct import kept_rows, reconstruct
from segexport.compress.redundancy import redundancy
from segexport.compress.saliency import saliency
from segexport.exporter.program import Program

Goal = float | Mapping[str, float]
"""Ratio of channels to remove: one for all groups, or by the name of a parameter that produces a group's channels."""


@dataclass(frozen=True)
class Stage:
    """The remaining costs after one cut, and the peak memory so far."""

    macs_kept: float
    parameters_kept: float
    peak_rss_bytes: int


class Scored:
    """A program with known channel importance, so that several cuts can be tried.

    Args:
        batches: Batches of one image each.
    """

    def __init__(self, program: Program, options: PruneOptions, batches: Sequence[Batch]) -> None:
        self.graph: ChannelGraph = analyze(program)
        self.options = options
        self._saliency = saliency(program, batches) if options.criterion == "saliency" else None
        measured = {"fisher": fisher, "redundancy": redundancy}.get(options.criterion)
        self._scores = measured(self.graph, batches) if measured else None

    def to_ratio(self, ratio: Goal) -> Pruned:
        options = self.options
        return prune(
            self.graph.program,
            ratio,
            criterion=options.criterion,
            saliency=self._saliency,
            scores=self._scores,
            align=options.align,
            graph=self.graph,
        )

    def to_budgets(self, budgets: Mapping[Cost, float]) -> Pruned:
        """Prunes to budgets; raises InputError if a budget is unreachable."""
        options = self.options
        return prune_to_budgets(
            self.graph,
            budgets,
            options.widths,
            criterion=options.criterion,
            saliency=self._saliency,
            scores=self._scores,
            align=options.align,
            least_kept=options.least_kept,
        )


def prune_in_stages(
    program: Program,
    options: PruneOptions,
    batches: Sequence[Batch],
    *,
    budgets: Mapping[Cost, float] | None = None,
    ratio: Goal | None = None,
    first: Scored | None = None,
    tell: Callable[[], None] = lambda: None,
) -> tuple[Pruned, list[Stage]]:
    """Prunes a program to budgets or by ratios, and reconstructs its weights.

    Each of several stages reduces the costs by the same factor and measures the importance of the remaining channels
    again, as Molchanov et al. (CVPR 2019, section 3.3) prune between updates; here the weights are reconstructed
    between stages instead of trained.

    Args:
        batches: Batches of one image each, for importance and reconstruction.
        budgets, ratio: The goal; give one of them. Ratios take one stage.
        first: The program's scores, if known.
        tell: Called after each stage.

    Returns:
        The pruned program, compared with the original, and the result of each stage.

    Raises:
        InputError: A budget is unreachable.
    """
    stages: list[Stage] = []
    present, count = program, options.stages if budgets else 1
    before = macs(program), parameters(program)
    pruned = None
    for number in range(1, count + 1):
        scored = first if first is not None and number == 1 else Scored(present, options, batches)
        if budgets:
            if count > 1 and number == 1:
                scored.to_budgets(budgets)  # report an unreachable budget before any reconstruction
            left = {what: share ** (number / count) for what, share in budgets.items()}
            pruned = scored.to_budgets(_of_present(program, present, left))
        else:
            pruned = scored.to_ratio(ratio if ratio is not None else 0.0)
        if options.reconstruct and len(pruned.removed):
            images = [batch.images for batch in batches]
            mended = reconstruct(present, pruned.program, kept_rows(scored.graph, pruned.removed), images)
        else:
            mended = pruned.program
        present = mended
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        kept = macs(present) / max(1, before[0]), parameters(present) / max(1, before[1])
        stages.append(Stage(round(kept[0], 4), round(kept[1], 4), peak))
        tell()
    whole = Pruned(
        program=present,
        removed=pruned.removed if count == 1 else np.empty(0, np.int64),
        widths=_widths(program, present),
        frozen_because=pruned.frozen_because,
        macs_before=before[0],
        macs_after=macs(present),
        parameters_before=before[1],
        parameters_after=parameters(present),
    )
    return whole, stages


def _of_present(original: Program, present: Program, shares: Mapping[Cost, float]) -> dict[Cost, float]:
    """Converts fractions of the original's costs to fractions of the current program's costs."""
    if present is original:
        return dict(shares)
    whole, now = analyze(original), analyze(present)
    found = {}
    for what, share in shares.items():
        costs = [ChannelCost(graph, what) for graph in (whole, now)]
        first, last = (cost.at(cost.units) for cost in costs)
        found[what] = min(1.0, share * first / max(1, last))
    return found


def _widths(original: Program, present: Program) -> list[Width]:
    left = {width.name: width.before for width in remove(analyze(present), np.empty(0, np.int64)).widths}
    first = remove(analyze(original), np.empty(0, np.int64)).widths
    return [Width(width.name, width.before, left.get(width.name, width.before)) for width in first]
