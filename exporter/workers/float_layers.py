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
        allowed: Whether a set of operators with a smaller error can be returned; it was measured before.
    """
    kept = list(kept)
    order = [name for name in alone if name not in kept]
    order.sort(key=lambda name: alone[name] / (shares[name] + _SMALL), reverse=True)
    best: tuple[list[str], float] = kept, error
    left, spent = sum(alone[name] for name in order), sum(shares[name] for name in kept)
    while order and left > 0:
        scale, wanted = error / left, max(1, len(kept) // _GROWTH)
        added = []
        for name in order:
            if spent + shares[name] > most:
                continue
            added.append(name)
            left, spent = left - alone[name], spent + shares[name]
            if left * scale <= target and len(added) >= wanted:
                break
        if not added:
            break
        for name in lone(kept + added):
            if spent + shares[name] <= most:
                added.append(name)
                left, spent = left - alone[name], spent + shares[name]
        kept = kept + added
        order = [name for name in order if name not in added]
        error = measured(kept)
        if error < best[1] and allowed(kept):
            best = kept, error
        if error <= target:
            break
    return best
