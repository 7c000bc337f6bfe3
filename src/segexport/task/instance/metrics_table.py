"""Formats the metrics of objects as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segexport.report.numbers import fraction
from segexport.ui.text_table import table


def metrics_table(metrics: Mapping[str, Any], *, title: str, color: bool, width: int) -> str:
    """Formats the metrics of `InstanceModel.evaluate`, with `labels`."""
    nothing = [None] * len(metrics["labels"])
    columns = metrics["category_bbox_ap"], metrics.get("category_segm_ap", nothing)
    body = [(name, *map(fraction, aps)) for name, *aps in zip(metrics["labels"], *columns, strict=True)]
    mean = "mmap" if "bbox_mmap" in metrics else "map"
    body.append(("mean", fraction(metrics[f"bbox_{mean}"]), fraction(metrics[f"segm_{mean}"])))
    rule = "the mean over the IoU from 0.5 to 0.95" if mean == "mmap" else "at an IoU of 0.5, by 11 points"
    text = table(("class", "box AP", "mask AP"), body, title=title, color=color, width=width)
    return text + f"average precision is {rule}\n"
