"""Draws the images that a report shows: those on which an export agrees least or most, and a random sample."""

from __future__ import annotations

from segexport.check.request import CheckRequest
from segexport.measure.parity import Counts
from segexport.report.schema import ShownImage
from segexport.task.base import TaskScorer
from segexport.ui.pictures import Panel, suffix

FOLDER = "images"


def draw_images(
    request: CheckRequest, export: str, counts: Counts, reference: Counts, scorer: TaskScorer
) -> tuple[ShownImage, ...]:
    """Writes the pictures: the worst, the best, and a random sample; an image that is several of these comes as each.

    Images without a difference are not among the worst.

    Args:
        export: Name of the export.
        counts, reference: Counts of the export and of the reference.
    """
    data, everything = request.data, request.all_data
    folder = request.folder / FOLDER
    panels: dict[int, tuple[str, Panel]] = {}
    shown = []
    for why, images in counts.shown.items():
        for one in sorted(images, key=lambda one: one[:2], reverse=True):
            if why == "worst" and one.agreement == 1:
                continue
            index = -one.negative_index
            name = data.entries[index].image
            if index not in panels:
                sample = data.read(index)
                panel = scorer.draw(sample, one)
                folder.mkdir(parents=True, exist_ok=True)
                file = f"{export}-{everything.entries.index(data.entries[index]):05d}{suffix(panel.data)}"
                (folder / file).write_bytes(panel.data)
                panels[index] = f"{FOLDER}/{file}", panel
            picture, panel = panels[index]
            shown.append(
                ShownImage(
                    image=name,
                    agreement=one.agreement,
                    miou=counts.image_miou(index),
                    miou_reference=reference.image_miou(index) if data.labelled else None,
                    chosen=why,
                    picture=picture,
                    picture_size=panel.size,
                    tiles=panel.tiles,
                )
            )
    return tuple(shown)
