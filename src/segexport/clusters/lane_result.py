"""The lanes of one image, with PaddleX's methods that print and save a result."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from segexport.clusters.lanes import Lane
from segexport.files.atomic import write_file
from segexport.predict.prediction import SegmentationResult
from segexport.predict.saving import place, stem_of
from segexport.ui.pictures import default_labels

if TYPE_CHECKING:
    from PIL.Image import Image


class LaneResult(SegmentationResult):
    """A model's lanes in one image.

    Attributes:
        lanes: The lanes, from left to right.
        label_map: (H, W), the number of the lane of each pixel, 1 for the first; 0 for none.
    """

    def __init__(self, input_path: str, image: np.ndarray, label_map: np.ndarray, lanes: Sequence[Lane]) -> None:
        names = ["no lane", *(f"lane {number}" for number in range(1, len(lanes) + 1))]
        super().__init__(input_path, image, label_map, None, default_labels(names))
        self.lanes = tuple(lanes)

    @property
    def summary(self) -> str:
        """The number of lanes, as text."""
        return {0: "no lane", 1: "1 lane"}.get(len(self.lanes), f"{len(self.lanes)} lanes")

    @property
    def json(self) -> dict[str, Any]:
        """The lanes' points as plain data, under the key `res`."""
        return {"res": {**self._head, "lanes": [_plain(lane) for lane in self.lanes]}}

    def picture(self, kind: str = "overlay") -> Image:
        """Draws the result: `mask` has the lanes' numbers; `overlay` also shows each lane's curve."""
        from PIL import Image

        picture = super().picture(kind)
        if kind != "overlay":
            return picture
        drawn = np.array(picture)
        thickness = max(2, round(min(drawn.shape[:2]) / 150))
        for lane, label in zip(self.lanes, self.labels[1:], strict=True):
            points = np.rint(np.clip(lane.points, -(1 << 15), 1 << 15)).astype(np.int32)
            cv2.polylines(drawn, [points], False, label.rgb, thickness, cv2.LINE_AA)
        return Image.fromarray(drawn)

    def print(self, format_json: bool = True, indent: int | None = 4, ensure_ascii: bool = False) -> None:
        """Prints the lanes' points."""
        content = self.json
        print(json_module.dumps(content, indent=indent, ensure_ascii=ensure_ascii) if format_json else content)

    def save_to_json(self, save_path: str | Path, indent: int | None = 4, ensure_ascii: bool = False) -> Path:
        """Writes `json` to a file, or into a folder under the image's name; one lane per line.

        Raises:
            StorageError: The file cannot be written.
        """
        content = self.json["res"]
        text = json_module.dumps(content, ensure_ascii=ensure_ascii)
        if indent is not None:
            space = " " * indent
            lines = [
                f'{space}"{key}": {json_module.dumps(value, ensure_ascii=ensure_ascii)}'
                for key, value in self._head.items()
            ]
            rows = ",".join(f"\n{space * 2}{json_module.dumps(lane)}" for lane in content["lanes"])
            text = "{\n" + ",\n".join([*lines, f'{space}"lanes": [{rows}\n{space}]']) + "\n}\n"
        name = f"{stem_of(self.input_path)}.json"
        return write_file(place(self.input_path, save_path, name, (".json",)), text.encode())

    @property
    def _head(self) -> dict[str, Any]:
        return {"input_path": self.input_path, "page_index": self.page_index}


def _plain(lane: Lane) -> dict[str, Any]:
    return {"points": [[round(float(x), 2), round(float(y), 2)] for x, y in lane.points], "pixels": lane.pixels}
