"""The result for one image, with PaddleX's names: label_map, score_map, print, save_to_img, save_to_json, json, img."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segexport.errors import InputError
from segexport.pictures import colorize, overlay
from segexport.spec import Label

if TYPE_CHECKING:
    from PIL.Image import Image


class SegmentationResult:
    """What a model says about one image.

    Attributes:
        input_path: Name of the image.
        image: (H, W, 3) uint8 RGB.
        label_map: (H, W) uint8 or uint16, the class of each pixel.
        score_map: (H, W, classes) float32 probabilities; None when the model gives classes only, or nobody asked.
        labels: The classes.
    """

    def __init__(
        self,
        input_path: str,
        image: np.ndarray,
        label_map: np.ndarray,
        score_map: np.ndarray | None,
        labels: tuple[Label, ...],
    ) -> None:
        self.input_path, self.image = input_path, image
        self.label_map, self.score_map, self.labels = label_map, score_map, labels

    @property
    def json(self) -> dict[str, Any]:
        """The mask and the classes as plain data."""
        return {
            "input_path": self.input_path,
            "pred": self.label_map.tolist(),
            "label_list": [label.name for label in self.labels],
        }

    @property
    def img(self) -> Image:
        """The image with the coloured mask laid over it."""
        from PIL import Image

        return Image.fromarray(overlay(self.image, self.label_map, self.labels))

    @property
    def shares(self) -> dict[str, float]:
        """Part of the pixels by class, of the classes that are there."""
        counts = np.bincount(self.label_map.ravel(), minlength=len(self.labels)) / self.label_map.size
        return {label.name: float(counts[label.id]) for label in self.labels if counts[label.id]}

    def print(self) -> None:
        """Prints the image's name, the mask's size and the share of each class."""
        height, width = self.label_map.shape
        print(json_module.dumps({"input_path": self.input_path, "size": [width, height], "shares": self.shares}))

    def save_to_json(self, save_path: str | Path) -> Path:
        """Writes `json` to a file, or into a folder under the image's name; returns where."""
        path = self._place(save_path, ".json")
        path.write_text(json_module.dumps(self.json, ensure_ascii=False), encoding="utf-8")
        return path

    def save_to_img(self, save_path: str | Path, *, kind: str = "overlay") -> Path:
        """Writes a picture to a file, or into a folder under the image's name; returns where.

        Args:
            kind: `overlay`; `color`: the mask in its classes' colours; `mask`: the class ids themselves (PNG).
        """
        from PIL import Image

        path = self._place(save_path, ".png")
        if kind == "overlay":
            picture = self.img
        elif kind == "color":
            picture = Image.fromarray(colorize(self.label_map, self.labels))
        elif kind == "mask":
            picture = Image.fromarray(self.label_map)
        else:
            raise InputError(f"{kind!r}: not a kind of picture", cause="it is overlay, color or mask")
        try:
            picture.save(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be written", cause=str(error)) from None
        return path

    def _place(self, save_path: str | Path, suffix: str) -> Path:
        path = Path(save_path)
        if path.is_dir() or not path.suffix:
            path = path / (Path(self.input_path).stem + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
