"""Formats a diagnosis: a table for the terminal, and a page with the plot."""

from __future__ import annotations

from html import escape

from segexport.diagnose import judge as diagnose_judge
from segexport.diagnose.plot import accumulated_score, plot
from segexport.diagnose.schema import Diagnosis, LayerComparison
from segexport.spec import Precision

_AROUND = 4  # layers before and after the first finding that the terminal shows
_LARGEST = 8  # layers with the largest local errors that it shows besides
_HEAD = ("", "layer", "operators", "shape", "in the export", "local", "expected", "accumulated")


def render(diagnosis: Diagnosis, form: str, *, width: int = 100, color: bool = False) -> str:
    """`table`, `html` or `json`."""
    if form == "json":
        return diagnosis.model_dump_json(indent=2) + "\n"
    return html(diagnosis) if form == "html" else table(diagnosis, width=width, color=color)


def verdict(diagnosis: Diagnosis) -> list[str]:
    """The findings in words, most important first."""
    if not diagnosis.findings:
        return [f"nothing is off: all {len(diagnosis.layers)} layers are as exact as {diagnosis.precision} is"]
    first = diagnosis.findings[0]
    lines = [f"first: {first.message}"]
    rest = diagnosis.findings[1:]
    lines += [f"then: {finding.message}" for finding in rest[:2]]
    if len(rest) > 2:
        lines.append(f"and {len(rest) - 2} more layers")
    return lines


def table(diagnosis: Diagnosis, *, width: int, color: bool) -> str:
    """The findings, then the layers around the first one and those with the largest local errors."""
    from segexport.ui.console import printable
    from segexport.ui.text_table import table as drawn

    rows = [_row(index, diagnosis.layers[index], diagnosis) for index in _shown(diagnosis)]
    title = f"{diagnosis.export} against {diagnosis.reference} on {diagnosis.image}: {len(rows)} of "
    title += f"{len(diagnosis.layers)} layers; {diagnosis.unit}"
    text = drawn(_HEAD, rows, title=title, color=color, width=width)
    return text + "\n" + printable("\n".join(verdict(diagnosis))) + "\n"


def _shown(diagnosis: Diagnosis) -> list[int]:
    layers = diagnosis.layers
    by_size = sorted(range(len(layers)), key=lambda index: -(layers[index].score or 0.0))
    chosen = set(by_size[:_LARGEST])
    names = [layer.variable for layer in layers]
    first = next((finding.layer for finding in diagnosis.findings if finding.layer in names), None)
    if first is not None:
        at = names.index(first)
        chosen.update(range(max(at - _AROUND, 0), min(at + _AROUND + 1, len(layers))))
    return sorted(chosen)


def _row(index: int, layer: LayerComparison, diagnosis: Diagnosis) -> tuple[str, ...]:
    name = layer.variable if not layer.scope else f"{layer.variable} ({layer.scope})"
    return (
        f"{index + 1}{' ✗' if layer.is_faulty else ''}",
        name,
        " + ".join(layer.operators),
        "x".join(map(str, layer.shape)),
        " + ".join(layer.export_operators),
        number(layer.score),
        number(layer.expected),
        number(accumulated_score(layer, Precision(diagnosis.precision))),
    )


def number(value: float | None) -> str:
    """Two significant digits; a layer that cannot be compared has no number."""
    if value is None:
        return "–"
    return "not comparable" if value >= diagnose_judge.NOT_COMPARABLE else f"{value:.2g}"


_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;font-size:13px}th,td{text-align:left;padding:.2rem .6rem;"
    "border-bottom:1px solid #8a8f9840;overflow-wrap:anywhere}tr.bad td{color:#c53030;font-weight:600}"
    "th{position:sticky;top:0;background:Canvas}code{font-size:13px}.n{color:#6b7280}"
)


def html(diagnosis: Diagnosis) -> str:
    """A self-contained page: the findings, the plot, every layer."""
    say = escape
    found = "".join(f"<li>{say(line)}</li>" for line in verdict(diagnosis))
    notes = "".join(f"<li>{say(note)}</li>" for note in diagnosis.notes)
    rows = "".join(
        f"<tr{' class=bad' if layer.is_faulty else ''}>"
        + "".join(f"<td>{say(cell)}</td>" for cell in _row(index, layer, diagnosis))
        + "</tr>"
        for index, layer in enumerate(diagnosis.layers)
    )
    head = "".join(f"<th>{say(name)}</th>" for name in _HEAD)
    title = f"{diagnosis.export} against {diagnosis.reference}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{say(title)}</title><style>{_STYLE}</style>'
        f"<h1>{say(title)}</h1><p>{say(diagnosis.format)} {say(diagnosis.precision)} on {say(diagnosis.image)}, "
        f"segexport {say(diagnosis.segexport_version)}, {diagnosis.seconds:.0f} s</p><ul>{found}</ul>"
        f"{plot(diagnosis)}<p class=n>Local: the layer alone, fed with the reference's own tensors. Accumulated: both "
        f"models from the image on. Unit: {say(diagnosis.unit)}.</p><ul class=n>{notes}</ul>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></html>\n"
    )
