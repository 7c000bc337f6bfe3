"""Where a model was sure of its classes."""

from __future__ import annotations

import numpy as np

MARGIN_QUANTILE = 0.5  # pixels whose margin is in the upper half count as decided


def decided_pixels(margin: np.ndarray | None) -> np.ndarray | None:
    """(H, W) bool: where the two best scores lie further apart than on half of the image; None without margins."""
    if margin is None:
        return None
    return margin >= np.quantile(margin[::4, ::4], MARGIN_QUANTILE)
