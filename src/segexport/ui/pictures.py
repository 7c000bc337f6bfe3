"""Draws masks: colours for classes, overlays, and panels that show where an export differs.

All pictures are uint8 arrays of shape (height, width, 3) in RGB order; masks are integer arrays (height, width).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from segexport.spec import Frozen, Label
from segexport.ui.palette import color_of

if TYPE_CHECKING:
    import numpy as np

DIFFERS_RGB = (240, 228, 66)  # solid: the export differs from the reference
BOTH_WRONG_RGB = (86, 180, 233)  # hatched: they agree and differ from the truth
IGNORED_RGB = ((96, 96, 96), (150, 150, 150))  # stripes mark pixels without a class in any palette
UNKNOWN_RGB = (255, 255, 255)  # a value without a label

PICTURE_MAX_BYTES = 180_000

_FRAME_RGB, _TITLE_RGB = (40, 46, 58), (236, 239, 244)
_GAP, _TITLE_HEIGHT = 6, 30
_TILE_MIN_WIDTH = 160  # titles do not fit into narrower tiles
_HATCH_PX = 6  # distance of stripes


Shows = Literal["image", "truth", "reference", "export", "difference"]


class Tile(Frozen):
    """The position of a picture in a panel, in pixels."""

    shows: Shows
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Panel:
    """Pictures side by side. `data` is a PNG or a JPEG (see `suffix`), `size` its (width, height) in pixels."""

    data: bytes
    size: tuple[int, int]
    tiles: tuple[Tile, ...]


def default_labels(names: Sequence[str]) -> tuple[Label, ...]:
    """Makes labels with the colours of `palette`."""
    return tuple(Label(id=index, name=name, rgb=color_of(index)) for index, name in enumerate(names))


def colorize(mask: np.ndarray, labels: Sequence[Label], ignore_index: int | None = None) -> np.ndarray:
    """Draws each pixel in the colour of its class; ignored pixels striped grey, values without a label white."""
    import numpy as np

    size = max([label.id for label in labels], default=0) + 2
    if mask.dtype in (np.uint8, np.uint16):  # a table of all possible values is four times as fast
        size, index = max(size, 2 ** (8 * mask.itemsize)), mask
    else:  # the last entry is for pixels without a label
        index = np.where((mask >= 0) & (mask < size - 1), mask, size - 1)
    table = np.full((size, 3), UNKNOWN_RGB, np.uint8)
    for label in labels:
        table[label.id] = np.clip(label.rgb, 0, 255)
    picture = table.take(index, axis=0)
    if ignore_index is not None:
        rows, columns = np.nonzero(mask == ignore_index)
        picture[rows, columns] = np.asarray(IGNORED_RGB, np.uint8)[((rows + columns) // 4) % 2]
    return picture


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Converts an image with any number of channels for display: uint8 (height, width, 3).

    One or two channels become grey; of more, the first three are red, green and blue. Values of more than 8 bits are
    stretched, each channel from its 2nd to its 98th percentile.
    """
    import numpy as np

    if image.dtype == np.uint8 and image.shape[2] == 3:
        return image
    shown = np.repeat(image[:, :, :1], 3, axis=2) if image.shape[2] < 3 else image[:, :, :3]
    if image.dtype != np.uint8:
        low, high = np.percentile(shown, (2, 98), axis=(0, 1))
        shown = (shown.astype(np.float32) - low) * (255.0 / np.maximum(high - low, 1e-12))
        shown = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(shown)


def overlay(image: np.ndarray, mask: np.ndarray, labels: Sequence[Label], *, opacity: float = 0.6) -> np.ndarray:
    """Draws the coloured mask over the image (see `as_rgb`)."""
    import cv2

    return cv2.addWeighted(as_rgb(image), 1.0 - opacity, colorize(mask, labels), opacity, 0.0)


def panel(
    image: np.ndarray,
    truth: np.ndarray | None,
    reference: np.ndarray,
    export: np.ndarray,
    labels: Sequence[Label],
    ignore_index: int | None = 255,
    max_width: int = 2000,
) -> Panel:
    """Draws image, truth (if given), reference, export and difference side by side.

    In the difference the image is dimmed. Solid marks show where the export differs from the reference
    (`DIFFERS_RGB`), hatched ones where both agree and differ from the truth (`BOTH_WRONG_RGB`). Single pixels stay
    visible at any size of the picture.

    Args:
        image: (height, width, channels), see `as_rgb`.
        truth: Class indices (height, width), or None for an image without labels.
        reference: Class indices (height, width) of the reference.
        export: Class indices (height, width) of the export.
        labels: The classes' names and colours.
        ignore_index: Value of `truth` for pixels to ignore.
        max_width: Width limit of the panel, in pixels.

    Returns:
        The panel, as the smaller of PNG and JPEG, of at most about `PICTURE_MAX_BYTES`.

    Raises:
        ValueError: Image and masks differ in size.
    """
    shapes = {array.shape[:2] for array in (image, truth, reference, export) if array is not None}
    if len(shapes) != 1:
        raise ValueError(f"image and masks differ in size: {sorted(shapes)}")
    count = 4 if truth is None else 5
    image = as_rgb(image)
    while True:
        width = max((max_width - (count + 1) * _GAP) // count, _TILE_MIN_WIDTH)
        picture, tiles = _strip(image, truth, reference, export, labels, ignore_index, width)
        data = _encoded(picture)
        if len(data) <= PICTURE_MAX_BYTES or width == _TILE_MIN_WIDTH:
            return Panel(data, (picture.shape[1], picture.shape[0]), tiles)
        max_width = int(max_width * 0.8)


def suffix(data: bytes) -> str | None:
    """`.png` or `.jpg`, by the first bytes; None for other data."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    return ".jpg" if data.startswith(b"\xff\xd8\xff") else None


def _strip(
    image: np.ndarray,
    truth: np.ndarray | None,
    reference: np.ndarray,
    export: np.ndarray,
    labels: Sequence[Label],
    ignore_index: int | None,
    width: int,
) -> tuple[np.ndarray, tuple[Tile, ...]]:
    size = _tile_size((image.shape[0], image.shape[1]), width)
    differs = export != reference
    wrong = differs & False if truth is None else (export != truth) & ~differs & (truth != ignore_index)
    shown = _fit(image, size)
    pictures: dict[Shows, np.ndarray] = {"image": shown}
    if truth is not None:
        pictures["truth"] = colorize(_fit(truth, size), labels, ignore_index)
    pictures["reference"] = colorize(_fit(reference, size), labels)
    pictures["export"] = colorize(_fit(export, size), labels)
    pictures["difference"] = _difference(shown, differs, wrong)
    return _side_by_side(pictures, {"difference": f"differs: {_percent(differs)}"}, width)


def _tile_size(shape: tuple[int, int], width: int) -> tuple[int, int]:
    """(width, height) of an image in a tile: the height of tall images is limited, tiny ones are enlarged."""
    scale = min(width / shape[1], 1.5 * width / shape[0])
    return max(round(shape[1] * scale), 1), max(round(shape[0] * scale), 1)


def _fit(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2
    import numpy as np

    if array.ndim == 3:
        shrinks = size[0] < array.shape[1]
        return cv2.resize(array, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    rows = (np.arange(size[1]) + 0.5) * array.shape[0] / size[1]
    columns = (np.arange(size[0]) + 0.5) * array.shape[1] / size[0]
    return array[np.ix_(rows.astype(np.intp), columns.astype(np.intp))]


def _difference(image: np.ndarray, differs: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Draws the difference; `image` has the tile's size, the two masks have the original's."""
    import cv2
    import numpy as np

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    picture = np.repeat((grey * 0.4 + 20.0)[..., None], 3, axis=2)
    for pixels, color, opacity in ((wrong, BOTH_WRONG_RGB, 0.9), (differs, DIFFERS_RGB, 1.0)):
        # The marked fraction of each tile pixel; INTER_AREA would blur when enlarging, so NEAREST is used for that.
        shrinks = picture.shape[1] < pixels.shape[1]
        share = cv2.resize(
            pixels.astype(np.float32),
            (picture.shape[1], picture.shape[0]),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST,
        )
        alpha = np.where(share > 1e-6, 0.5 + 0.5 * share, 0.0).astype(np.float32) * opacity
        if (share > 1e-6).mean() < 1e-3:
            alpha = cv2.dilate(alpha, np.ones((3, 3), np.uint8))  # makes single pixels visible
        if pixels is wrong:
            rows, columns = np.indices(alpha.shape)
            alpha = np.where((rows + columns) % _HATCH_PX < _HATCH_PX // 2, alpha, alpha * 0.3)
        picture += (np.asarray(color, np.float32) - picture) * alpha[..., None]
    return picture.round().astype(np.uint8)


def _percent(pixels: np.ndarray) -> str:
    share = 100.0 * float(pixels.mean())
    return (
        "no pixel"
        if share == 0
        else "< 0.01 %"
        if share < 0.01
        else f"{share:.2f} %"
        if share < 10
        else f"{share:.0f} %"
    )


def _side_by_side(
    pictures: Mapping[Shows, np.ndarray], titles: Mapping[Shows, str], width: int
) -> tuple[np.ndarray, tuple[Tile, ...]]:
    """Returns the canvas and its tiles; `titles` replace the default titles."""
    import cv2
    import numpy as np

    height = max(picture.shape[0] for picture in pictures.values())
    canvas = np.full((height + _TITLE_HEIGHT + _GAP, len(pictures) * (width + _GAP) + _GAP, 3), _FRAME_RGB, np.uint8)
    tiles = []
    for index, (shows, picture) in enumerate(pictures.items()):
        left, title = _GAP + index * (width + _GAP), titles.get(shows, shows)
        cv2.putText(
            canvas, title, (left + 2, _TITLE_HEIGHT - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.52, _TITLE_RGB, 1, cv2.LINE_AA
        )
        left += (width - picture.shape[1]) // 2
        high, wide = picture.shape[:2]
        canvas[_TITLE_HEIGHT : _TITLE_HEIGHT + high, left : left + wide] = picture
        tiles.append(Tile(shows=shows, left=left, top=_TITLE_HEIGHT, width=wide, height=high))
    return canvas, tuple(tiles)


def _encoded(picture: np.ndarray) -> bytes:
    """Encodes as the smaller of PNG and JPEG, with the best quality within the size limit."""
    from io import BytesIO

    from PIL import Image

    def saved(form: str, **options: int | bool) -> bytes:
        stream = BytesIO()
        Image.fromarray(picture).save(stream, form, **options)
        return stream.getvalue()

    png = saved("PNG")
    for quality in (92, 85, 75):
        # 4:4:4, or a thin coloured line loses its colour. Not optimize: Pillow's buffer is too small for noise then.
        jpeg = saved("JPEG", quality=quality, subsampling=0)
        if min(len(png), len(jpeg)) <= PICTURE_MAX_BYTES:
            break
    return png if len(png) <= len(jpeg) else jpeg
