"""Computes instances from spatial embeddings: pixels point to a centre, whose bandwidth decides which ones belong."""

from __future__ import annotations

import numpy as np

from segexport.errors import ModelOutputError
from segexport.spec import SpatialEmbedding

_FOREGROUND = 0.5  # smallest seed probability of a pixel in an instance
_INSIDE = 0.5  # smallest value of the Gaussian around the centre
_MOST_COMPARISONS = 2_000_000_000


def instances(
    seeds: np.ndarray, offsets: np.ndarray, bandwidths: np.ndarray, rule: SpatialEmbedding, name: str = "image"
) -> list[tuple[np.ndarray, float]]:
    """Clusters the pixels of one class (Neven et al., CVPR 2019, section 3.3).

    The unclustered pixel with the highest seed is a centre; the pixels with an embedding inside its Gaussian form an
    instance if they are enough, and if more than half of them are unclustered
    (`contrib/SpatialEmbeddings/utils/data_util.py` of PaddleSeg).

    Args:
        seeds: float (h, w), probabilities.
        offsets: float (2, h, w), (x, y) to the centre, in units.
        bandwidths: float (1 or 2, h, w), factors of the squared distance, in (x, y).
        rule: The parameters.
        name: Name of the image, for messages.

    Returns:
        The pixels of each instance, (h, w) bool, and its seed's probability, best first.

    Raises:
        InputError: There is NaN or infinity at a foreground pixel, or the seeds form no clusters.
    """
    height, width = seeds.shape
    ys, xs = np.nonzero(seeds > _FOREGROUND)
    if len(ys) <= rule.min_pixels:
        return []
    embedding = offsets[:, ys, xs].astype(np.float64) + np.stack([xs / rule.unit_px[0], ys / rule.unit_px[1]])
    factors = np.broadcast_to(bandwidths[:, ys, xs].astype(np.float64), embedding.shape)
    if not (np.isfinite(embedding).all() and np.isfinite(factors).all() and (factors > 0).all()):
        raise ModelOutputError(f"{name}: the model's embeddings hold NaN, infinity or a bandwidth that is not positive")
    score = seeds[ys, xs]
    by_x = np.argsort(embedding[0], kind="stable")  # only pixels near a centre in x are compared with it
    sorted_x = embedding[0, by_x]
    reach = np.sqrt(np.log(1 / _INSIDE) / factors[0]) * (1 + 1e-9)
    free = np.ones(len(score), bool)
    left, comparisons, found = len(score), 0, []
    for seed in np.argsort(-score, kind="stable"):
        if left <= rule.min_pixels or score[seed] < rule.threshold:
            break
        if not free[seed]:
            continue
        free[seed] = False
        low = np.searchsorted(sorted_x, embedding[0, seed] - reach[seed])
        high = np.searchsorted(sorted_x, embedding[0, seed] + reach[seed], side="right")
        near = by_x[low:high]
        comparisons += len(near)
        if comparisons > _MOST_COMPARISONS:
            raise ModelOutputError(
                f"{name}: the model's seeds form no clusters", cause="each of them would be an instance"
            )
        squared = (embedding[:, near] - embedding[:, seed, None]) ** 2 * factors[:, seed, None]
        inside = near[np.exp(-squared.sum(axis=0)) > _INSIDE]
        fresh = int(free[inside].sum())
        if len(inside) > rule.min_pixels and fresh / len(inside) > 0.5:
            mask = np.zeros((height, width), bool)
            mask[ys[inside], xs[inside]] = True
            found.append((mask, float(score[seed])))
        free[inside] = False
        left -= 1 + fresh
    return found
