"""Chooses the operators of a quantized model that stay in float, because the outputs lose most by their int8.

Wu et al.: Integer Quantization for Deep Learning Inference (2020), section 5.1, "partial quantization": each operator
is quantized alone, and those with the largest error stay in float, as many as needed. Here the errors are measured at
the outputs, without labels, and set against what the operator computes, since float costs time. Pure Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

_SMALL = 0.01  # share of an operator that multiplies little: its conversions to and from float cost time as well
_GROWTH = 4  # at least a quarter more operators between two measurements, so that there are few


def kept_in_float(
    alone: Mapping[str, float],
    shares: Mapping[str, float],
    error: float,
    measured: Callable[[Sequence[str]], float],
    *,
    target: float,
    most: float,
    kept: Sequence[str] = (),
    lone: Callable[[Sequence[str]], Sequence[str]] = lambda _names: (),
    allowed: Callable[[Sequence[str]], bool] = lambda _names: True,
) -> tuple[list[str], float]:
    """The operators that stay in float, and the outputs' error with them.

    Squared errors of different operators nearly add up, so the remaining ones predict the error of the rest. After each
    measurement, the prediction is scaled to it.

    Args:
        alone: Operator -> the outputs' error if only it is quantized.
        shares: Operator -> its share of the model's cost: of the multiply-adds, or of the weights if that is larger.
        error: The outputs' error if all operators are quantized.
        measured: The outputs' error with these operators in float.
        target: The error that is sought; with none of the operators below it, the best that was measured is returned.
        most: The largest share of the cost in float.
        kept: Operators that are in float already; `error` is that of the rest.
        lone: The operators that these leave in int8 with only float around them. They become float as well: the
            conversions cost more than int8 saves.
        allowed: Whether these operators may be in float together. Of a set that may not, the operators that cost most
            error are taken as far as they may, and then those of the rest that still may, one by one.
    """
    kept = list(kept)
    best: tuple[list[str], float] = kept, error
    order = [name for name in alone if name not in kept]
    order.sort(key=lambda name: alone[name] / (shares[name] + _SMALL), reverse=True)

    def fits(names: Sequence[str]) -> bool:
        return sum(shares[name] for name in names) <= most

    while left := sum(alone[name] for name in order):
        wanted, aim = max(1, len(kept) // _GROWTH), target * left / error
        added = _next(kept, order, alone, wanted, aim, fits, allowed)
        if not added:
            break
        for name in lone(kept + added):
            if fits([*kept, *added, name]) and allowed([*kept, *added, name]):
                added.append(name)
        kept = kept + added
        order = [name for name in order if name not in added]
        error = measured(kept)
        if error < best[1]:
            best = kept, error
        if error <= target:
            break
    return best


def _next(
    kept: list[str],
    order: list[str],
    alone: Mapping[str, float],
    wanted: int,
    aim: float,
    fits: Callable[[Sequence[str]], bool],
    allowed: Callable[[Sequence[str]], bool],
) -> list[str]:
    """The first of `order`, at least `wanted`, without which the errors sum up to `aim` or less; see above."""
    added: list[str] = []

    def enough() -> bool:
        return len(added) >= wanted and sum(alone[name] for name in order if name not in added) <= aim

    for name in order:
        if enough():
            break
        if fits([*kept, *added, name]):
            added.append(name)
    whole = len(added)
    while added and not allowed(kept + added):
        added.pop()
    if len(added) < whole:  # others instead of the first that is too much
        for name in order:
            if enough():
                break
            more = [*kept, *added, name]
            if name not in added and fits(more) and allowed(more):
                added.append(name)
    return added
