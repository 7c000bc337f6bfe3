"""Finds the channels of a program that must be pruned together.

Every coordinate along every axis of every parameter gets a number, and so does every channel that an operator computes
from them. Operators that couple two coordinates (a filter and its bias, both sides of an addition) join the two numbers
in a union-find; operators that cannot lose a coordinate freeze it, with a reason. The remaining units can be cut, as in
DepGraph (Fang et al., CVPR 2023, section 3), here per channel instead of per layer, so that concat, split and channel
shuffle need no special layers.

Units with the same members (the same axes of the same parameters) form a group; any unit of a group can be removed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from segexport.exporter.program import Program

Axis = tuple[str, int]
"""A parameter and one of its axes."""


@dataclass(frozen=True)
class ChannelGroup:
    """Units that are interchangeable in the graph.

    Attributes:
        name: The parameter that produces the channels (the first in execution order).
        sources: Axes whose weights produce these channels; pruning criteria read them.
        units: Union-find roots, one per unit.
        copies: Channels per unit for alignment (more than one if heads or shuffled halves are coupled).
    """

    name: str
    sources: tuple[Axis, ...]
    units: np.ndarray
    copies: int

    def step(self, align: int) -> int:
        """Number of units that form a multiple of `align` channels."""
        return align // math.gcd(align, self.copies)


@dataclass
class ChannelGraph:
    """The analysis of one program. Build it with `analyze`.

    Attributes:
        labels: Variable -> coordinate numbers per axis, None for untraced axes.
        frozen_because: Reason -> names of the frozen parameters or variables.
    """

    program: Program
    labels: dict[str, list[np.ndarray | None]] = field(default_factory=dict)
    frozen_because: dict[str, list[str]] = field(default_factory=dict)
    groups: list[ChannelGroup] = field(default_factory=list)
    _parent: list[int] = field(default_factory=list)
    _frozen: dict[int, str] = field(default_factory=dict)  # coordinate -> reason
    _sources: dict[Axis, None] = field(default_factory=dict)
    _axes: dict[Axis, np.ndarray] = field(default_factory=dict)

    # -- what rules use ------------------------------------------------------------------------------------------------

    def dims(self, name: str) -> tuple[int, ...]:
        return tuple(self.program.vars[name].dims)

    def of(self, name: str | None) -> list[np.ndarray | None]:
        """Returns a variable's labels; creates a parameter's labels at its first use."""
        if name is None:
            return []
        if name not in self.labels:
            found: list[np.ndarray | None] = [None] * len(self.dims(name))
            if name in self.program.params:
                for axis, size in enumerate(self.dims(name)):
                    found[axis] = self._axes[name, axis] = self.fresh(size)
                if self.program.params[name].dtype.kind != "f":
                    self.freeze_all(found, "a table of integers")
            self.labels[name] = found
        return self.labels[name]

    def put(self, name: str | None, labels: list[np.ndarray | None]) -> None:
        """Labels an operator's output."""
        if name is None or name in self.program.params:
            return
        sizes = self.dims(name)
        if len(sizes) != len(labels):  # the recorded shape is not the real one (XShape, 0-D)
            self.freeze_all(labels, "a variable whose recorded rank is wrong")
            labels = [None] * len(sizes)
        self.labels[name] = labels

    def fresh(self, size: int) -> np.ndarray:
        start = len(self._parent)
        self._parent.extend(range(start, start + size))
        return np.arange(start, start + size)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Couples the coordinates at equal positions."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self._find(a), self._find(b)
            if a != b:
                self._parent[max(a, b)] = min(a, b)

    def tie_columns(self, table: np.ndarray) -> np.ndarray:
        """Couples the rows of `table` (k x n) column by column and returns the first row."""
        for row in table[1:]:
            self.tie(table[0], row)
        return table[0]

    def freeze(self, ids: np.ndarray | None, reason: str) -> None:
        """Prevents these coordinates from being cut."""
        if ids is not None:
            for a in ids.reshape(-1).tolist():
                self._frozen.setdefault(a, reason)

    def freeze_all(self, labels: list[np.ndarray | None], reason: str) -> None:
        for ids in labels:
            self.freeze(ids, reason)

    def source(self, name: str, axis: int) -> None:
        """Records that the weights along this axis produce the channels."""
        if name in self.program.params:
            self._sources[name, axis] = None

    def _find(self, a: int) -> int:
        parent = self._parent
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        return a

    # -- results -------------------------------------------------------------------------------------------------------

    def roots(self, ids: np.ndarray) -> np.ndarray:
        """Returns the unit of each coordinate."""
        return np.array([self._find(a) for a in ids.tolist()], np.int64)

    def axis_roots(self, name: str, axis: int) -> np.ndarray:
        """Returns the unit of each coordinate along a parameter's axis."""
        return self.roots(self._axes[name, axis])

    def parameter_axes(self) -> list[Axis]:
        """Returns every axis of every parameter that the program uses."""
        return list(self._axes)

    def sources(self) -> list[Axis]:
        """Returns all parameter axes whose weights produce channels, in execution order, including frozen ones."""
        return list(self._sources)

    def finish(self) -> None:
        """Forms the groups after all rules have run."""
        frozen: dict[int, str] = {}
        for a, reason in self._frozen.items():
            frozen.setdefault(self._find(a), reason)
        members: dict[int, set[Axis]] = defaultdict(set)
        counts: dict[Axis, dict[int, int]] = {}
        because: dict[str, dict[str, None]] = defaultdict(dict)
        for axis, ids in self._axes.items():
            roots = self.roots(ids)
            units, times = np.unique(roots, return_counts=True)
            counts[axis] = dict(zip(units.tolist(), times.tolist(), strict=True))
            for unit in units.tolist():
                if unit not in frozen:
                    members[unit].add(axis)
                elif axis in self._sources:
                    because[frozen[unit]].setdefault(axis[0])
        by_members: dict[frozenset[Axis], list[int]] = defaultdict(list)
        for unit, axes in members.items():
            by_members[frozenset(axes)].append(unit)
        self.groups = []
        for axes, units in by_members.items():
            sources = tuple(axis for axis in self._sources if axis in axes)
            if sources:
                copies = _copies({axis: counts[axis] for axis in sources}, units)
                self.groups.append(ChannelGroup(sources[0][0], sources, np.array(sorted(units)), copies))
        order = {axis: number for number, axis in enumerate(self._sources)}
        self.groups.sort(key=lambda group: order[group.sources[0]])
        self.frozen_because = {reason: list(names) for reason, names in because.items()}


def _copies(counts: dict[Axis, dict[int, int]], units: list[int]) -> int:
    """Channels per unit in the narrowest source that consists of the units alone, else (shuffles) in the widest."""
    alone = [count[units[0]] for count in counts.values() if len(count) == len(units)]
    return min(alone) if alone else max(count[units[0]] for count in counts.values())
