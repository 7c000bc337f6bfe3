"""The objects of one image as PaddleX's list of dicts, with methods that print and save it."""

from __future__ import annotations

import json as json_module
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segexport.data.images import IMAGE_SUFFIXES
from segexport.files.atomic import write_file
from segexport.predict.saving import picture_name, place, require_kind, save_picture, stem_of
from segexport.runtimes.objects import Objects
from segexport.spec import Label
from segexport.task.instance import draw, rle

if TYPE_CHECKING:
    from PIL.Image import Image

DRAW_THRESHOLD = 0.5
"""Lowest score of objects in pictures, by default."""


class InstanceResult(Sequence):
    """A model's objects in one image, best score first.

    Each element is a dict: `bbox` [xmin, ymin, w, h] in pixels, `mask` (H, W) uint8 of 0 and 1 at the image's size,
    `category` the class's name, `category_id` its index in the model's labels, and `score`. Masks are decoded when an
    element is read.

    Attributes:
        input_path: Path or URL of the image, or `array_0` for the first array.
        page_index: None; in PaddleX, the page of a PDF.
        image: (H, W, 3) uint8 RGB.
        objects: The objects as arrays.
        labels: The classes.
        draw_threshold: Lowest score of objects in pictures, by default.
    """

    page_index = None

    def __init__(
        self,
        input_path: str,
        image: np.ndarray,
        objects: Objects,
        labels: tuple[Label, ...],
        draw_threshold: float = DRAW_THRESHOLD,
    ) -> None:
        self.input_path, self.image, self.objects, self.labels = input_path, image, objects, labels
        self.draw_threshold = draw_threshold

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._one(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._one(index % len(self))

    def __repr__(self) -> str:
        return f"<{len(self)} objects in {self.input_path}>"

    @property
    def summary(self) -> str:
        """The number of objects per class, as text."""
        counts = Counter(int(index) for index in self.objects.classes)
        return ", ".join(f"{count} {self.labels[index].name}" for index, count in sorted(counts.items())) or "nothing"

    @property
    def json(self) -> dict[str, Any]:
        """The result as plain data under the key `res`; masks as COCO's uncompressed run-length codes."""
        return {"res": {**self._head, "objects": [self._plain(index) for index in range(len(self))]}}

    @property
    def img(self) -> dict[str, Image]:
        """The image with the objects drawn over it, under the key `res`."""
        return {"res": self.picture("overlay")}

    def picture(self, kind: str = "overlay", *, threshold: float | None = None) -> Image:
        """Draws the objects.

        Args:
            kind: `overlay`: over the image; `color`: each in a different colour, on black; `mask`: the objects'
                numbers, from 1, and 0 for none.
            threshold: Lowest score of drawn objects; None: `draw_threshold`.

        Raises:
            InputError: The kind is unknown.
        """
        from PIL import Image

        require_kind(kind)
        shown = self.objects.at_least(self.draw_threshold if threshold is None else threshold)
        if kind == "overlay":
            return Image.fromarray(draw.overlay(self.image, shown, self.labels))
        return Image.fromarray(draw.numbered(shown) if kind == "mask" else draw.colored(shown))

    def picture_name(self, kind: str = "overlay") -> str:
        """The file name of a picture that `save_to_img` writes into a folder."""
        return picture_name(self.input_path, kind)

    def print(self, format_json: bool = True, indent: int | None = 4, ensure_ascii: bool = False) -> None:
        """Prints classes, boxes and scores; masks are printed as `...`.

        Args:
            format_json: Whether to print indented JSON.
            indent, ensure_ascii: As in `json.dumps`, for `format_json`.
        """
        objects = [{**self._plain(index, mask=False), "mask": "..."} for index in range(len(self))]
        content = {"res": {**self._head, "objects": objects}}
        print(json_module.dumps(content, indent=indent, ensure_ascii=ensure_ascii) if format_json else content)

    def save_to_json(self, save_path: str | Path, indent: int | None = 4, ensure_ascii: bool = False) -> Path:
        """Writes `json` to a file, or into a folder under the image's name; one object per line.

        Args:
            save_path: A file that ends in `.json`, or a folder.
            indent: Indentation of lines; None writes a single line.
            ensure_ascii: Whether to escape characters beyond ASCII.

        Returns:
            The file.

        Raises:
            StorageError: The file cannot be written.
        """
        dump = json_module.dumps
        content = self.json["res"]
        text = dump(content, ensure_ascii=ensure_ascii)
        if indent is not None:
            start = "\n" + " " * indent
            lines = [f"{dump(key)}: {dump(value, ensure_ascii=ensure_ascii)}" for key, value in self._head.items()]
            rows = ",".join(start + " " * indent + dump(row, ensure_ascii=ensure_ascii) for row in content["objects"])
            lines.append(f'"objects": [{rows}{start}]')
            text = "{" + ",".join(start + line for line in lines) + "\n}\n"
        name = f"{stem_of(self.input_path)}.json"
        return write_file(place(self.input_path, save_path, name, (".json",)), text.encode())

    def save_to_img(self, save_path: str | Path, *, kind: str = "overlay", threshold: float | None = None) -> Path:
        """Writes a picture to a file, or into a folder under the image's name; the image itself is never overwritten.

        Raises:
            InputError: The kind is unknown, or the format cannot be written.
            StorageError: The file cannot be written.
        """
        path = place(self.input_path, save_path, self.picture_name(kind), IMAGE_SUFFIXES)
        return save_picture(self.picture(kind, threshold=threshold), path, kind)

    @property
    def _head(self) -> dict[str, Any]:
        names = [label.name for label in self.labels]
        return {"input_path": self.input_path, "page_index": self.page_index, "label_list": names}

    def _one(self, index: int) -> dict[str, Any]:
        return {**self._numbers(index), "mask": self.objects.mask(index).astype(np.uint8)}

    @property
    def found(self) -> tuple[dict[str, Any], ...]:
        """Class, score and box of each object."""
        return tuple(map(self._numbers, range(len(self))))

    def _plain(self, index: int, *, mask: bool = True) -> dict[str, Any]:
        return {**self._numbers(index), **({"mask": rle.encode(self.objects.mask(index))} if mask else {})}

    def _numbers(self, index: int) -> dict[str, Any]:
        left, top, right, bottom = (float(side) for side in self.objects.boxes[index])
        label = self.labels[int(self.objects.classes[index])]
        return {
            "category": label.name,
            "category_id": label.id,
            "score": float(self.objects.scores[index]),
            "bbox": [left, top, right - left, bottom - top],
        }
