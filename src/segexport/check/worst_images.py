"""Draws the images on which an export agrees least with the reference."""

from __future__ import annotations

from segexport.check.classes import Classes
from segexport.check.request import CheckRequest
from segexport.check.sessions import RunningExport
from segexport.measure.parity import Counts
from segexport.report.schema import WorstImage
from segexport.task.instance.compare import InstanceCounts
from segexport.task.instance.draw import object_panel
from segexport.ui.pictures import panel, suffix

FOLDER = "images"


def draw_worst(request: CheckRequest, export: RunningExport, tally: Counts, classes: Classes) -> tuple[WorstImage, ...]:
    """Writes the pictures, worst first; images that agree in every pixel show nothing and are left out.

    Args:
        tally: What was counted of the export.
    """
    data, everything, model = request.data, request.all_data, export.model
    folder = request.folder / FOLDER
    worst = []
    for negative, negative_index, own_mask, mask in sorted(tally.worst, key=lambda item: item[:2], reverse=True):
        if negative == -1.0:
            continue
        index = -negative_index
        sample = data.read(index)
        if isinstance(tally, InstanceCounts):
            picture = object_panel(sample, data, own_mask, mask, model.artifact.manifest.labels)
        else:
            picture = panel(sample.image, sample.label, own_mask, mask, classes.labels, data.ignore_index)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{model.name}-{everything.entries.index(data.entries[index]):05d}{suffix(picture)}"
        (folder / name).write_bytes(picture)
        worst.append(
            WorstImage(
                image=sample.name,
                agreement=-negative,
                miou=tally.image_miou(index),
                picture=f"{FOLDER}/{name}",
            )
        )
    return tuple(worst)
