"""Plots a search: accuracy loss against cost of each candidate, with the Pareto front."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segexport.errors import EnvironmentMissingError
from segexport.search.candidate import Trial
from segexport.search.objective import Goal, Objective, baseline_of, carefully
from segexport.search.pareto import front

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXES: dict[Objective, str] = {
    "latency": "time of one image / fp32 export's",
    "size": "size of the file, MB",
    "flops": "operations of one image, millions",
}
_FAMILIES = (("as exported", "#444444", "s"), ("quantized", "#2b6cb0", "o"), ("trained again", "#2f855a", "^"))


def shown(points: Sequence[Trial]) -> list[Trial]:
    """Returns the plotted candidates: those that were measured and timed."""
    return [p for p in carefully(points) if p.error is None and p.miou_delta is not None and p.attempt.timed]


def pareto(goal: Goal, points: Sequence[Trial]) -> list[Trial]:
    """Returns the plotted candidates that are not dominated in cost and loss."""
    by_key = {p.key: p for p in shown(points)}
    return [by_key[str(key)] for key in front({k: (goal.cost(p)[0], -_loss(p)) for k, p in by_key.items()})]


def draw(goal: Goal, points: Sequence[Trial], chosen: Trial | None) -> tuple[str, bytes]:
    """Returns (SVG, PNG), equal for equal points.

    Raises:
        EnvironmentMissingError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise EnvironmentMissingError(
            "the plot needs matplotlib, which is not installed", hint="pip install 'segexport[plot]'"
        ) from None
    svg, png = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "segexport", "font.size": 9, "svg.fonttype": "none"}):
        figure = _figure(goal, points, chosen)
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    text = svg.getvalue()
    return text[text.index("<svg") :], png.getvalue()


def _figure(goal: Goal, points: Sequence[Trial], chosen: Trial | None) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(-goal.max_miou_drop, 0, color="#2f855a", alpha=0.08, lw=0)
    axes.axhline(-goal.max_miou_drop, color="#2f855a", lw=1, ls="--", label="accuracy budget")
    found = shown(points)
    for family, (name, color, marker) in enumerate(_FAMILIES):
        for full in (False, True):
            mine = [p for p in found if _family(p) == family and (p.attempt.rung == "full") == full]
            if mine:
                style = {"facecolors": color if full else "none", "edgecolors": color, "marker": marker, "s": 34}
                label = f"{name}, {'all' if full else 'few'} images"
                axes.scatter([_x(p, goal) for p in mine], [_loss(p) for p in mine], label=label, **style)
    for point in found:
        if point.attempt.rung == "full" and point.miou_interval is not None:
            axes.vlines(_x(point, goal), *point.miou_interval, color="#8a8f98", lw=0.8, zorder=0)
    edge = pareto(goal, points)
    axes.plot([_x(p, goal) for p in edge], [_loss(p) for p in edge], color="#8a8f98", lw=1, label="the front")
    if chosen is not None:
        place = _x(chosen, goal), _loss(chosen)
        axes.annotate("chosen", place, xytext=(8, 10), textcoords="offset points", fontweight="bold")
        axes.scatter(*zip(place, strict=True), s=150, facecolors="none", edgecolors="#c05621", linewidths=1.8)
    _limit_y(axes, goal, found)
    base = baseline_of(points)
    axes.set_ylabel("mIoU against the original" + (f" ({base.miou:.4f})" if base and base.miou else ""))
    axes.set_xlabel(_AXES[goal.objective])
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=8)
    return figure


def _limit_y(axes, goal: Goal, found: Sequence[Trial]) -> None:
    """Limits the y axis and draws total losses at its lower edge, so that they do not compress the other points."""
    low = -max(6 * goal.max_miou_drop, 0.02)
    beyond = [p for p in found if _loss(p) < low]
    if beyond:
        highest = max([_loss(p) for p in found] + [0.0])
        axes.set_ylim(low * 1.1, highest + 0.1 * (highest - low))
        xs = [_x(p, goal) for p in beyond]
        axes.scatter(xs, [low] * len(xs), marker="v", color="#c53030", s=30, label=f"loses more than {-low:g}")


def _loss(point: Trial) -> float:
    """Returns the mIoU change of a plotted candidate."""
    return point.miou_delta or 0.0


def _x(point: Trial, goal: Goal) -> float:
    return goal.cost(point)[0] / (1.0 if goal.objective == "latency" else 1e6)


def _family(point: Trial) -> int:
    if point.candidate.trained:
        return 2
    return 0 if point.candidate.precision.value == "fp32" else 1
