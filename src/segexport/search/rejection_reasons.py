"""Explains why each candidate was not chosen."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.search.candidate import Trial
from segexport.search.halving import distance_of, went_on
from segexport.search.objective import WORTH_RATIO, Goal, Objective, baseline_of
from segexport.search.space import Space

_NAMES: dict[Objective, str] = {"latency": "faster", "size": "smaller", "flops": "cheaper to compute"}


def reason(point: Trial, goal: Goal, points: Sequence[Trial], chosen: Trial | None) -> str:
    """Returns one clause about a candidate at its highest fidelity."""
    base = baseline_of(points)
    if chosen is not None and point.key == chosen.key:
        return "chosen"
    if point.error is not None:
        return f"failed: {point.error.splitlines()[0]}"
    if base is not None and point.key == base.key:
        return "what everything is compared with"
    if point.attempt.rung == "glance":
        return _glanced(point, points)
    if not goal.holds(point):
        return f"loses {-(point.miou_delta or 0):.4f} mIoU, {goal.max_miou_drop:g} is allowed"
    if base is not None and not goal.pays(point, base):
        return _does_not_pay(point, goal, base)
    if chosen is None or goal.cheaper(point, chosen):
        return _unproven(point, goal)
    if point.against_interval is not None and point.against_interval[0] <= 1 <= point.against_interval[1]:
        low, high = point.against_interval
        return f"no gain over the best at the time: {point.against_ratio:.2f}x its time ({low:.2f} to {high:.2f})"
    if not goal.cheaper(chosen, point):
        return f"costs as much as the chosen one: {_cost(point, goal)} against {_cost(chosen, goal)}; accuracy decided"
    return f"the chosen one is {_NAMES[goal.objective]}: {_cost(chosen, goal)} against {_cost(point, goal)}"


def _glanced(point: Trial, points: Sequence[Trial]) -> str:
    words = f"{point.distance:.4f} off the original's scores on {point.images} images"
    if point.attempt.stage == "layers":
        return f"to know the layer: {words}"
    if nearer := went_on(point, points):
        return f"dropped: {words}; those that went on are {max(map(distance_of, nearer)):.4f} off or less"
    return f"not measured further: {words}"


def slow_layers(space: Space) -> list[str]:
    """Lists the int8 gain per layer from the profiles; one line for all layers without a gain."""
    timed = [layer for layer in space.layers if layer.float_ms is not None and layer.int8_ms is not None]
    slow = sorted((layer for layer in timed if layer.gain_ms <= 0), key=lambda layer: layer.gain_ms)
    lines = []
    if timed:
        total = sum(layer.float_ms or 0.0 for layer in timed), sum(layer.int8_ms or 0.0 for layer in timed)
        lines.append(
            f"{len(timed)} of {len(space.layers)} layers were timed in both profiles: {total[0]:.2f} ms in float, "
            f"{total[1]:.2f} ms in int8 with the conversions around them"
        )
    if slow:
        shown = ", ".join(f"{layer.name} ({layer.float_ms:.2f} -> {layer.int8_ms:.2f} ms)" for layer in slow[:8])
        more = f" and {len(slow) - 8} more" if len(slow) > 8 else ""
        lines.append(f"int8 saves no time in {len(slow)} layer{'s' if len(slow) > 1 else ''}: {shown}{more}")
    return lines


def _does_not_pay(point: Trial, goal: Goal, base: Trial) -> str:
    if goal.objective == "latency" and point.latency_ratio is not None:
        text = f"{point.latency_ratio:.2f}x the time of fp32"
        if point.latency_interval is not None:
            text += f" ({point.latency_interval[0]:.2f} to {point.latency_interval[1]:.2f})"
        return f"brings nothing: {text}" if point.latency_ratio < 1 / WORTH_RATIO else f"slower: {text}"
    if goal.cost(point)[0] < WORTH_RATIO * goal.cost(base)[0]:
        return f"{point.candidate.precision.value} is slower than fp32 here: {point.latency_ratio:.2f}x its time"
    return f"brings nothing: {_cost(point, goal)} against {_cost(base, goal)} of fp32"


def _unproven(point: Trial, goal: Goal) -> str:
    if point.attempt.rung != "full":
        return "promising on few images, not measured on all"
    if goal.surely_holds(point):
        return "held on the search images, not shown on the verdict images"
    low = point.miou_interval[0] if point.miou_interval is not None else float("-inf")
    return f"{point.images} images cannot show that the budget is kept: the loss may be up to {-low:.4f}"


def _cost(point: Trial, goal: Goal) -> str:
    if goal.objective == "latency":
        return f"{point.latency_ratio:.2f}x"
    if goal.objective == "size":
        return f"{(point.size_bytes or 0) / 1e6:.2f} MB"
    return f"{(point.macs or 0) / 1e6:.0f} M operations"
