"""Chooses the operators of an int8 model that stay float, by their errors and by what they cost in float.

Weights of 4 bits that cost the outputs much get 8. `float_layers` has the search; here are the errors of each operator
alone, its costs, and the limits of both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from float_layers import kept_in_float
from float_model import observing, values_of
from int8_operators import choose_nodes, lone_products, separate
from roofline import Roofline

TARGET = 0.5  # of the error that is far off
MOST = 0.5  # share of the multiply-adds, and of the weights
_SAVED = 0.5  # share of the time that int8 saves, which float operators may cost
# Bytes of a weight in float, in those that 4 bits save of 8: of both, half may be spent.
_FLOAT_OF_NARROW = (4 - 0.5) / 0.5


@dataclass(frozen=True)
class Mix:
    """An int8 model with some operators in float.

    Attributes:
        names: The operators that were left in float, of those surveyed.
        wide: The weights that got 8 bits instead of 4.
        chosen: The operators in int8.
        model: The model.
        correction: What its bias correction tells; None without one.
        error: The error that was to become smaller.
        share: Share of the surveyed operators' multiply-adds in float.
        wide_share: Share of their weights that got 8 bits.
        saved: Share of the time that int8 saves that is left, estimated; None if it saves none.
    """

    names: list[str]
    wide: set[str]
    chosen: set[str]
    model: onnx.ModelProto
    correction: dict[str, float] | None
    error: float
    share: float
    wide_share: float
    saved: float | None


class MixedPrecision:
    """The choice for one float model.

    Args:
        model: The float model.
        options: `float_operators` and `float_nodes`, which are float anyway.

    Attributes:
        surveyed: Operators that are quantized alone, once `start` was called; those with weights of 4 bits twice.
        kept: Operators that a choice left in float, and weights to which it gave 8 bits.
    """

    def __init__(self, model: onnx.ModelProto, options: Mapping[str, Any]) -> None:
        self._model, self._options = model, options
        self.surveyed: list[str] = []
        self.kept: list[str] = []
        self._narrow: Mapping[str, str] = {}
        self._errors: dict[tuple[str, bool], float] = {}

    def start(self, chosen: set[str], narrow: Mapping[str, str]) -> None:
        """Finds the operators for the survey, unless an earlier choice did.

        Args:
            chosen: The operators in int8.
            narrow: Those with weights of 4 bits -> the weight.
        """
        self.surveyed = self.surveyed or separate(self._model, chosen)
        now = {name: narrow[name] for name in self.surveyed if name in narrow}
        if now != self._narrow:  # an earlier survey had 8 bits
            self._errors = {each: error for each, error in self._errors.items() if each[0] not in now}
            self._narrow = now

    @property
    def left(self) -> int:
        """Number of calls of `survey` that are left."""
        return len(self.surveyed) + len(self._narrow) - len(self._errors)

    def survey(self, chosen: set[str], error: Callable[[set[str], Collection[str]], float]) -> None:
        """Remembers the outputs' error of the next operator, or that with 8 bits instead of 4 in its weights.

        Args:
            chosen: The operators in int8.
            error: The error with only these operators in int8, and with 8 bits in these weights.
        """
        both = (*((name, False) for name in self.surveyed), *((name, True) for name in self._narrow))
        name, wide = next(each for each in both if each not in self._errors)
        (output,) = (node.output[0] for node in self._model.graph.node if node.name == name)
        users = {user.name for user in self._model.graph.node if output in user.input}
        folded = {user for user in users & chosen if user not in self.surveyed}
        self._errors[name, wide] = error({name} | folded, [self._narrow[name]] if wide else [])

    def choose(
        self,
        chosen: set[str],
        before: float,
        made: Callable[[set[str], Collection[str]], tuple[onnx.ModelProto, dict[str, float] | None]],
        error: Callable[[onnx.ModelProto], float],
        image: list[np.ndarray],
        *,
        agreeing: bool,
    ) -> Mix | None:
        """The best mix, or None if none has a smaller error.

        Args:
            chosen: The operators in int8.
            before: The error with them.
            made: The model with these operators in int8 and 8 bits in these weights, and what its bias correction
                tells.
            error: What is to become small.
            image: An image's input tensors.
            agreeing: Whether the error is that of classes: it may be 1, and float operators may cost half of the time
                that int8 saves. Otherwise it is relative to what is far off, and they may cost more.
        """
        estimates = Roofline(self._model, shapes(self._model, image))
        floats, int8 = estimates.nanoseconds(set()), estimates.nanoseconds(chosen)
        slowest = max(int8, floats - _SAVED * (floats - int8))  # int8 itself where it saves nothing
        tried: dict[tuple[str, ...], tuple[set[str], onnx.ModelProto, dict[str, float] | None]] = {}
        weight_of = {_eight_bits(weight): weight for weight in self._narrow.values()}

        def without(names: Sequence[str]) -> set[str]:
            float_nodes = set(self._options["float_nodes"]) | {name for name in names if name not in weight_of}
            return choose_nodes(self._model, set(self._options["float_operators"]), float_nodes) & chosen

        def wide(names: Sequence[str]) -> set[str]:
            return {weight_of[name] for name in names if name in weight_of}

        def measured(names: Sequence[str]) -> float:
            left = without(names)
            tried[tuple(names)] = left, *made(left, wide(names))
            return error(tried[tuple(names)][1])

        work, weights = self._shares(estimates)
        bytes_of_float = _FLOAT_OF_NARROW if self._narrow else 1.0
        shares = {name: max(work[name], bytes_of_float * weights[name]) for name in work}
        shares |= {_eight_bits(weight): weights[name] for name, weight in self._narrow.items()}
        lone_before = set(lone_products(self._model, chosen))
        names, after = kept_in_float(
            self._alone(),
            shares,
            before,
            measured,
            target=1.0 if agreeing else TARGET,
            most=MOST,
            kept=self.kept,
            lone=lambda names: [n for n in lone_products(self._model, without(names)) if n not in lone_before],
            allowed=lambda names: not agreeing or estimates.nanoseconds(without(names)) <= slowest,
        )
        if not after < before:
            return None
        self.kept = names
        left, model, correction = tried[tuple(names)]
        saved = (floats - estimates.nanoseconds(left)) / (floats - int8) if int8 < floats else None
        floated = [name for name in names if name in work]
        eight = wide(names)
        widened = {weight: weights[name] for name, weight in self._narrow.items() if name in left and weight in eight}
        share = sum(work[name] for name in floated)
        return Mix(floated, set(widened), left, model, correction, after, share, sum(widened.values()), saved)

    def _alone(self) -> dict[str, float]:
        """Operator -> the outputs' error of its int8, with 8-bit weights; 8 bits of a weight -> what they are less."""
        found = {name: self._errors.get((name, True), self._errors[name, False]) for name in self.surveyed}
        for name, weight in self._narrow.items():
            key = _eight_bits(weight)
            found[key] = found.get(key, 0.0) + max(self._errors[name, False] - self._errors[name, True], 0.0)
        return found

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


def _eight_bits(weight: str) -> str:
    """What stands for 8 bits in a weight among the names of operators."""
    return f"8 bits in {weight}"


def _of_whole(counts: dict[str, float]) -> dict[str, float]:
    whole = max(sum(counts.values()), 1.0)
    return {name: count / whole for name, count in counts.items()}
