"""Writes the test vectors of the preprocessing contract: `python tests/golden/preprocess/make.py`.

They are made once and then pinned: a change of a vector is a change of the contract. README.md has the format.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segexport.data.images import decode_image
from segexport.preprocess import normalize, place, restore_mask, run_geometry
from segexport.spec import Preprocess

HERE = Path(__file__).resolve().parent
ONE = {"mean": (0.5,), "std": (0.25,)}
GREY_STORED = {"color": "gray", "depth": "stored", "scale": 1 / 65535, **ONE}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

# name: (image file, contract, largest allowed difference in grey levels)
CASES = {
    "photo_identity": ("photo.png", {}, 0.0),
    "photo_resize_down": ("photo.png", {"geometry": [{"op": "resize", "width": 20, "height": 14}]}, 1e-3),
    "photo_resize_up": ("photo.png", {"geometry": [{"op": "resize", "width": 37, "height": 29}], **IMAGENET}, 1e-3),
    "photo_resize_bgr": (
        "photo.png",
        {"color": "bgr", "geometry": [{"op": "resize", "width": 24, "height": 16}], **IMAGENET},
        1e-3,
    ),
    "photo_resize_half": ("photo.png", {"geometry": [{"op": "resize", "width": 14, "height": 11}]}, 1e-3),
    "photo_keep_ratio": (
        "photo.png",
        {"geometry": [{"op": "resize", "width": 24, "height": 24, "keep_ratio": True}]},
        1e-3,
    ),
    "photo_keep_ratio_divisor": (
        "photo.png",
        {"geometry": [{"op": "resize", "width": 27, "height": 27, "keep_ratio": True, "size_divisor": 8}]},
        1e-3,
    ),
    "photo_letterbox": (
        "photo.png",
        {
            "geometry": [
                {"op": "resize", "width": 24, "height": 24, "keep_ratio": True},
                {"op": "pad", "width": 24, "height": 24},
            ]
        },
        1e-3,
    ),
    "photo_pad_bgr": (
        "photo.png",
        {"color": "bgr", "geometry": [{"op": "pad", "width": 31, "height": 24, "value": (10, 20, 30.5)}]},
        0.0,
    ),
    "photo_resize_short": ("photo.png", {"geometry": [{"op": "resize_short", "size": 13}]}, 1e-3),
    "photo_resize_short_max": ("photo.png", {"geometry": [{"op": "resize_short", "size": 18, "max_size": 19}]}, 1e-3),
    "photo_resize_long": ("photo.png", {"geometry": [{"op": "resize_long", "size": 19}]}, 1e-3),
    "photo_limit_long_max": ("photo.png", {"geometry": [{"op": "limit_long", "max_size": 17}]}, 1e-3),
    "photo_limit_long_min": ("tiny.png", {"geometry": [{"op": "limit_long", "min_size": 15}]}, 1e-3),
    "photo_limit_long_keeps": ("tiny.png", {"geometry": [{"op": "limit_long", "min_size": 2, "max_size": 99}]}, 0.0),
    "photo_to_multiple": ("photo.png", {"geometry": [{"op": "resize_to_multiple", "multiple": 8}]}, 1e-3),
    "tiny_to_multiple": ("tiny.png", {"geometry": [{"op": "resize_to_multiple", "multiple": 8}]}, 1e-3),
    "tiny_half_to_even": ("tiny.png", {"geometry": [{"op": "resize_long", "size": 5}]}, 1e-3),
    "photo_pad_to_ratio": (
        "photo.png",
        {"geometry": [{"op": "pad_to_ratio", "ratio": 1.77777778}, {"op": "resize", "width": 24, "height": 14}]},
        1e-3,
    ),
    "photo_pad_to_multiple": (
        "photo.png",
        {"geometry": [{"op": "pad_to_multiple", "multiple": 8, "value": (123.675, 116.28, 103.53)}], **IMAGENET},
        0.0,
    ),
    "photo_nearest": (
        "photo.png",
        {"geometry": [{"op": "resize", "width": 17, "height": 12, "interpolation": "nearest"}]},
        0.0,
    ),
    "photo_cubic": (
        "photo.png",
        {"geometry": [{"op": "resize", "width": 17, "height": 25, "interpolation": "cubic"}]},
        1e-2,
    ),
    "photo_area": (
        "photo.png",
        {"geometry": [{"op": "resize", "width": 17, "height": 12, "interpolation": "area"}]},
        1e-2,
    ),
    "photo_lanczos4": (
        "photo.png",
        {"geometry": [{"op": "resize", "width": 17, "height": 12, "interpolation": "lanczos4"}]},
        1e-2,
    ),
    "photo_no_scale": (
        "photo.png",
        {
            "geometry": [{"op": "resize", "width": 16, "height": 12}],
            "scale": 1.0,
            "mean": (123.675, 116.28, 103.53),
            "std": (58.395, 57.12, 57.375),
        },
        1e-3,
    ),
    "one_pixel": ("one_pixel.png", {"geometry": [{"op": "resize", "width": 4, "height": 3}]}, 1e-3),
    "grey": ("grey.png", {"geometry": [{"op": "resize", "width": 12, "height": 9}]}, 1e-3),
    "grey16": ("grey16.png", {}, 0.0),
    "palette": ("palette.png", {}, 0.0),
    "alpha": ("alpha.png", {"geometry": [{"op": "resize", "width": 12, "height": 9}]}, 1e-3),
    "cmyk_jpeg": ("cmyk.jpg", {}, 0.0),
    "exif_rotated_jpeg": ("exif_rotated.jpg", {"geometry": [{"op": "resize", "width": 16, "height": 20}]}, 1e-3),
    "photo_limit_short_max": ("photo.png", {"geometry": [{"op": "limit_short", "max_size": 9}]}, 1e-3),
    "tiny_limit_short_min": ("tiny.png", {"geometry": [{"op": "limit_short", "min_size": 8, "max_size": 12}]}, 1e-3),
    "tiny_grey": ("tiny.png", {"color": "gray", **ONE}, 0.0),
    "photo_grey_letterbox": (
        "photo.png",
        {
            "color": "gray",
            "geometry": [
                {"op": "resize", "width": 16, "height": 16, "keep_ratio": True},
                {"op": "pad", "width": 16, "height": 16, "value": (30.5,)},
            ],
            **ONE,
        },
        1e-3,
    ),
    "grey16_stored": (
        "grey16.png",
        {
            "color": "gray",
            "depth": "stored",
            "geometry": [{"op": "resize_long", "size": 11}],
            "scale": 1 / 65535,
            **ONE,
        },
        0.5,
    ),
    "alpha_bgra": (
        "alpha.png",
        {
            "color": "bgra",
            "geometry": [
                {"op": "resize", "width": 9, "height": 7},
                {"op": "pad_to_multiple", "multiple": 5, "value": (1, 2, 3, 4)},
            ],
            "mean": (0.5, 0.4, 0.3, 0.2),
            "std": (0.5, 0.6, 0.7, 0.8),
        },
        1e-3,
    ),
    "bands": (
        "bands.npy",
        {
            "color": "channels",
            "depth": "stored",
            "geometry": [
                {"op": "resize_short", "size": 5},
                {"op": "pad", "width": 8, "height": 6, "value": (0, 1, 2, 3, 4, 60000)},
            ],
            "scale": 1 / 65535,
            "mean": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
            "std": (0.6, 0.5, 0.4, 0.3, 0.2, 0.1),
        },
        0.5,
    ),
    "photo_clip_bgr": (
        "photo.png",
        {
            "color": "bgr",
            "geometry": [
                {"op": "clip", "low": (10, 20, 30), "high": (200, 180.5, 255)},
                {"op": "resize", "width": 20, "height": 14},
            ],
        },
        1e-3,
    ),
    "bands_clip": (
        "bands.npy",
        {
            "color": "channels",
            "depth": "stored",
            "geometry": [
                {"op": "resize", "width": 12, "height": 9},
                {"op": "clip", "low": (5000,) * 6, "high": (30000, 31000, 32000, 33000, 34000, 40000)},
            ],
            "scale": 1 / 65535,
            "mean": (0,) * 6,
            "std": (1,) * 6,
        },
        0.5,
    ),
    "bands_cubic": (
        "bands.npy",
        {
            "color": "channels",
            "depth": "stored",
            "geometry": [{"op": "resize", "width": 9, "height": 7, "interpolation": "cubic"}],
            "scale": 1 / 65535,
            "mean": (0,) * 6,
            "std": (1,) * 6,
        },
        2.0,
    ),
}


def photo(width: int, height: int, seed: int) -> np.ndarray:
    """uint8 (height, width, 3): smooth light, hard edges, grain, and saturated spots, as in a photograph."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    light = np.stack([90 + 4 * x, 200 - 3 * y, 60 + 2 * x + 2 * y], axis=2)
    light[(x - 0.6 * width) ** 2 + (y - 0.5 * height) ** 2 < (0.25 * height) ** 2] = (230, 30, 60)
    light[y > 0.8 * height] *= 0.4
    light += np.random.default_rng(seed).normal(0, 9, light.shape)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def write_images(folder: Path) -> None:
    """Writes the image files. JPEG bytes depend on the encoder: the decoded pixels are pinned beside them."""
    picture = Image.fromarray(photo(28, 22, 1))
    picture.save(folder / "photo.png")
    Image.fromarray(photo(10, 7, 2)).save(folder / "tiny.png")
    Image.fromarray(np.full((1, 1, 3), (200, 100, 7), np.uint8)).save(folder / "one_pixel.png")
    small = Image.fromarray(photo(16, 12, 3))
    small.convert("L").save(folder / "grey.png")
    wide = np.asarray(small.convert("L")).astype(np.uint16) * 256 + 77
    Image.fromarray(wide).save(folder / "grey16.png")
    small.quantize(16).save(folder / "palette.png")
    transparent = small.convert("RGBA")
    transparent.putalpha(Image.fromarray(np.arange(16 * 12, dtype=np.uint8).reshape(12, 16)))
    transparent.save(folder / "alpha.png")
    small.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    Image.fromarray(photo(24, 16, 4)).save(folder / "exif_rotated.jpg", quality=95, exif=exif)
    bands = np.concatenate([photo(15, 11, 5), photo(15, 11, 6)], axis=2).astype(np.uint16)
    np.save(folder / "bands.npy", bands * 257 - bands % 7)


class Vectors:
    """The arrays of all cases, one behind the other; equal ones are kept once."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self._offset_of: dict[bytes, int] = {}

    def add(self, values: np.ndarray) -> dict[str, object]:
        """Appends an array, little-endian, in C order, at a multiple of 4 bytes; returns its description."""
        values = np.ascontiguousarray(values)
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        if data not in self._offset_of:
            self._offset_of[data] = len(self.blob)
            self.blob += data + bytes(-len(data) % 4)
        return {"offset": self._offset_of[data], "dtype": str(values.dtype), "shape": list(values.shape)}


def make_case(
    vectors: Vectors, name: str, image_file: str, contract: dict[str, object], tolerance: float
) -> dict[str, object]:
    """Computes the vectors of one case and returns its entry."""
    preprocess = Preprocess.model_validate(contract)
    image = decode_image(HERE / "images" / image_file, pixels=preprocess.pixels)
    placement = place(preprocess, image.shape[1], image.shape[0])
    after = run_geometry(preprocess, image, placement)
    tensor = normalize(preprocess, after)
    swapped = {"bgr": [2, 1, 0], "bgra": [2, 1, 0, 3]}.get(preprocess.color)
    ordered = after if swapped is None else after[:, :, swapped]
    picture = decode_image(HERE / "images" / image_file) if preprocess.takes_bitmaps else None
    # A mask in which every neighbour differs, so that a pixel read from the wrong place is seen.
    width, height = placement.tensor
    mask = ((np.arange(height)[:, None] * 31 + np.arange(width) * 7) % 251).astype(np.uint8)
    return {
        "name": name,
        "image": f"images/{image_file}",
        "decoded": vectors.add(image),
        "picture": None if picture is None else vectors.add(picture),
        "preprocess": preprocess.model_dump(mode="json"),
        "geometry_tolerance": tolerance,
        "geometry": vectors.add(ordered.astype(np.float32)),
        "tensor": vectors.add(tensor),
        "mask": vectors.add(mask),
        "restored": vectors.add(restore_mask(mask, placement)),
    }


def main() -> None:
    """Writes `images/`, `vectors.bin` and `cases.json`."""
    (HERE / "images").mkdir(exist_ok=True)
    write_images(HERE / "images")
    vectors = Vectors()
    cases = [make_case(vectors, name, *case) for name, case in CASES.items()]
    made_with = {"opencv": cv2.__version__, "numpy": np.__version__}
    text = json.dumps({"schema_version": 1, "made_with": made_with, "cases": cases}, separators=(",", ":"))
    (HERE / "cases.json").write_text(text.replace('{"name"', '\n{"name"') + "\n", encoding="utf-8")
    (HERE / "vectors.bin").write_bytes(vectors.blob)


if __name__ == "__main__":
    main()
