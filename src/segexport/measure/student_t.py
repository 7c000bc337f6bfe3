"""Student's t distribution, without the large dependency SciPy."""

from __future__ import annotations

import math
from functools import lru_cache


def student_t_cdf(t: float, freedom: int) -> float:
    """P(T <= t); Abramowitz and Stegun 26.7.3 and 26.7.4, with more than 200 degrees of freedom counted as 200."""
    freedom = min(freedom, 200)
    theta = math.atan(t / math.sqrt(freedom))
    cosine_2 = math.cos(theta) ** 2
    term = total = 1.0
    if freedom % 2 == 0:
        for k in range(1, freedom // 2):
            term *= cosine_2 * (2 * k - 1) / (2 * k)
            total += term
        inside = math.sin(theta) * total
    else:
        for k in range(1, (freedom - 1) // 2):
            term *= cosine_2 * 2 * k / (2 * k + 1)
            total += term
        tail = math.sin(theta) * math.cos(theta) * total if freedom > 1 else 0.0
        inside = (theta + tail) * 2 / math.pi
    return min(1.0, max(0.0, (1 + inside) / 2))


@lru_cache(maxsize=4096)
def student_t_quantile(probability: float, freedom: int) -> float:
    """The t with P(T <= t) = probability, for probabilities of at least 0.5, by bisection."""
    low, high = 0.0, 1.0
    while student_t_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_cdf(middle, freedom) < probability else (low, middle)
    return high
