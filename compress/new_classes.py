"""Changes a program's classes: resizes every layer that produces or forwards the class channels.

The channel graph finds these parameters, so heads with several layers, summed scores or depthwise upsampling are
changed as a whole. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_graph import Axis, ChannelGraph
from segexport.compress.logits import logits_of
from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Op, Program
from segexport.exporter.shapes import infer_shapes

_HINT = "fine-tune on data with the model's own classes, or export a model that was built for the new ones"


def with_classes(program: Program, origin: Sequence[int | None], shares: np.ndarray | None = None) -> Program:
    """Returns a copy of the program for other classes.

    An existing class keeps its weights. A new class gets the mean of all classes: it is then neither likely nor
    unlikely, and training moves it from there because the last layer is linear in its weights. If no class exists in
    the program, biases start at the logarithm of the class frequencies, so that the first steps need not learn them
    (Lin et al.: Focal Loss for Dense Object Detection, ICCV 2017, section 4.1).

    Args:
        program: Its first output is a segmentation.
        origin: For each class after the change, its class in the program, or None.
        shares: (classes,) class frequencies as fractions of the pixels.

    Raises:
        UnsupportedModelError: A channel belongs to two classes, or class channels mix with others.
    """
    name, axis = logits_of(program)
    graph = analyze(program)
    ids = graph.of(name)[axis]
    if ids is None or len(ids) < 2:
        cause = "one channel belongs to two classes" if ids is not None else "its channels cannot be followed"
        raise UnsupportedModelError(f"the head ({name}) cannot be given {len(origin)} classes", cause=cause, hint=_HINT)
    units = graph.roots(ids)
    changed = program.copy()
    carriers = [place for place in graph.parameter_axes() if np.isin(graph.axis_roots(*place), units).any()]
    for place in carriers:
        _require_whole(graph, place, units, len(origin))
        changed.params[place[0]] = _moved(changed.params[place[0]], place[1], origin)
        changed.vars[place[0]].dims = tuple(changed.params[place[0]].shape)
    if shares is not None and not any(known is not None for known in origin):
        _begin_with(changed, carriers, shares)
    _follow(changed, graph, units, len(origin))
    try:
        infer_shapes(changed, [name for name, _ in carriers])
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            f"the head ({name}) cannot be given {len(origin)} classes", cause=error.what, hint=_HINT
        ) from error
    changed.verify("the program with other classes")
    return changed


def _require_whole(graph: ChannelGraph, place: Axis, units: np.ndarray, classes: int) -> None:
    roots = graph.axis_roots(*place)
    if not np.array_equal(roots, units):
        raise UnsupportedModelError(
            f"{place[0]} cannot be given {classes} classes",
            cause="its class channels are mixed with others or in another order",
            hint=_HINT,
        )


def _moved(value: np.ndarray, axis: int, origin: Sequence[int | None]) -> np.ndarray:
    rows = np.moveaxis(value, axis, 0)
    mean = rows.mean(0)
    return np.moveaxis(np.stack([mean if known is None else rows[known] for known in origin]), 0, axis).astype(
        value.dtype
    )


def _begin_with(program: Program, carriers: list[Axis], shares: np.ndarray) -> None:
    """Adds the logarithm of the frequencies to the last bias."""
    names, producers = {name for name, _ in carriers}, program.producers()
    for op in reversed(program.ops):
        bias = {"elementwise_add": op.input("Y"), "batch_norm": op.input("Bias")}.get(op.type)
        while bias in producers and producers[bias].type in ("reshape2", "unsqueeze2"):  # to (1, classes, 1, 1)
            bias = producers[bias].input("X")
        if bias in names and program.params[bias].size == len(shares):
            start = np.log(np.clip(shares, 1e-4, None)).reshape(program.params[bias].shape)
            program.params[bias] = (program.params[bias] + start).astype(np.float32)
            return


def _follow(program: Program, graph: ChannelGraph, units: np.ndarray, classes: int) -> None:
    """Updates recorded shapes and the attributes that contain them."""

    def axes_of(name: str | None) -> list[int]:
        labels = graph.labels.get(name or "", [])
        return [at for at, ids in enumerate(labels) if ids is not None and np.isin(graph.roots(ids), units).any()]

    for name in graph.labels:
        sizes = list(program.vars[name].dims)
        for at in axes_of(name):
            sizes[at] = classes
        program.vars[name].dims = tuple(sizes)
    for op in program.compute_ops():
        if "conv2d" in op.type and op.attr("groups", 1) == len(units) and axes_of(op.input("Input")):
            op.set_attr("groups", classes)
        elif op.type in ("reshape2", "reshape", "expand_v2", "fill_constant"):
            _reshape(op, axes_of(op.output("Out")), len(units), classes)


def _reshape(op: Op, axes: list[int], before: int, after: int) -> None:
    given = list(op.attr("shape") or [])
    for at in axes:
        if at < len(given) and given[at] == before:
            given[at] = after
    op.set_attr("shape", given)
