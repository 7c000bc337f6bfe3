"""Measures the agreement of two predictions for the same image."""

from __future__ import annotations

from segexport.runtimes import object_matching
from segexport.runtimes.base import Prediction


def agreement(one: Prediction, two: Prediction) -> float:
    """Returns the fraction of pixels, or of confident objects, on which two predictions agree."""
    if one.objects is not None and two.objects is not None:
        return object_matching.agreement(one.objects, two.objects).share
    if one.mask.shape != two.mask.shape:
        return 0.0
    return float((one.mask == two.mask).mean())
