"""Which channels of a program live and die together, read off the program itself.

Every coordinate along every axis of every parameter gets a number, and so does every channel that an operator makes
from them. Operators that need two coordinates to be cut together (a filter and its bias, both sides of an addition)
tie the two numbers in a union-find; operators that cannot lose a coordinate freeze it, with a reason. What remains are
units that can be cut, as in DepGraph (Fang et al., CVPR 2023, section 3), here per channel instead of per layer, so
that concat, split and channel shuffle need no special layers.

Units with the same members (the same axes of the same parameters) form a group; within one, any unit may go.
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
    """Units that are interchangeable as far as the graph goes.

    Attributes:
        name: The parameter that makes the channels (the first one in execution order).
        sources: Axes whose weights make these channels; what a criterion looks at.
        units: Union-find roots, one per unit.
        copies: Channels per unit that decide on alignment (more than one where heads or shuffled halves are tied).
    """

    name: str
    sources: tuple[Axis, ...]
    units: np.ndarray
    copies: int

    def step(self, align: int) -> int:
        """Units that make a multiple of `align` channels."""
        return align // math.gcd(align, self.copies)


@dataclass
class ChannelGraph:
    """The analysis of one program. Build it with `analyze`.

    Attributes:
        labels: Variable -> per axis the coordinates' numbers, None along axes that are not followed.
        frozen_because: Reason -> names of the parameters, or of the variables, that it froze.
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
        """A variable's labels; those of a parameter are made at its first use."""
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
        if len(sizes) != len(labels):  # a recorded shape that is not the real one (XShape, 0-D): nothing to follow
            self.freeze_all(labels, "a variable whose recorded rank is wrong")
            labels = [None] * len(sizes)
        self.labels[name] = labels

    def fresh(self, size: int) -> np.ndarray:
        start = len(self._parent)
        self._parent.extend(range(start, start + size))
        return np.arange(start, start + size)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Coordinates of equal position live and die together."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self._find(a), self._find(b)
            if a != b:
                self._parent[max(a, b)] = min(a, b)

    def tie_columns(self, table: np.ndarray) -> np.ndarray:
        """Ties the rows of `table` (k x n) column by column and returns the first row."""
        for row in table[1:]:
            self.tie(table[0], row)
        return table[0]

    def freeze(self, ids: np.ndarray | None, reason: str) -> None:
        """None of these coordinates may be cut."""
        if ids is not None:
            for a in ids.reshape(-1).tolist():
                self._frozen.setdefault(a, reason)

    def freeze_all(self, labels: list[np.ndarray | None], reason: str) -> None:
        for ids in labels:
            self.freeze(ids, reason)

    def source(self, name: str, axis: int) -> None:
        """Notes that the weights along this axis make the channels."""
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
        """The unit of each coordinate."""
        return np.array([self._find(a) for a in ids.tolist()], np.int64)

    def axis_roots(self, name: str, axis: int) -> np.ndarray:
        """The unit of each coordinate along a parameter's axis."""
        return self.roots(self._axes[name, axis])

    def parameter_axes(self) -> list[Axis]:
        """Every axis of every parameter that the program uses."""
        return list(self._axes)

    def sources(self) -> list[Axis]:
        """Every axis of a parameter whose weights make channels, in execution order, frozen ones too."""
        return list(self._sources)

    def finish(self) -> None:
        """Forms the groups, once every operator has spoken."""
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
    """Channels per unit in the narrowest source that the units fill alone, else (shuffled parts) in the widest."""
    alone = [count[units[0]] for count in counts.values() if len(count) == len(units)]
    return min(alone) if alone else max(count[units[0]] for count in counts.values())
