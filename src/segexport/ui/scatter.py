"""A plot of cost against accuracy, drawn by `scatter.html.j2`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segexport.ui.axis import LOG_FROM_RATIO, Axis, Tick

_MARGIN_PERCENT = 5.0


@dataclass(frozen=True)
class Point:
    """One model.

    Attributes:
        x, y: Cost, and accuracy or its change.
        interval: Interval of `y`.
        name: Text of the tooltip.
        label: Text in the mark, at most two characters.
        shape: `circle`, `square`, `triangle` or `diamond`.
        style: CSS classes of the mark.
        remark: Text next to the mark.
    """

    x: float
    y: float
    name: str
    interval: tuple[float, float] | None = None
    label: str = ""
    shape: str = "circle"
    style: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Mark:
    """A point in per cent of the plot; `low` and `high` are the ends of the interval."""

    point: Point
    x: float
    y: float
    low: float | None
    high: float | None
    is_below: bool


@dataclass(frozen=True)
class Scatter:
    """A plot; y points downwards, as in SVG. `front` is a line through marks, from left to right."""

    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    zero: float | None
    limit: float | None
    front: tuple[tuple[float, float], ...]


def scatter(
    points: Sequence[Point],
    *,
    x_title: str,
    y_title: str,
    limit: float | None = None,
    front: Sequence[Point] = (),
    lowest: float | None = None,
    signed: bool = True,
) -> Scatter | None:
    """Computes the plot of the points; None if there are none.

    Args:
        limit: Largest allowed loss, as a positive number.
        front: Points joined by a line.
        lowest: Points below are drawn at the lower edge, so that they do not compress the others.
        signed: Whether y is a change: the plot then shows 0, and labels have a sign.
    """
    points = [point for point in points if math.isfinite(point.x) and point.x > 0 and math.isfinite(point.y)]
    if not points:
        return None
    costs = [point.x for point in points]
    is_log = max(costs) / min(costs) > LOG_FROM_RATIO
    x_axis = Axis(min(costs) * 0.9 if is_log else 0.0, max(costs) * (1.1 if is_log else 1.0), is_log, _MARGIN_PERCENT)
    heights = [*([0.0] if signed else []), *([] if limit is None else [-limit])]
    for point in points:
        heights += [point.y, *(point.interval or ())]
    low = min(heights) if lowest is None else max(min(heights), lowest)
    high = max(heights)
    room = max(high - low, 1e-6)
    y_axis = Axis(low - 0.04 * room, high + 0.04 * room, margin=_MARGIN_PERCENT)

    def down(value: float) -> float:
        return round(100.0 - y_axis.place(value), 2)

    def mark(point: Point) -> Mark:
        low, high = point.interval or (None, None)
        return Mark(
            point=point,
            x=x_axis.place(point.x),
            y=down(point.y),
            low=None if low is None else down(low),
            high=None if high is None else down(high),
            is_below=point.y < y_axis.low,
        )

    return Scatter(
        marks=tuple(map(mark, points)),
        x_ticks=x_axis.ticks(),
        y_ticks=tuple(
            Tick(round(100.0 - tick.at, 2), _signed(tick.label) if signed else tick.label) for tick in y_axis.ticks()
        ),
        x_title=x_title,
        y_title=y_title,
        zero=down(0.0) if signed else None,
        limit=None if limit is None else down(-limit),
        front=tuple((x_axis.place(point.x), down(point.y)) for point in sorted(front, key=lambda point: point.x)),
    )


def _signed(label: str) -> str:
    return label if label.startswith("-") or float(label) == 0 else f"+{label}"
