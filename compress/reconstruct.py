"""Fits the weights of a pruned program to the original outputs by least squares, layer by layer, before training.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import paddle

from segexport.compress.channel_graph import ChannelGraph
from segexport.compress.live_program import LiveProgram
from segexport.exporter.program import Op, Program

_POSITIONS = 12_000  # rows of the least-squares problem, over all images


def reconstruct(
    original: Program,
    pruned: Program,
    kept: Mapping[str, np.ndarray],
    images: Sequence[np.ndarray],
    *,
    ridge: float = 1e-2,
) -> Program:
    """Returns the pruned program with weights that best reproduce each layer's original output.

    In execution order, each filter that lost inputs becomes W + D, where D minimises
    ||Y - X (W + D)||^2 + ridge ||D||^2: Y is the layer's output in the original, X its input in the pruned program with
    reconstructed earlier layers, at positions sampled from the images. He, Zhang, Sun: Channel Pruning for Accelerating
    Very Deep Neural Networks (ICCV 2017), equation 5 and section 3.1.2; the ridge is an addition. The remaining error
    of the mean goes into the running mean of the following BatchNorm.

    Args:
        original: The program before pruning.
        pruned: The pruned program, with the same variable names.
        kept: For each parameter the remaining rows along axis 0 (a filter's outputs), see `kept_rows`.
        images: float32 input tensors (1, channels, height, width).
        ridge: Relative to the inputs' mean energy; weights keep their values in directions that the images barely show.

    Returns:
        A copy with new weights.
    """
    net, known = LiveProgram(pruned), LiveProgram(original)
    net.eval()
    known.eval()
    layers = [op for op in pruned.compute_ops() if _lost_inputs(op, original, pruned)]
    random = np.random.default_rng(0)
    each = max(1, _POSITIONS // max(1, len(images)))
    picks = {
        op.output("Output"): _positions(pruned.shape(op.output("Output")), each, len(images), random) for op in layers
    }
    feeds = [[paddle.to_tensor(image)] for image in images]
    with paddle.no_grad():
        targets: dict[str, list[np.ndarray]] = {name: [] for name in picks}
        for number, inputs in enumerate(feeds):
            found = known.read(inputs, picks)
            for name, places in picks.items():
                rows, columns = places[number]
                targets[name].append(found[name].numpy()[0][:, rows, columns].T)
        for op, runs in net.walk(feeds):
            name = op.output("Output")
            if name in picks:
                weight, read = op.input("Filter"), op.input("Input")
                seen = [
                    _patches(tensors[read].numpy()[0], op, pruned.shape(weight)[2:], *places)
                    for tensors, places in zip(runs, picks[name], strict=True)
                ]
                y = np.concatenate(targets.pop(name))
                _mend(net, pruned, op, np.concatenate(seen), y[:, kept[weight]] if weight in kept else y, ridge)
    return net.program()


def kept_rows(graph: ChannelGraph, removed: np.ndarray) -> dict[str, np.ndarray]:
    """Returns, per parameter, the coordinates along axis 0 that remain after removing the units `removed`."""
    return {
        name: np.flatnonzero(~np.isin(graph.axis_roots(name, axis), removed))
        for name, axis in graph.parameter_axes()
        if axis == 0
    }


def _mend(net: LiveProgram, program: Program, op: Op, x: np.ndarray, y: np.ndarray, ridge: float) -> None:
    """Solves for one layer; x: (positions, inputs), y: (positions, outputs)."""
    held = net.tensor(op.input("Filter"))
    shape = held.shape
    old = held.numpy().reshape(shape[0], -1).T.astype(np.float64)
    mean = _running_mean(program, op)
    if op.input("Bias") is not None:
        y = y - net.tensor(op.input("Bias")).numpy()
    x_mean, y_mean = (x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)) if mean else (0.0, 0.0)
    x, y = x - x_mean, y - y_mean
    gram = (x.T @ x).astype(np.float64)
    weight = ridge * max(np.trace(gram) / len(gram), 1e-12)
    new = old + np.linalg.solve(gram + weight * np.eye(len(gram)), (x.T @ (y - x @ old)).astype(np.float64))
    held.set_value(new.T.reshape(shape).astype(np.float32))
    if mean:
        # BatchNorm now subtracts this layer's mean instead of the original's: the difference stays the same.
        statistics = net.tensor(mean)
        statistics.set_value(statistics.numpy() + (x_mean @ new - y_mean).astype(np.float32))


def _lost_inputs(op: Op, original: Program, pruned: Program) -> bool:
    if op.type != "conv2d" or op.attr("groups", 1) != 1 or op.attr("data_format", "NCHW") == "NHWC":
        return False
    name = op.input("Filter")
    explicit = op.attr("padding_algorithm", "EXPLICIT") == "EXPLICIT"
    return explicit and name in pruned.params and pruned.shape(name)[1] < original.shape(name)[1]


def _running_mean(program: Program, op: Op) -> str | None:
    """Returns the running mean of the BatchNorm that is the only reader of the layer's output."""
    readers = program.consumers().get(op.output("Output"), [])
    if len(readers) == 1 and readers[0].type in ("batch_norm", "sync_batch_norm"):
        return readers[0].input("Mean")
    return None


def _positions(
    shape: Sequence[int], each: int, images: int, random: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    height, width = shape[2:]
    count = min(each, height * width)
    return [np.divmod(random.permutation(height * width)[:count], width) for _ in range(images)]


def _patches(x: np.ndarray, op: Op, kernel: Sequence[int], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the filter's input patches at some outputs: (positions, channels * kernel height * kernel width)."""
    paddings = list(op.attr("paddings", [0, 0]))
    top, bottom, left, right = paddings if len(paddings) == 4 else [p for p in paddings for _ in range(2)]
    (down, across), (high, wide) = op.attr("strides", [1, 1]), op.attr("dilations", [1, 1])
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    row = rows[:, None, None] * down + np.arange(kernel[0])[:, None] * high
    column = columns[:, None, None] * across + np.arange(kernel[1])[None, :] * wide
    return padded[:, row, column].transpose(1, 0, 2, 3).reshape(len(rows), -1)
