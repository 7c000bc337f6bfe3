"""Draws the images that a report shows: those on which an export agrees least or most, and a random sample."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

from segexport.check.request import CheckRequest
from segexport.data.dataset import Dataset
from segexport.measure.parity import Counts, RankedImage
from segexport.report.schema import ShownImage
from segexport.task.base import TaskScorer
from segexport.ui.pictures import Panel, suffix

FOLDER = "images"


def choose_images(data: Dataset, counts: Counts, reference: Counts) -> list[tuple[ShownImage, RankedImage]]:
    """The images to show: the worst, the best, and a random sample. One that is several of these comes as each.

    Images without a difference are not among the worst.

    Args:
        counts, reference: Counts of an export and of the reference.
    """
    chosen = []
    for why, images in counts.shown.items():
        for one in sorted(images, key=lambda one: one[:2], reverse=True):
            if why == "worst" and one.agreement == 1:
                continue
            index = -one.negative_index
            image = ShownImage(
                image=data.entries[index].image,
                agreement=one.agreement,
                miou=counts.image_miou(index),
                miou_reference=reference.image_miou(index) if data.labelled else None,
                chosen=why,
            )
            chosen.append((image, one))
    return chosen


def draw_images(
    request: CheckRequest, export: str, counts: Counts, reference: Counts, scorer: TaskScorer
) -> tuple[ShownImage, ...]:
    """Writes the pictures of the chosen images; each image is drawn once.

    Args:
        export: Name of the export.
        counts, reference: Counts of the export and of the reference.
    """
    data = request.data
    chosen = choose_images(data, counts, reference)
    ranked = {image.image: one for image, one in reversed(chosen)}
    panels = {name: scorer.draw(data.read(-one.negative_index), one) for name, one in ranked.items()}
    places = places_of(request.all_data, panels)
    return write_pictures(request.folder, export, [image for image, _ in chosen], panels, places)


def places_of(data: Dataset, images: Container[str]) -> dict[str, int]:
    """The index of each of the images in the data; the first one of an image that is listed more than once."""
    every = reversed([*enumerate(data.entries)])
    return {entry.image: index for index, entry in every if entry.image in images}


def write_pictures(
    folder: Path, export: str, images: Sequence[ShownImage], panels: dict[str, Panel], places: dict[str, int]
) -> tuple[ShownImage, ...]:
    """Writes panels into the folder of a report; returns the images with their pictures.

    Args:
        panels: Image -> its panel.
        places: Image -> its index in the whole data set, which numbers the pictures.
    """
    shown = []
    for image in images:
        panel = panels[image.image]
        picture = f"{FOLDER}/{export}-{places[image.image]:05d}{suffix(panel.data)}"
        if not (folder / picture).exists():
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            (folder / picture).write_bytes(panel.data)
        shown.append(
            image.model_copy(update={"picture": picture, "picture_size": panel.size, "tiles": tuple(panel.tiles)})
        )
    return tuple(shown)
