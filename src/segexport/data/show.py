"""Formats the result of `data check`."""

from __future__ import annotations

from segexport.data.check import DataReport
from segexport.files.json_writer import to_json


def render(report: DataReport, form: str, *, color: bool, width: int) -> str:
    """The report as a table, or as JSON with the keys of `check_dataset_result.json`."""
    if form == "json":
        return to_json(report.document)
    from segexport.ui.text_table import table

    splits = report.splits
    totals = {name: max(1, int(found.pixels.sum())) for name, found in splits.items()}
    head = ["class", *(f"{name}: {what}" for name in splits for what in ("pixels", "images"))]
    body = []
    for label in report.labels:
        cells = [f"{label.id} {label.name}"]
        for name, found in splits.items():
            there = label.id < found.pixels.size
            pixels, images = (found.pixels[label.id], found.images_with[label.id]) if there else (0, 0)
            cells += [f"{pixels / totals[name]:.2%}", f"{images}"]
        body.append(cells)
    counts = ", ".join(f"{name} {found.images}" for name, found in splits.items())
    title = f"{report.root}: {len(report.labels)} classes; images: {counts}"
    lines = [table(head, body, title=title, color=color, width=width)]
    lines += [f"warning: {warning}\n" for warning in report.warnings]
    lines += [f"fault: {fault}\n" for fault in report.faults]
    lines.append(
        "Check dataset passed !\n" if report.passed else f"Check dataset failed: {len(report.faults)} faults\n"
    )
    return "".join(lines)
