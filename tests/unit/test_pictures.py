"""Pictures of masks: the palette, the colours, and the strip that shows a difference."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segexport.spec import Label
from segexport.ui import pictures
from segexport.ui.palette import PALETTE
from segexport.ui.pictures import (
    BOTH_WRONG_RGB,
    DIFFERS_RGB,
    PICTURE_MAX_BYTES,
    Panel,
    colorize,
    default_labels,
    overlay,
    panel,
)

LABELS = default_labels(["background", "cat", "dog"])


def _decoded(found: Panel) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(found.data)).convert("RGB"))


def _part(found: Panel, shows: str) -> np.ndarray:
    (tile,) = (tile for tile in found.tiles if tile.shows == shows)
    return _decoded(found)[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]


def _close(pixels: np.ndarray, color: tuple[int, int, int], tolerance: int = 24) -> np.ndarray:
    return (np.abs(pixels.astype(int) - color) <= tolerance).all(-1)


def _scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey image without red or green in it, and a mask of class 1."""
    return np.full((height, width, 3), 90, np.uint8), np.ones((height, width), np.uint8)


def test_default_colors_are_those_of_the_palette() -> None:
    labels = default_labels([str(index) for index in range(256)])
    assert [label.rgb for label in labels] == list(PALETTE)
    assert [(label.id, label.name) for label in labels[:2]] == [(0, "0"), (1, "1")]


def test_colorize() -> None:
    mask = np.array([[0, 1, 2], [3, 255, -1]], np.int32)
    picture = colorize(mask, LABELS, ignore_index=255)
    assert picture.dtype == np.uint8
    assert picture[0].tolist() == [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    assert picture[1, 0].tolist() == picture[1, 2].tolist() == [255, 255, 255]  # no label has these values
    assert tuple(picture[1, 1]) in pictures.IGNORED_RGB
    assert colorize(mask, LABELS)[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_colorize_takes_every_integer(dtype) -> None:
    mask = np.array([[200, 1]], dtype)
    assert colorize(mask, (Label(id=200, name="a", rgb=(1, 2, 300)),)).tolist() == [[[1, 2, 255], [255, 255, 255]]]


def test_overlay_mixes_image_and_colors() -> None:
    image, mask = _scene(2, 2)
    assert overlay(image, mask, LABELS, opacity=0.5)[0, 0].tolist() == [160, 124, 45]
    assert overlay(image, mask, LABELS, opacity=0.0).tolist() == image.tolist()


def test_panel_has_a_tile_for_each_picture() -> None:
    image, mask = _scene(60, 80)
    truth = mask.copy()
    truth[:, 40:] = 2
    found = panel(image, truth, mask, mask, LABELS, max_width=1000)
    assert found.size == (_decoded(found).shape[1], _decoded(found).shape[0])
    assert found.size[0] <= 1000
    assert [tile.shows for tile in found.tiles] == ["image", "truth", "reference", "export", "difference"]
    assert _close(_part(found, "image"), (90, 90, 90)).all()
    for shows in ("reference", "export"):
        assert _close(_part(found, shows), LABELS[1].rgb).all()
    half = found.tiles[1].width // 2
    assert _close(_part(found, "truth")[:, : half - 2], LABELS[1].rgb).all()
    assert _close(_part(found, "truth")[:, half + 2 :], LABELS[2].rgb).all()
    dim = 90 * 0.4 + 20
    left, right = _part(found, "difference")[:, : half - 4], _part(found, "difference")[:, half + 4 :]
    assert _close(left, (dim, dim, dim)).all()
    full, faint = (tuple(int(dim + (one - dim) * share) for one in BOTH_WRONG_RGB) for share in (0.9, 0.27))
    assert _close(right, full).mean() == pytest.approx(0.5, abs=0.1)  # hatched
    assert _close(right, faint).mean() == pytest.approx(0.5, abs=0.1)


def test_panel_without_truth_has_four_tiles_and_no_marks_for_wrong() -> None:
    image, mask = _scene(60, 60)
    found = panel(image, None, mask, mask, LABELS, max_width=1000)
    with_truth = panel(image, mask, mask, mask, LABELS, max_width=1000)
    assert [tile.shows for tile in found.tiles] == ["image", "reference", "export", "difference"]
    assert found.size[1] > with_truth.size[1]  # four tiles share the width, so they are larger
    difference = _part(found, "difference")
    assert not _close(difference, DIFFERS_RGB).any()
    assert not _close(difference, BOTH_WRONG_RGB, 60).any()


def test_panel_marks_only_what_differs_and_ignores_what_has_no_truth() -> None:
    image, mask = _scene(60, 60)
    truth = np.full_like(mask, 255)
    export = mask.copy()
    export[:30] = 2
    found = panel(image, truth, mask, export, LABELS, ignore_index=255)
    tile = _part(found, "difference")
    marked = _close(tile, DIFFERS_RGB)
    half = tile.shape[0] // 2
    assert marked[: half - 10].mean() > 0.95
    assert marked[half + 10 :].mean() == 0
    assert not _close(tile, BOTH_WRONG_RGB, 60).any()
    greys = {tuple(pixel) for pixel in _part(found, "truth").reshape(-1, 3)}
    assert all(any(_close(np.array(grey), one) for one in pictures.IGNORED_RGB) for grey in greys)


def test_a_single_pixel_of_a_large_image_stays_visible() -> None:
    image, mask = _scene(3000, 4000)
    export = mask.copy()
    export[1234, 2345] = 2
    clean = _part(panel(image, None, mask, mask, LABELS), "difference").astype(int)
    marked = _part(panel(image, None, mask, export, LABELS), "difference").astype(int)
    assert ((marked[..., 0] - marked[..., 2]) > 60).sum() >= 4  # yellow
    assert ((clean[..., 0] - clean[..., 2]) > 60).sum() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2000, 3)])
def test_odd_shapes(shape) -> None:
    image, mask = _scene(*shape)
    strip = _decoded(panel(image, mask, mask, mask, LABELS, max_width=900))
    assert strip.shape[1] <= 900
    assert strip.shape[0] < 400


def test_size_is_bounded_whatever_the_image() -> None:
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (700, 900, 3), np.uint8)
    masks = draw.integers(0, 3, (3, 700, 900), np.uint8)
    data = panel(noise, *masks, LABELS).data
    assert len(data) <= PICTURE_MAX_BYTES
    assert pictures.suffix(data) == ".jpg"
    image, mask = _scene(300, 400)
    assert pictures.suffix(panel(image, mask, mask, mask, LABELS).data) == ".png"
    assert pictures.suffix(b"GIF89a") is None


def test_sizes_that_differ_are_refused() -> None:
    image, mask = _scene(4, 6)
    with pytest.raises(ValueError, match=r"image and masks differ in size: \[\(4, 5\), \(4, 6\)\]"):
        panel(image, mask, mask, mask[:, :5], LABELS)


def test_equal_inputs_give_equal_bytes() -> None:
    draw = np.random.default_rng(1)
    image = draw.integers(0, 256, (90, 120, 3), np.uint8)
    mask = draw.integers(0, 3, (90, 120), np.uint8)
    assert panel(image, mask, mask, mask[::-1], LABELS) == panel(image, mask, mask, mask[::-1], LABELS)
