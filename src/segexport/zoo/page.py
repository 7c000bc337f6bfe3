"""The page of measured networks: accuracy against size, and against time in each runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segexport.report import numbers
from segexport.ui.page import page_template
from segexport.ui.scatter import Point, Scatter, scatter
from segexport.zoo.choice import Choice, front
from segexport.zoo.measurements import Row, ZooTable

_FLOATS = ("fp32", "fp16", "bf16")
FAMILIES = (("square", "base", "fp32, fp16, bf16"), ("circle", "quantized", "int8 and other integers"))
"""Shape, CSS class and title of the two kinds of precisions."""


@dataclass(frozen=True)
class Plot:
    title: str
    drawn: Scatter


def render(
    measured: ZooTable, choice: Choice, wishes: Mapping[str, Any], measured_how: str, next_steps: Sequence[str]
) -> str:
    """The page as HTML, without external resources."""
    rows = [
        {
            "row": row,
            "miou": numbers.fraction(row.miou),
            "delta": numbers.delta(row.miou_delta),
            "size": numbers.size(row.size_bytes),
            "ms": numbers.milliseconds(row.ms),
            "chosen": row == choice.recommended,
            "front": row in choice.front,
        }
        for row in choice.rows
    ]
    return page_template("segexport.zoo", "page.html.j2").render(
        measured=measured,
        choice=choice,
        wishes=[f"{name.replace('_', ' ')}: {_listed(value)}" for name, value in wishes.items()],
        measured_how=measured_how,
        next_steps=next_steps,
        rows=rows,
        plots=plots(choice),
        families=FAMILIES,
    )


def plots(choice: Choice) -> list[Plot]:
    """Accuracy against size of all rows, then against time of each runtime's."""
    found = [_plot("Accuracy against size", choice.rows, choice, "size", "size of the files, MB")]
    for runtime in sorted({row.runtime for row in choice.rows if row.ms is not None}):
        rows = [row for row in choice.rows if row.runtime == runtime and row.ms is not None]
        found.append(_plot(f"Accuracy against time in {runtime}", rows, choice, "time", "time of one image, ms"))
    return [plot for plot in found if plot is not None]


def _plot(title: str, rows: Sequence[Row], choice: Choice, cost: str, x_title: str) -> Plot | None:
    drawn = scatter(
        [_point(row, choice, cost) for row in rows],
        x_title=x_title,
        y_title="mIoU",
        front=[_point(row, choice, cost) for row in front(rows, cost)],
        signed=False,
    )
    return None if drawn is None else Plot(title, drawn)


def _point(row: Row, choice: Choice, cost: str) -> Point:
    shape, style, _ = FAMILIES[row.precision not in _FLOATS]
    chosen = row == choice.recommended
    return Point(
        x=(row.size_bytes or 0) / 1e6 if cost == "size" else row.ms or 0.0,
        y=row.miou or 0.0,
        name=f"{row.network} {row.export}: mIoU {numbers.fraction(row.miou)}",
        shape=shape,
        style=style + (" chosen" if chosen else ""),
        remark=row.network if chosen else "",
    )


def _listed(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list | tuple) else f"{value}"
