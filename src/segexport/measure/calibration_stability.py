"""Tests whether there are enough calibration images: compares the scales of two disjoint halves.

A scale that differs for other images of the same kind is unreliable; more images or another method help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segexport.artifact import warning

LIMIT = 0.20  # relative difference between the halves' scales above which a tensor is unstable
_NAMED = 3  # number of tensors in a note


@dataclass(frozen=True)
class Stability:
    """The tensors whose scales differ by more than the limit, most different first.

    Attributes:
        unstable: Tensor -> larger scale over smaller scale, minus 1; infinity if one half observed only zeros.
        tensors: Number of compared tensors.
    """

    unstable: dict[str, float]
    tensors: int


def compare_halves(scales: Mapping[str, tuple[float, float]], limit: float = LIMIT) -> Stability:
    """Compares the scales from two disjoint halves of the calibration images.

    Args:
        scales: Tensor -> the scale from each half, both at least 0.
        limit: Relative difference that is still stable.
    """
    differences = {name: _difference(*pair) for name, pair in scales.items()}
    ordered = sorted(differences.items(), key=lambda item: (-item[1], item[0]))
    return Stability({name: value for name, value in ordered if value > limit}, len(scales))


def stability_note(scales: Mapping[str, tuple[float, float]], images: int) -> str:
    """One sentence for the lineage and the report; a poor calibration is a warning."""
    if images < 2:
        return warning("calibrated on one image, so the stability of the scales is unknown")
    found = compare_halves(scales)
    if not found.unstable:
        return f"calibration is stable: two halves of the {images} images give all {found.tensors} scales within 20 %"
    named = ", ".join(f"{name} {_percent(value)}" for name, value in list(found.unstable.items())[:_NAMED])
    return warning(
        f"two halves of the {images} calibration images give scales that differ by more than 20 % for "
        f"{len(found.unstable)} of {found.tensors} tensors ({named}); calibrate with more images"
    )


def _difference(a: float, b: float) -> float:
    low, high = sorted((a, b))
    if high == low:
        return 0.0
    return high / low - 1.0 if low > 0 else float("inf")


def _percent(value: float) -> str:
    return f"by {value:.0%}" if value < 100 else "from nothing"
