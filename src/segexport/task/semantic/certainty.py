"""Finds the pixels on which a model was confident."""

from __future__ import annotations

from typing import overload

import numpy as np

MARGIN_QUANTILE = 0.5  # pixels whose margin is in the upper half count as decided


@overload
def decided_pixels(margin: None) -> None: ...
@overload
def decided_pixels(margin: np.ndarray) -> np.ndarray: ...
@overload
def decided_pixels(margin: np.ndarray | None) -> np.ndarray | None: ...
def decided_pixels(margin: np.ndarray | None) -> np.ndarray | None:
    """(H, W) bool: whether the two best scores differ more than on half of the image's pixels; None without margins."""
    if margin is None:
        return None
    return margin >= np.quantile(margin[::4, ::4], MARGIN_QUANTILE)
