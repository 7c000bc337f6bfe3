"""Compares a quantized model's outputs with the float model's on stored images, without labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from float_model import session_of
from output_error import output_error

_UNPACKED = frozenset({"Cast", "Squeeze", "Unsqueeze", "Identity", "Reshape"})  # between an argmax and the output


class OutputComparison:
    """Runs the float model once for each image, and keeps its outputs beside the image.

    Of a class map, its argmax's scores are compared: they differ before the classes do.

    Args:
        model: The float model.
        axes: Output with scores of classes -> their axis. Those of a class map are found in the graph.
    """

    def __init__(self, model: onnx.ModelProto, axes: Mapping[str, int]) -> None:
        self._scored, found = with_scores(model)
        self._axes = [found.get(index, axes.get(value.name)) for index, value in enumerate(model.graph.output)]
        self._floats = None

    def error(self, quantized: onnx.ModelProto, paths: Sequence[str]) -> float:
        """The error of the outputs on these images; see `output_error`."""
        session = session_of(with_scores(quantized)[0])
        return output_error((self._expected(path), run(session, stored(path))) for path in paths)

    def agreement(self, quantized: onnx.ModelProto, paths: Sequence[str]) -> float | None:
        """The share of the pixels whose class is the same, of the worst output; None without scores of classes."""
        session, same = session_of(with_scores(quantized)[0]), {}
        for path in paths:
            found = run(session, stored(path))
            for index, (one, other, axis) in enumerate(zip(self._expected(path), found, self._axes, strict=True)):
                if axis is not None and one.ndim > axis and one.shape == other.shape and one.shape[axis] > 1:
                    same.setdefault(index, []).append(np.mean(one.argmax(axis) == other.argmax(axis)))
        return min((float(np.mean(each)) for each in same.values()), default=None)

    def _expected(self, path: str) -> list[np.ndarray]:
        kept = path.removesuffix(".npz") + ".expected.npz"
        if not os.path.exists(kept):
            self._floats = self._floats or session_of(self._scored)
            store(kept, run(self._floats, stored(path)))
        return stored(kept)


def with_scores(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[int, int]]:
    """A copy whose class maps are replaced by the scores that they are the argmax of.

    Returns:
        The copy, and the number of each such output with the scores' axis of classes.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    names, axes = [], {}
    for index, value in enumerate(model.graph.output):
        node = producers.get(value.name)
        while node is not None and node.op_type in _UNPACKED:
            node = producers.get(node.input[0])
        if node is not None and node.op_type == "ArgMax":
            names.append(node.input[0])
            axes[index] = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        else:
            names.append(value.name)
    inputs = {value.name for value in model.graph.input}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if inputs.intersection(names) or len(set(names)) != len(names):
        return copy, {}
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copy, axes


def run(session, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return session.run(None, {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)})


def store(path: str, arrays: Sequence[np.ndarray]) -> None:
    np.savez(path, **{f"a{index}": array for index, array in enumerate(arrays)})


def stored(path: str) -> list[np.ndarray]:
    with np.load(path) as found:
        return [found[f"a{index}"] for index in range(len(found.files))]
