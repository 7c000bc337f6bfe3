"""Axes of plots. Positions are in per cent, so that a page can stretch the plot."""

from __future__ import annotations

import math
from dataclasses import dataclass

LOG_FROM_RATIO = 6.0
"""Ratio of largest to smallest value above which the axis is logarithmic; a linear one would squeeze most marks."""


@dataclass(frozen=True)
class Tick:
    """A tick of the axis at `at` per cent."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis from `low` to `high`, with a margin of some per cent at both ends."""

    low: float
    high: float
    is_log: bool = False
    margin: float = 2.0

    def place(self, value: float) -> float:
        """The position of a value in per cent; values beyond the axis are at its end."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(value / self.low) / max(math.log(self.high / self.low), 1e-9)
        else:
            share = (value - self.low) / max(self.high - self.low, 1e-9)
        return round(self.margin + share * (100.0 - 2 * self.margin), 2)

    def ticks(self) -> tuple[Tick, ...]:
        """About five round values."""
        values = _log_ticks(self.low, self.high) if self.is_log else _linear_ticks(self.low, self.high)
        return tuple(Tick(self.place(value), f"{value:g}") for value in values)


def _log_ticks(low: float, high: float) -> list[float]:
    """Returns 1, 2 and 5 times the powers of ten; only the powers if that gives too many ticks."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    return [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = max(high - low, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]
