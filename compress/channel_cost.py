"""Computes a program's cost as a function of the kept units per channel group, without cutting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from segexport.compress.channel_graph import ChannelGraph
from segexport.compress.cost import op_macs
from segexport.errors import InputError
from segexport.exporter.program import Op

Cost = Literal["macs", "parameters", "bytes", "activations"]


@dataclass(frozen=True)
class _Size:
    """The size of an axis: a frozen part plus coordinates per unit of each group."""

    fixed: float
    per_unit: tuple[tuple[int, float], ...]

    def at(self, kept: Sequence[int]) -> float:
        return self.fixed + sum(count * kept[group] for group, count in self.per_unit)


class ChannelCost:
    """The cost of the graph's program at other widths: `ChannelCost(graph, "macs").at(kept)`.

    Each operator's cost is a product of sizes; each size is linear in the groups' units.

    Args:
        graph: The analysis.
        what: `macs`: multiply-accumulates. `parameters`: elements of all parameters and buffers; `bytes`: their size.
            `activations`: elements of all variables that operators write, proportional to memory traffic.

    Raises:
        UnsupportedModelError: `macs` of a program with dynamic height or width.
    """

    def __init__(self, graph: ChannelGraph, what: Cost = "macs") -> None:
        self.units = [len(group.units) for group in graph.groups]
        self._group_of = {unit: index for index, group in enumerate(graph.groups) for unit in group.units.tolist()}
        self._graph = graph
        self._terms: list[tuple[float, list[_Size]]] = []
        if what == "macs":
            for op in graph.program.compute_ops():
                self._add(op_macs(graph.program, op), _factors(graph, op))
        elif what in ("parameters", "bytes"):
            for name, value in graph.program.params.items():
                self._add(value.size if what == "parameters" else value.nbytes, graph.labels.get(name, []))
        else:
            for op in graph.program.compute_ops():
                for name in op.output_names():
                    if name in graph.labels and name not in graph.program.params:
                        self._add(prod(max(1, size) for size in graph.dims(name)), graph.of(name))
        self._of_group: list[list[int]] = [[] for _ in self.units]
        for index, (_, sizes) in enumerate(self._terms):
            for group in {group for size in sizes for group, _ in size.per_unit}:
                self._of_group[group].append(index)

    def _add(self, cost: float, factors: Sequence[np.ndarray | None]) -> None:
        if cost:
            sizes = [self._size(ids) for ids in factors if ids is not None]
            self._terms.append((cost / prod(size.at(self.units) for size in sizes), sizes))

    def _size(self, ids: np.ndarray) -> _Size:
        counts: dict[int, int] = {}
        for root in self._graph.roots(ids).tolist():
            group = self._group_of.get(root, -1)
            counts[group] = counts.get(group, 0) + 1
        fixed = counts.pop(-1, 0)
        return _Size(fixed, tuple((group, count / self.units[group]) for group, count in counts.items()))

    def at(self, kept: Sequence[int]) -> float:
        """Returns the cost if group i of the graph keeps `kept[i]` units."""
        return sum(factor * prod(size.at(kept) for size in sizes) for factor, sizes in self._terms)

    def saved(self, kept: Sequence[int], group: int, fewer: int) -> float:
        """Returns the cost saved by keeping `fewer` units of one group instead of `kept[group]`."""
        then = list(kept)
        then[group] = fewer
        terms = [self._terms[index] for index in self._of_group[group]]
        return sum(
            factor * (prod(size.at(kept) for size in sizes) - prod(size.at(then) for size in sizes))
            for factor, sizes in terms
        )


def _factors(graph: ChannelGraph, op: Op) -> list[np.ndarray | None]:
    """Returns the labels of the axes whose sizes multiply to the operator's multiply-accumulates."""
    if "Filter" in op.inputs:
        return graph.of(op.input("Filter"))[:2]
    if op.type == "einsum":
        terms = op.attr("equation").replace(" ", "").split("->")[0].split(",")
        letters: dict[str, np.ndarray | None] = {}
        for term, name in zip(terms, op.inputs["Operands"], strict=True):
            letters.update(zip(term, graph.of(name), strict=True))
        return list(letters.values())
    if op.type in ("matmul_v2", "matmul", "bmm", "mul"):
        x = graph.of(op.input("X"))
        turned = op.attr("trans_x", op.attr("transpose_X", False))
        return [*graph.of(op.output("Out")), x[-2 if turned and len(x) > 1 else -1]]
    return []


NOUNS: dict[Cost, str] = {
    "macs": "multiply-accumulates",
    "parameters": "parameters",
    "bytes": "bytes",
    "activations": "activations",
}


def out_of_reach(graph: ChannelGraph, what: Cost, wanted: float, least: float) -> InputError:
    """Builds the error for a budget that frozen channels or minimum widths make unreachable."""
    frozen = graph.frozen_because
    because = "; some channels cannot be cut (" + "; ".join(frozen) + ")" if frozen else ""
    return InputError(
        f"pruning cannot bring this model to {wanted:.0%} of its {NOUNS[what]}",
        cause=f"{least:.0%} is the least" + because,
        hint="allow more to stay",
    )
