"""Formats the rows of `truth_table.py` as a page of the documentation and as an HTML page with a table to sort."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jinja2

HERE = Path(__file__).resolve().parent
INTRODUCTION = """# Truth table

Made by `python benchmarks/truth_table.py MODELS CAMVID`; never edited by hand. Trained networks, every export target
and precision that is installed, the same check for all, on a few images. *Agree*: pixels with the class that Paddle
gives, over all images, and on the worst one. *Δ mIoU*: by the labels; of PP-HumanSeg-Lite, which has none here, by
Paddle's masks. *Size* and *time* are to the fp32 ONNX export in ONNX Runtime, one thread, in turn, with the 95 %
interval, on a busy machine; an empty time is one that would say nothing about the device that the target is for.
*Why*: the first gate that did not hold, or the first operator that is wrong. All figures:
`benchmarks/results/truth_table.json`; the same as [one table that can be sorted](truth-table.html).
"""


class Cell(NamedTuple):
    """A cell of the table: what it shows, and by what it is sorted."""

    text: str
    key: float | str | None = None


def markdown(rows: dict[str, dict]) -> str:
    """Returns docs/truth-table.md."""
    lines = [INTRODUCTION]
    for model in dict.fromkeys(key.split()[0] for key in rows):
        lines += [f"## {model}", "", "| export | verdict | agree | worst image | Δ mIoU | size | time | why |"]
        lines.append("|---|---|---:|---:|---:|---:|---:|---|")
        for key, row in rows.items():
            if key.split()[0] == model:
                cells = (key.split()[1], row["verdict"], *(cell.text for cell in _figures(row)), _why(row))
                lines.append("| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in cells) + " |")
        lines.append("")
    return "\n".join([*lines, f"Runtimes: {_runtimes(rows)}.", ""])


def html(rows: dict[str, dict]) -> str:
    """Returns docs/truth-table.html, which loads nothing from elsewhere."""
    loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(HERE), jinja2.PackageLoader("segexport.ui", ".")])
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found = [
        {"model": model, "export": export, "verdict": row["verdict"], "figures": _figures(row), "why": _why(row)}
        for key, row in rows.items()
        for model, export in [key.split()]
    ]
    template = environment.get_template("truth_table.html.j2")
    return template.render(rows=found, runtimes=_runtimes(rows)) + "\n"


def _figures(row: dict) -> tuple[Cell, ...]:
    """Agreement, agreement on the worst image, difference of the mIoU, size and time."""

    def percent(name: str) -> Cell:
        return Cell(f"{row[name]:.3%}", row[name]) if name in row else Cell("")

    low, high = row.get("time_ratio_interval") or (None, None)
    time = Cell(f"{row['time_ratio']:.2f}x", row["time_ratio"]) if "time_ratio" in row else Cell("")
    if low is not None and high is not None and low != high:
        time = time._replace(text=f"{time.text} ({low:.2f} to {high:.2f})")
    delta = Cell(f"{row['miou_delta']:+.4f}", row["miou_delta"]) if "miou_delta" in row else Cell("")
    size = Cell(f"{row['size_ratio']:.2f}x", row["size_ratio"]) if "size_ratio" in row else Cell("")
    return percent("agreement"), percent("agreement_worst"), delta, size, time


def _why(row: dict) -> str:
    return row.get("culprit") or row.get("why", "")


def _runtimes(rows: dict[str, dict]) -> str:
    return ", ".join(sorted({row["runtime"] for row in rows.values() if row.get("runtime")}))
