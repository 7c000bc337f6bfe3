"""Observes a float model on calibration images: ranges of its tensors, means of its convolutions, and some images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import onnx
from bias_correction import channel_means
from float_model import observing, values_of
from histogram import Histogram
from output_comparison import store

ALL = slice(None)


class Observations:
    """What the calibration images told so far.

    Args:
        model: The float model.
        tensors: Tensors whose ranges are wanted.
        convolutions: Name -> output of each convolution whose means are wanted.
        others: Tensors that `values` returns besides.
        draws: Number of disjoint parts of the images that give ranges of their own; at least 2, for two halves.
        folder: Where images are kept.
        options: Of `Histogram.range`.

    Attributes:
        seen: Number of images.
        kept: Files of the images that corrections and comparisons use; see `output_comparison.stored`.
        held: Those that only judge corrections.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        tensors: Iterable[str],
        convolutions: Mapping[str, str],
        others: Iterable[str],
        draws: int,
        folder: str,
        **options: Any,
    ) -> None:
        self._session = observing(model, [*tensors, *others, *convolutions.values()])
        self._parts = {name: [Histogram() for _ in range(max(2, draws))] for name in tensors}
        self._convolutions, self._folder, self._options = convolutions, folder, options
        self._sums: dict[str, Any] = {}
        self._found: dict[tuple, dict[str, tuple[float, float]]] = {}
        self.seen = 0
        self.kept: list[str] = []
        self.held: list[str] = []

    @property
    def tensors(self) -> list[str]:
        return list(self._parts)

    @property
    def inputs(self) -> list[str]:
        """The model's inputs, in the order of an image's arrays."""
        return [value.name for value in self._session.get_inputs()]

    def values(self, names: Iterable[str], arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Tensor -> its value for an image."""
        return values_of(self._session, list(names), arrays)

    def add(self, arrays: list[np.ndarray], keep: str, others: Iterable[str] = ()) -> dict[str, np.ndarray] | None:
        """Counts an image's values in the histograms of the next draw.

        Args:
            keep: "kept" or "held", the list that the image joins, or empty.
            others: Tensors that are returned.

        Returns:
            Tensor -> value; None if one is not finite.
        """
        draw, means = self.seen, self._convolutions.values() if keep == "kept" else ()
        values, finite = self.values(dict.fromkeys([*self._parts, *others, *means]), arrays), True
        for name, value in values.items():
            if name in self._parts:
                parts = self._parts[name]
                finite &= parts[draw % len(parts)].add(value)
        if finite and keep:
            if keep == "kept":
                for node, out in self._convolutions.items():
                    self._sums[node] = self._sums.get(node, 0.0) + channel_means(values[out])
            self.keep(arrays, keep, draw)
        self.seen += 1
        return values if finite else None

    def keep(self, arrays: list[np.ndarray], keep: str, index: int) -> None:
        """Keeps an image in a file; see `add`."""
        path = os.path.join(self._folder, f"{index}.npz")
        store(path, arrays)
        (self.kept if keep == "kept" else self.held).append(path)

    def ranges(self, method: str, which: slice = ALL) -> dict[str, tuple[float, float]]:
        """Each tensor's range by this method, from these parts of its histogram."""
        key = method, which.start, which.stop, which.step
        if key not in self._found:
            seen = {name: reduce(Histogram.merged, parts[which]) for name, parts in self._parts.items()}
            self._found[key] = {name: histogram.range(method, **self._options) for name, histogram in seen.items()}
        return self._found[key]

    def half_scales(self, method: str) -> dict[str, list[float]]:
        """Tensor -> the scales that two halves of the images give; empty for one image."""
        if self.seen < 2:
            return {}
        halves = [self.ranges(method, slice(half, None, 2)) for half in (0, 1)]
        return {name: [float(high - low) / 255 for low, high in (one[name] for one in halves)] for name in halves[0]}

    def means(self) -> dict[str, np.ndarray]:
        """Convolution -> the mean of each output channel over the images kept."""
        return {node: total / len(self.kept) for node, total in self._sums.items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything that `restore` needs, but for the images kept."""
        found = {"seen": np.array(self.seen)}
        for index, (name, parts) in enumerate(self._parts.items()):
            found[f"tensor/{index}"] = np.array(name)
            for number, part in enumerate(parts):
                limits, counts = part.state()
                found |= {f"limits/{index}/{number}": limits, f"counts/{index}/{number}": counts}
        return found | {f"mean/{name}": total for name, total in self._sums.items()}

    def restore(self, found: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state` of the same model and tensors gave, instead of `add`."""
        self.seen = int(found["seen"])
        for index, (name, parts) in enumerate(self._parts.items()):
            assert str(found[f"tensor/{index}"]) == name
            for number in range(len(parts)):
                parts[number] = Histogram.of_state(found[f"limits/{index}/{number}"], found[f"counts/{index}/{number}"])
        self._sums = {key[5:]: found[key] for key in found if key.startswith("mean/")}
