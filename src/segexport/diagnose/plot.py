"""The plot of a diagnosis: accumulated against local error, layer by layer, as a self-contained SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from segexport.diagnose import judge as diagnose_judge
from segexport.diagnose.schema import Diagnosis, LayerComparison
from segexport.spec import Precision

_WIDTH, _HEIGHT = 1000, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 14, 40
_STYLE = (
    ".axis{stroke:#8a8f98;stroke-width:1}.grid{stroke:#8a8f98;stroke-opacity:.25}"
    "text{font:11px system-ui,sans-serif;fill:currentColor}"
    ".acc{fill:none;stroke:#2b6cb0;stroke-width:1.5}.exp{fill:none;stroke:#8a8f98;stroke-dasharray:4 3}"
    ".loc{fill:#2f855a}.bad{fill:#c53030}"
)


def accumulated_score(layer: LayerComparison, precision: Precision) -> float | None:
    """The accumulated error in the unit of the local one."""
    if layer.accumulated is None:
        return None
    return min(diagnose_judge.score(layer.accumulated, precision), diagnose_judge.NOT_COMPARABLE)


def plot(diagnosis: Diagnosis) -> str:
    """An `<svg>`: a dot per layer for its local error (red where it is too large), a line for the accumulated one."""
    layers, precision = diagnosis.layers, Precision(diagnosis.precision)
    accumulated = [accumulated_score(layer, precision) for layer in layers]
    values = [v for v in (*accumulated, *(layer.score for layer in layers)) if v and v < diagnose_judge.NOT_COMPARABLE]
    values += [layer.expected for layer in layers if layer.expected]
    if not values:
        return ""
    low = math.floor(math.log10(max(min(values), max(values) * 1e-9)))
    high = max(math.ceil(math.log10(max(values))), low + 1)

    def x(index: int) -> float:
        return _LEFT + (index + 0.5) * (_WIDTH - _LEFT - _RIGHT) / len(layers)

    def y(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return _HEIGHT - _BOTTOM - min(share, 1.0) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">']
    parts.append(f"<title>Local and accumulated error per layer</title><style>{_STYLE}</style>")
    for power in range(low, high + 1, max(1, (high - low) // 8)):
        at = y(10.0**power)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">1e{power:+d}</text>')
    bottom = _HEIGHT - _BOTTOM
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(_line("exp", [(x(i), y(layer.expected)) for i, layer in enumerate(layers) if layer.expected]))
    parts.append(_line("acc", [(x(i), y(value)) for i, value in enumerate(accumulated) if value is not None]))
    for index, layer in enumerate(layers):
        if layer.score is not None:
            kind = "bad" if layer.is_faulty else "loc"
            told = f"{index + 1}. {layer.variable}: {' + '.join(layer.operators)}, local {layer.score:.3g}"
            dot = (
                f'<circle class="{kind}" cx="{x(index):.1f}" cy="{y(layer.score):.1f}" r="{4 if kind == "bad" else 3}">'
            )
            parts.append(f"{dot}<title>{escape(told)}</title></circle>")
    parts.append(_legend(len(layers), diagnosis.unit))
    return "".join(parts) + "</svg>"


def _line(kind: str, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return f'<polyline class="{kind}" points="{path}"/>'


def _legend(count: int, unit: str) -> str:
    at = _HEIGHT - 12
    return (
        f'<text x="{_LEFT}" y="{at}">layers 1 to {count}, in execution order; {escape(unit)}</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{at}" text-anchor="end">'
        '<tspan class="loc">● local</tspan> <tspan class="bad">● too large</tspan> '
        '<tspan fill="#2b6cb0">— accumulated</tspan> <tspan fill="#8a8f98">┄ expected</tspan></text>'
    )
