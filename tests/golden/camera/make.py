"""Writes the test vectors of camera frames: `python tests/golden/camera/make.py`. README.md has the format."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np

from segexport import preprocess
from segexport.spec import Preprocess

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 22, 16
PADDING = 10  # bytes at the end of a row of the layout `padded`
CONTRACT = {
    "color": "bgr",
    "geometry": [
        {"op": "resize", "width": 14, "height": 12, "keep_ratio": True},
        {"op": "pad", "width": 14, "height": 12},
    ],
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
LAYOUTS = ("i420", "nv12", "nv21", "padded")
WHOLE, ODD = (0, 0, WIDTH, HEIGHT), (3, 1, 15, 12)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y (h, w), U and V (h / 2, w / 2), uint8: a picture with edges, and every extreme value."""
    random = np.random.default_rng(seed)
    planes = []
    for height, width in ((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2), (HEIGHT // 2, WIDTH // 2)):
        smooth = cv2.resize(random.integers(0, 256, (4, 5), np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
        smooth[random.random(smooth.shape) < 0.1] = 0
        smooth[random.random(smooth.shape) < 0.1] = 255
        planes.append(smooth)
    return planes[0], planes[1], planes[2]


def to_rgb(luma: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Full-range BT.601 (JFIF): uint8 (h, w, 3). U and V have the size of Y."""
    y, u, v = luma.astype(np.float64), u.astype(np.float64) - 128, v.astype(np.float64) - 128
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=2)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def upright(rgb: np.ndarray, crop: tuple[int, ...], rotation: int, mirrored: bool) -> np.ndarray:
    """Crops, turns clockwise, mirrors."""
    left, top, width, height = crop
    turned = np.rot90(rgb[top : top + height, left : left + width], -rotation // 90)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def stored(plane: np.ndarray, padding: int) -> np.ndarray:
    """The bytes of a plane whose rows end with `padding` bytes; the last row has none."""
    rows = np.pad(plane, ((0, 0), (0, padding)), constant_values=77)
    return rows.ravel()[: rows.size - padding]


def laid_out(layout: str, luma: np.ndarray, u: np.ndarray, v: np.ndarray) -> dict[str, tuple[np.ndarray, int, int]]:
    """Name -> (bytes, row stride, pixel stride)."""
    width = u.shape[1]
    if layout in ("nv12", "nv21"):
        first, second = (u, v) if layout == "nv12" else (v, u)
        both = np.stack([first, second], axis=2).ravel()
        # Android gives two views of one memory; the first lacks its last byte, the second its first one.
        views = {"u": both[:-1], "v": both[1:]} if layout == "nv12" else {"u": both[1:], "v": both[:-1]}
        return {"luma": (luma.ravel(), WIDTH, 1), **{name: (view, 2 * width, 2) for name, view in views.items()}}
    padding = PADDING if layout == "padded" else 0
    chroma = {"u": (stored(u, padding), width + padding, 1), "v": (stored(v, padding), width + padding, 1)}
    return {"luma": (stored(luma, padding), WIDTH + padding, 1), **chroma}


def main() -> None:
    """Writes `vectors.bin` and `cases.json`."""
    blob, cases = bytearray(), []

    def add(values: np.ndarray) -> dict[str, object]:
        entry = {"offset": len(blob), "dtype": str(values.dtype), "shape": list(values.shape)}
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        blob.extend(data + bytes(-len(data) % 4))
        return entry

    contract = Preprocess(**CONTRACT)
    for index, (layout, rotation, mirrored) in enumerate(itertools.product(LAYOUTS, (0, 90, 180, 270), (False, True))):
        luma, u, v = scene(index)
        crop = ODD if index % 3 == 0 else WHOLE
        full = to_rgb(luma, *(plane.repeat(2, axis=0).repeat(2, axis=1) for plane in (u, v)))
        rgb = upright(full, crop, rotation, mirrored)
        tensor, _ = preprocess.apply(contract, rgb)
        case = {"name": f"{layout}_{rotation}{'_mirrored' if mirrored else ''}", "layout": layout}
        for name, (values, row_stride, pixel_stride) in laid_out(layout, luma, u, v).items():
            case[name] = {**add(values), "row_stride": row_stride, "pixel_stride": pixel_stride}
        case |= {"crop": list(crop), "rotation": rotation, "mirrored": mirrored, "rgb": add(rgb)}
        cases.append(case | {"preprocess": contract.model_dump(mode="json"), "tensor": add(tensor)})
    made_with = {"opencv": cv2.__version__, "numpy": np.__version__}
    text = json.dumps({"schema_version": 1, "made_with": made_with, "cases": cases}, separators=(",", ":"))
    (HERE / "cases.json").write_text(text.replace('{"name"', '\n{"name"') + "\n", encoding="utf-8")
    (HERE / "vectors.bin").write_bytes(blob)


if __name__ == "__main__":
    main()
