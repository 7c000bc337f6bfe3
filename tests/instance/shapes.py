"""Images with red and green shapes on black, annotated as COCO and Pascal VOC do: what `detector.py` looks for."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIDES = (12, 20, 40, 56)
COLORS = {1: (225, 0, 0), 2: (0, 225, 0)}  # by category id
NAMES = {1: "red", 2: "green"}


def image_with_shapes(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, list[dict]]:
    """uint8 (height, width, 3) RGB and COCO annotations: squares as polygons, discs as run-length codes."""
    random = np.random.default_rng(seed)
    width, height = size
    picture = np.zeros((height, width, 3), np.float64)
    taken = np.zeros((height, width), bool)
    found: list[dict] = []
    for _ in range(12):
        category, side = int(random.integers(1, 3)), int(random.choice(SIDES))
        left, top = (int(random.integers(2, max(length - side - 2, 3))) for length in size)
        if left + side > width - 2 or top + side > height - 2:
            continue
        near = np.s_[max(top - 4, 0) : top + side + 4, max(left - 4, 0) : left + side + 4]
        if taken[near].any():
            continue
        taken[near] = True
        mask = np.zeros((height, width), np.uint8)
        if random.random() < 0.5:
            right, bottom = left + side, top + side
            mask[top:bottom, left:right] = 1
            shape = [[left, top, right, top, right, bottom, left, bottom]]
        else:
            cv2.ellipse(mask, ((left + side / 2 - 0.5, top + side / 2 - 0.5), (side - 1, side - 1), 0), 1, -1)
            shape = runs(mask)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        picture[mask > 0] = COLORS[category]
        found.append(
            {"category_id": category, "bbox": box, "area": int(mask.sum()), "iscrowd": 0, "segmentation": shape}
        )
    picture += random.normal(0, 10, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), found


def runs(mask: np.ndarray) -> dict:
    """An uncompressed run-length code, counted one by one."""
    counts, value = [0], 0
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def write_coco(root: Path, count: int = 6, seed: int = 0, size: tuple[int, int] = (120, 100)) -> Path:
    """`images/` and `annotations/instances_val.json`; returns the latter."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    images, annotations = [], []
    for index in range(count):
        picture, found = image_with_shapes(seed + index, size)
        name = f"{index:03d}.png"
        Image.fromarray(picture).save(root / "images" / name)
        images.append({"id": 10 + index, "file_name": name, "width": size[0], "height": size[1]})
        for one in found:
            annotations.append({"id": len(annotations) + 1, "image_id": 10 + index, **one})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": name} for key, name in NAMES.items()],
    }
    file = root / "annotations" / "instances_val.json"
    file.write_text(json.dumps(content))
    return file


def write_voc(root: Path, count: int = 4, seed: int = 0, size: tuple[int, int] = (120, 100)) -> None:
    """`JPEGImages`, `Annotations` and `ImageSets/Main/val.txt`."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        picture, found = image_with_shapes(seed + index, size)
        Image.fromarray(picture).save(root / "JPEGImages" / f"{index:03d}.png")
        objects = ""
        for one in found:
            left, top, width, height = one["bbox"]
            sides = {"xmin": left + 1, "ymin": top + 1, "xmax": left + width, "ymax": top + height}
            box = "".join(f"<{side}>{value}</{side}>" for side, value in sides.items())
            objects += f"<object><name>{NAMES[one['category_id']]}</name><bndbox>{box}</bndbox></object>"
        where = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        (root / "Annotations" / f"{index:03d}.xml").write_text(f"<annotation>{where}{objects}</annotation>")
    (root / "ImageSets/Main/val.txt").write_text("".join(f"{index:03d}\n" for index in range(count)))
    (root / "labels.txt").write_text("red\ngreen\n")
