"""Compares a tensor with the expected one. NumPy only."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 1 << 22  # values compared at a time; float64 copies of a whole tensor would need 8 times its memory


def difference(expected: np.ndarray, found: np.ndarray) -> dict:
    """The difference of two tensors, as plain numbers.

    Returns:
        shape, found_shape: Sizes; if they differ in more than axes of size 1, nothing else is compared.
        max_abs, rms: The largest magnitude and the root mean square of found - expected.
        low, high, expected_rms: Minimum, maximum and root mean square of the expected tensor.
        differing: Fraction of different elements, for integers and booleans.
        worst: Index of the largest difference, with `worst_expected` and `worst_found`.
        finite: Whether every found value is finite if the expected one is.
    """
    shape, found_shape = list(expected.shape), list(found.shape)
    if [size for size in shape if size != 1] != [size for size in found_shape if size != 1]:
        return {"shape": shape, "found_shape": found_shape}
    a, b = np.ravel(expected), np.ravel(found)
    answer = {"shape": shape, "found_shape": found_shape, "finite": True, "differing": None}
    if a.dtype.kind in "iub":
        answer["differing"] = float((a != b).mean()) if a.size else 0.0
    largest, at, squares, own_squares, low, high = -1.0, 0, 0.0, 0.0, np.inf, -np.inf
    for start in range(0, a.size, _AT_ONCE):
        one = a[start : start + _AT_ONCE].astype(np.float64)
        other = b[start : start + _AT_ONCE].astype(np.float64)
        if not np.isfinite(other).all():
            answer["finite"] = answer["finite"] and not np.isfinite(one[~np.isfinite(other)]).any()
        with np.errstate(invalid="ignore"):
            delta = np.abs(other - one)
        delta[~np.isfinite(delta)] = 0.0  # `finite` reports it; two infinite values do not differ
        index = int(delta.argmax())
        if delta[index] > largest:
            largest, at = float(delta[index]), start + index
        squares += float((delta**2).sum())
        one = one[np.isfinite(one)]
        own_squares += float((one**2).sum())
        if one.size:
            low, high = min(low, float(one.min())), max(high, float(one.max()))
    size = max(a.size, 1)
    return {
        **answer,
        "max_abs": max(largest, 0.0),
        "rms": float(np.sqrt(squares / size)),
        "low": low if np.isfinite(low) else 0.0,
        "high": high if np.isfinite(high) else 0.0,
        "expected_rms": float(np.sqrt(own_squares / size)),
        "worst": [int(i) for i in np.unravel_index(at, expected.shape)] if a.size else [],
        "worst_expected": float(a[at]) if a.size else 0.0,
        "worst_found": float(b[at]) if a.size and np.isfinite(float(b[at])) else None,
    }
