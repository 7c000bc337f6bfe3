"""Formats the metrics of masks as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segexport.report.numbers import fraction
from segexport.ui.text_table import table


def metrics_table(metrics: Mapping[str, Any], *, title: str, color: bool, width: int) -> str:
    """Formats the metrics of `Model.evaluate`, with `labels`, and the confusion matrix if there is one."""
    names = metrics["labels"]
    body = [
        (name, fraction(iou), fraction(accuracy))
        for name, iou, accuracy in zip(names, metrics["category_iou"], metrics["category_acc"], strict=True)
    ]
    body.append(("mean", fraction(metrics["miou"]), fraction(metrics["macc"])))
    text = table(("class", "IoU", "accuracy"), body, title=title, color=color, width=width)
    text += f"pixel accuracy {fraction(metrics['pixel_accuracy'])}, kappa {fraction(metrics['kappa'])}\n"
    text += "".join(f"warning: {line}\n" for line in metrics.get("warnings", ()))
    if "confusion_matrix" in metrics:
        rows = [(name, *map(str, row)) for name, row in zip(names, metrics["confusion_matrix"], strict=True)]
        text += "\n" + table(("truth \\ model", *names), rows, title="Pixels", color=color, width=width)
    return text
