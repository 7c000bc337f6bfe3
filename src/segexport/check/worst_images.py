"""Draws the images on which an export agrees least with the reference."""

from __future__ import annotations

from segexport.check.request import CheckRequest
from segexport.measure.parity import Counts
from segexport.report.schema import WorstImage
from segexport.task.base import TaskScorer
from segexport.ui.pictures import suffix

FOLDER = "images"


def draw_worst(request: CheckRequest, export: str, counts: Counts, scorer: TaskScorer) -> tuple[WorstImage, ...]:
    """Writes the pictures, worst first; images on which nothing differs show nothing and are left out.

    Args:
        export: Its name.
        counts: Of the export.
    """
    data, everything = request.data, request.all_data
    folder = request.folder / FOLDER
    drawn = []
    for worst in sorted(counts.worst, key=lambda one: one[:2], reverse=True):
        if worst.negative_agreement == -1.0:
            continue
        index = -worst.negative_index
        sample = data.read(index)
        picture = scorer.draw(sample, worst)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{export}-{everything.entries.index(data.entries[index]):05d}{suffix(picture)}"
        (folder / name).write_bytes(picture)
        drawn.append(
            WorstImage(
                image=sample.name,
                agreement=-worst.negative_agreement,
                miou=counts.image_miou(index),
                picture=f"{FOLDER}/{name}",
            )
        )
    return tuple(drawn)
