"""The result for one image, with PaddleX's names: label_map, score_map, print, save_to_img, save_to_json, json, img."""

from __future__ import annotations

import io
import json as json_module
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segexport.data.images import IMAGE_SUFFIXES
from segexport.files.atomic import write_file
from segexport.predict.saving import picture_name, place, require_kind, save_picture, stem_of
from segexport.spec import Label
from segexport.ui.pictures import colorize, overlay

if TYPE_CHECKING:
    from PIL.Image import Image

_KEYS = ("input_path", "page_index", "pred", "label_map", "score_map")


class SegmentationResult(Mapping):
    """The result for one image; also a mapping, for code that writes `result["label_map"]`.

    Attributes:
        input_path: The image's path or URL, or `array_0` for the first array.
        page_index: None; PaddleX's key for the page of a PDF.
        image: (H, W, 3) uint8 RGB; for other numbers of channels, a rendering.
        label_map: (H, W) uint8 or uint16, the class of each pixel; `pred` is another name of it.
        score_map: (H, W, classes) float32 probabilities; None if the model outputs classes only, or not requested.
        labels: The names of the classes.
    """

    page_index = None

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
    def pred(self) -> np.ndarray:
        """The mask."""
        return self.label_map

    def __repr__(self) -> str:
        height, width = self.label_map.shape
        return f"<SegmentationResult {self.input_path}: {width}x{height}; {self.summary}>"

    def _repr_png_(self) -> bytes:
        """The picture in a notebook: the mask over the image."""
        stream = io.BytesIO()
        self.picture().save(stream, "PNG")
        return stream.getvalue()

    def __getitem__(self, key: str) -> Any:
        if key not in _KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)

    @property
    def json(self) -> dict[str, Any]:
        """The mask and the classes as plain data, under the key `res`."""
        return {"res": {**self._head, "pred": self.label_map.tolist()}}

    @property
    def img(self) -> dict[str, Image]:
        """The image with the coloured mask over it, under the key `res`."""
        return {"res": self.picture("overlay")}

    @property
    def shares(self) -> dict[str, float]:
        """Class -> fraction of the pixels, for the classes in the mask."""
        counts = np.bincount(self.label_map.ravel(), minlength=len(self.labels)) / self.label_map.size
        return {label.name: float(counts[label.id]) for label in self.labels if counts[label.id]}

    @property
    def summary(self) -> str:
        """The fraction of each class, as text."""
        return ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())

    def picture(self, kind: str = "overlay") -> Image:
        """The mask as a picture.

        Args:
            kind: `overlay`: over the image; `color`: in its classes' colours; `mask`: the class ids.

        Raises:
            InputError: The kind is unknown.
        """
        from PIL import Image

        require_kind(kind)
        if kind == "overlay":
            return Image.fromarray(overlay(self.image, self.label_map, self.labels))
        return Image.fromarray(self.label_map if kind == "mask" else colorize(self.label_map, self.labels))

    def picture_name(self, kind: str = "overlay") -> str:
        """The file name that `save_to_img` gives a picture in a folder."""
        return picture_name(self.input_path, kind)

    def print(self, format_json: bool = True, indent: int | None = 4, ensure_ascii: bool = False) -> None:
        """Prints the image's path and the fraction of each class; the mask is printed as `...`.

        Args:
            format_json: Whether to print indented JSON.
            indent, ensure_ascii: As in `json.dumps`, for `format_json`.
        """
        content = {"res": {**self._head, "pred": "...", "shares": self.shares}}
        print(json_module.dumps(content, indent=indent, ensure_ascii=ensure_ascii) if format_json else content)

    def save_to_json(self, save_path: str | Path, indent: int | None = 4, ensure_ascii: bool = False) -> Path:
        """Writes input_path, page_index, label_list and pred to a file, or into a folder under the image's name.

        Args:
            save_path: A file that ends in `.json`, or a folder.
            indent: Indentation; each row of the mask is one line. None: everything in one line.
            ensure_ascii: Whether to escape characters outside ASCII.

        Returns:
            The file.

        Raises:
            StorageError: The file cannot be written.
        """
        dump = json_module.dumps
        content = {**self._head, "pred": self.label_map.tolist()}
        if indent is None:
            text = dump(content, ensure_ascii=ensure_ascii)
        else:
            lines = [f"{dump(key)}: {dump(value, ensure_ascii=ensure_ascii)}" for key, value in self._head.items()]
            start = "\n" + " " * indent
            rows = ",".join(start + " " * indent + dump(row) for row in content["pred"])
            lines.append(f'"pred": [{rows}{start}]')
            text = "{" + ",".join(start + line for line in lines) + "\n}\n"
        name = f"{stem_of(self.input_path)}.json"
        return write_file(place(self.input_path, save_path, name, (".json",)), text.encode())

    def save_to_img(self, save_path: str | Path, *, kind: str = "overlay") -> Path:
        """Writes a picture to a file, or into a folder under the image's name.

        Args:
            save_path: A file with an image's suffix, or a folder. In a folder, the picture has the image's name; the
                ids of `mask` are always written as PNG, because other formats change them.
            kind: As in `picture`.

        Returns:
            The file.

        Raises:
            InputError: The kind is unknown, the format cannot be written, or the image would be overwritten.
            StorageError: The file cannot be written.
        """
        path = place(self.input_path, save_path, self.picture_name(kind), IMAGE_SUFFIXES)
        return save_picture(self.picture(kind), path, kind)

    @property
    def _head(self) -> dict[str, Any]:
        names = [label.name for label in self.labels]
        return {"input_path": self.input_path, "page_index": self.page_index, "label_list": names}
