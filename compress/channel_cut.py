"""Removes channels from a program: from parameters, recorded shapes and attributes."""

from __future__ import annotations

import numpy as np

from segexport.compress.channel_graph import ChannelGraph
from segexport.compress.channel_shapes import bounds
from segexport.exporter.program import Op, Program


def cut(graph: ChannelGraph, removed: np.ndarray) -> Program:
    """Returns a copy of the graph's program without some units.

    Args:
        graph: The analysis of the program.
        removed: Roots of the units to remove (`ChannelGroup.units`).

    Returns:
        The smaller program; the original is not changed.
    """
    return _Cut(graph, removed).program


def mask(graph: ChannelGraph, removed: np.ndarray) -> Program:
    """Returns a copy at full width with zeros for every weight that `cut` would remove.

    Both compute the same, except for means and norms over channels, which include the zeros.
    """
    result = graph.program.copy()
    for name, axis in graph.parameter_axes():
        gone = np.isin(graph.axis_roots(name, axis), removed)
        if gone.any():
            value = result.params[name].copy()
            np.moveaxis(value, axis, 0)[gone] = 0
            result.params[name] = value
    return result


class _Cut:
    def __init__(self, graph: ChannelGraph, removed: np.ndarray) -> None:
        self.graph = graph
        self.removed = np.asarray(removed, np.int64)
        self.before = graph.program
        self.program = graph.program.copy()
        for name, axis in graph.parameter_axes():
            alive = self._alive(graph.of(name)[axis])
            if not alive.all():
                self.program.params[name] = np.compress(alive, self.program.params[name], axis=axis)
        for name, labels in graph.labels.items():
            sizes = list(self.before.shape(name))
            for axis, ids in enumerate(labels):
                if ids is not None:
                    sizes[axis] = int(self._alive(ids).sum())
            self.program.vars[name].dims = tuple(sizes)
        for op in list(self.program.compute_ops()):
            edit = _EDITS.get(op.type)
            if edit is not None:
                edit(self, op)
            if op.output("XShape") in self.program.vars:
                self.program.vars[op.output("XShape")].dims = (0, *self.sizes(op.input("X")))

    def _alive(self, ids: np.ndarray) -> np.ndarray:
        return ~np.isin(self.graph.roots(ids), self.removed)

    def sizes(self, name: str) -> tuple[int, ...]:
        """Returns a variable's shape after the cut."""
        return tuple(self.program.vars[name].dims)

    def changed(self, name: str, axis: int) -> bool:
        return self.sizes(name)[axis] != self.before.shape(name)[axis]

    # -- attributes with sizes ------------------------------------------------------------------------------------

    def groups(self, op: Op) -> None:
        """Updates `groups`: a depthwise filter has one group per channel; other filters keep their group count."""
        filter_before = self.before.shape(op.input("Filter"))
        groups = op.attr("groups", 1)
        transposed = "transpose" in op.type
        if groups > 1 and filter_before[1] == 1:
            per_group = filter_before[0] // groups  # outputs per channel; inputs per channel if transposed
            op.set_attr("groups", self.sizes(op.input("Filter"))[0] // (1 if transposed else per_group))

    def shape(self, op: Op) -> None:
        given, out = list(op.attr("shape") or []), op.output("Out")
        tensors = next((slot for slot in ("ShapeTensor", "ShapeTensorList") if op.inputs.get(slot)), None)
        if tensors is not None and len(op.inputs[tensors]) == len(self.sizes(out)):
            op.inputs[tensors] = [self._size_of(op, axis, name) for axis, name in enumerate(op.inputs[tensors])]
        if len(given) == len(self.sizes(out)) and not op.inputs.get("Shape"):
            for axis, size in enumerate(given):
                if size >= 0 and self.changed(out, axis):
                    given[axis] = self.sizes(out)[axis]
            op.set_attr("shape", given)

    def _size_of(self, op: Op, axis: int, name: str) -> str:
        """Returns the variable with the size of an output's axis: a new constant if a constant held the old size."""
        out = op.output("Out")
        maker = self.program.producers().get(name)
        if not self.changed(out, axis) or maker is None or maker.type != "fill_constant":
            return name  # else computed from what is cut already
        size, constant = self.sizes(out)[axis], maker.copy()
        if float(maker.attr("value", 0.0)) != self.before.shape(out)[axis]:
            return name  # 0 or -1: copied or inferred
        new = self.program.add_var(name, self.sizes(name), self.program.dtype(name))
        constant.outputs = {"Out": [new]}
        constant.set_attr("value", float(size))
        if "str_value" in constant.attrs:
            constant.set_attr("str_value", str(size))
        self.program.insert_before(op, constant)
        return new

    def sections(self, op: Op) -> None:
        outs = op.outputs["Out"]
        axis = op.attr("axis", 0) % len(self.sizes(op.input("X")))
        if any(self.changed(name, axis) for name in outs):
            op.set_attr("sections", [self.sizes(name)[axis] for name in outs], "INTS")
            op.set_attr("num", 0, "INT")

    def ends(self, op: Op) -> None:
        x = op.input("Input")
        starts, ends = list(op.attr("starts") or []), list(op.attr("ends") or [])
        labels = self.graph.of(x)
        for position, axis in enumerate(op.attr("axes")[: len(starts)]):
            if labels[axis] is not None and self.changed(x, axis):
                alive = self._alive(labels[axis])
                first, last = bounds(starts[position], ends[position], len(alive))
                starts[position], ends[position] = int(alive[:first].sum()), int(alive[:last].sum())
        op.set_attr("starts", starts)
        op.set_attr("ends", ends)


_EDITS = {
    "conv2d": _Cut.groups,
    "depthwise_conv2d": _Cut.groups,
    "conv2d_transpose": _Cut.groups,
    "depthwise_conv2d_transpose": _Cut.groups,
    "expand_v2": _Cut.shape,
    "fill_constant": _Cut.shape,
    "reshape": _Cut.shape,
    "reshape2": _Cut.shape,
    "slice": _Cut.ends,
    "split": _Cut.sections,
}
