"""Chooses the operators of an int8 model that stay float, by their errors and by what they cost in float.

`float_layers` has the search; here are the errors of each operator alone, its costs, and the limits of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from float_layers import kept_in_float
from float_model import observing, values_of
from int8_operators import choose_nodes, lone_products, separate
from roofline import Roofline

_TARGET = 0.5  # of the error that is far off
_MOST_FLOAT = 0.5  # share of the multiply-adds, and of the weights
_SAVED = 0.5  # share of the time that int8 saves, which float operators may cost


@dataclass(frozen=True)
class Mix:
    """An int8 model with some operators in float.

    Attributes:
        names: The operators that were left in float, of those surveyed.
        chosen: The operators in int8.
        model: The model.
        correction: What its bias correction tells; None without one.
        error: The error that was to become smaller.
        share: Share of the surveyed operators' multiply-adds in float.
        saved: Share of the time that int8 saves that is left, estimated; None if it saves none.
    """

    names: list[str]
    chosen: set[str]
    model: onnx.ModelProto
    correction: dict[str, float] | None
    error: float
    share: float
    saved: float | None


class MixedPrecision:
    """The choice for one float model.

    Args:
        model: The float model.
        options: `float_operators` and `float_nodes`, which are float anyway.

    Attributes:
        surveyed: Operators that are quantized alone, once `start` was called.
        alone: Those of them that were -> the outputs' error.
        kept: Operators that a choice left in float.
    """

    def __init__(self, model: onnx.ModelProto, options: Mapping[str, Any]) -> None:
        self._model, self._options = model, options
        self.surveyed: list[str] = []
        self.alone: dict[str, float] = {}
        self.kept: list[str] = []

    def start(self, chosen: set[str]) -> None:
        """Finds the operators for the survey, unless an earlier choice did."""
        self.surveyed = self.surveyed or separate(self._model, chosen)

    @property
    def left(self) -> int:
        """Number of operators that are still to be surveyed."""
        return len(self.surveyed) - len(self.alone)

    def survey(self, chosen: set[str], error: Callable[[set[str]], float]) -> None:
        """Remembers the outputs' error of the next operator.

        Args:
            chosen: The operators in int8.
            error: The error with only these operators in int8.
        """
        name = next(name for name in self.surveyed if name not in self.alone)
        (output,) = (node.output[0] for node in self._model.graph.node if node.name == name)
        users = {user.name for user in self._model.graph.node if output in user.input}
        folded = {user for user in users & chosen if user not in self.surveyed}
        self.alone[name] = error({name} | folded)

    def choose(
        self,
        chosen: set[str],
        before: float,
        made: Callable[[set[str]], tuple[onnx.ModelProto, dict[str, float] | None]],
        error: Callable[[onnx.ModelProto], float],
        image: list[np.ndarray],
        *,
        agreeing: bool,
    ) -> Mix | None:
        """The best mix, or None if none has a smaller error.

        Args:
            chosen: The operators in int8.
            before: The error with them.
            made: The model with these operators in int8, and what its bias correction tells.
            error: What is to become small.
            image: An image's input tensors.
            agreeing: Whether the error is that of classes: it may be 1, and float operators may cost half of the time
                that int8 saves. Otherwise it is relative to what is far off, and they may cost more.
        """
        estimates = Roofline(self._model, shapes(self._model, image))
        floats, int8 = estimates.nanoseconds(set()), estimates.nanoseconds(chosen)
        slowest = max(int8, floats - _SAVED * (floats - int8))  # int8 itself where it saves nothing
        tried: dict[tuple[str, ...], tuple[set[str], onnx.ModelProto, dict[str, float] | None]] = {}

        def without(names: Sequence[str]) -> set[str]:
            float_nodes = set(self._options["float_nodes"]) | set(names)
            return choose_nodes(self._model, set(self._options["float_operators"]), float_nodes) & chosen

        def measured(names: Sequence[str]) -> float:
            left = without(names)
            tried[tuple(names)] = left, *made(left)
            return error(tried[tuple(names)][1])

        work, weights = self._shares(estimates)
        lone_before = set(lone_products(self._model, chosen))
        names, after = kept_in_float(
            self.alone,
            {name: max(work[name], weights[name]) for name in work},
            before,
            measured,
            target=1.0 if agreeing else _TARGET,
            most=_MOST_FLOAT,
            kept=self.kept,
            lone=lambda names: [n for n in lone_products(self._model, without(names)) if n not in lone_before],
            allowed=lambda names: not agreeing or estimates.nanoseconds(without(names)) <= slowest,
        )
        if not after < before:
            return None
        self.kept = names
        left, model, correction = tried[tuple(names)]
        saved = (floats - estimates.nanoseconds(left)) / (floats - int8) if int8 < floats else None
        return Mix(names, left, model, correction, after, sum(work[name] for name in names), saved)

    def _shares(self, estimates: Roofline) -> tuple[dict[str, float], dict[str, float]]:
        """Each surveyed operator's share of all their multiply-adds, and of their weights; 0 without weights."""
        nodes = {node.name: node for node in self._model.graph.node}
        weights = {value.name: np.prod(value.dims) for value in self._model.graph.initializer}
        counts, sizes = dict.fromkeys(self.surveyed, 0.0), dict.fromkeys(self.surveyed, 0.0)
        for name in counts.keys() & estimates.products.keys():
            counts[name] = float(estimates.products[name].multiply_adds)
            sizes[name] = float(weights.get(nodes[name].input[1], 0.0))
        return _of_whole(counts), _of_whole(sizes)


def shapes(model: onnx.ModelProto, image: list[np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Tensor -> its shape for an image."""
    names = [name for node in model.graph.node for name in node.output if name]
    found = values_of(observing(model, names), names, image)
    constants = {value.name: tuple(value.dims) for value in model.graph.initializer}
    return {name: np.shape(value) for name, value in found.items()} | constants


def _of_whole(counts: dict[str, float]) -> dict[str, float]:
    whole = max(sum(counts.values()), 1.0)
    return {name: count / whole for name, count in counts.items()}
