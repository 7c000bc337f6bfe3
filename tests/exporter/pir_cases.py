"""The nets of `pir_models.py` as committed: packed into one archive, and of each output only a sample.

    python tests/exporter/pir_cases.py tests/golden/pir/cases.zip FOLDER ...

`pir_models.py` wrote FOLDER; a name `NAME@VERSION` means another version of Paddle.
"""

from __future__ import annotations

import io
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLES = 8  # elements of an output that are kept, evenly spaced
FILES = ("model.json", "model.pdiparams")
_NO_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Case:
    """A net as Paddle 3 saved it, its inputs, and of its outputs the sizes, the types and some elements."""

    name: str
    model: bytes
    params: bytes
    feed: list[np.ndarray]
    shapes: list[tuple[int, ...]]
    dtypes: list[str]
    samples: list[np.ndarray]

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes the two files and returns their paths."""
        for name, data in zip(FILES, (self.model, self.params), strict=True):
            if data:
                (folder / name).write_bytes(data)
        return folder / FILES[0], folder / FILES[1]


def sample(value: np.ndarray) -> np.ndarray:
    """Some elements of an output, as float64."""
    flat = np.asarray(value, np.float64).ravel()
    return flat[np.linspace(0, max(len(flat) - 1, 0), min(SAMPLES, len(flat))).astype(int)]


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest value; equal infinities and NaNs do not differ."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if a.size == 0:
        return 0.0
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    scale = np.abs(b[np.isfinite(b)]).max(initial=1e-30)
    return float(np.where(same, 0, np.abs(np.where(same, 0, a) - np.where(same, 0, b))).max() / scale)


def pack(archive: Path, folders: list[Path]) -> None:
    """Writes the archive; equal nets give equal bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as out:
        for folder in folders:
            for name in FILES:  # Paddle writes no file of parameters where there are none
                _add(out, f"{folder.name}/{name}", (folder / name).read_bytes() if (folder / name).exists() else b"")
            _add(out, f"{folder.name}/expected.npz", _expected(folder / "expected.npz"))


def _expected(file: Path) -> bytes:
    with np.load(file) as arrays:
        feed = [arrays[f"feed{index}"] for index in range(sum(name.startswith("feed") for name in arrays.files))]
        outputs = [arrays[f"output{index}"] for index in range(len(arrays.files) - len(feed))]
    shapes = [",".join(map(str, value.shape)) for value in outputs]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        **{f"feed{index}": value for index, value in enumerate(feed)},
        shapes=np.array(shapes),
        dtypes=np.array([str(value.dtype) for value in outputs]),
        samples=np.concatenate([sample(value) for value in outputs]).astype(np.float32),
    )
    return buffer.getvalue()


def _add(out: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _NO_DATE)
    entry.compress_type = zipfile.ZIP_LZMA
    out.writestr(entry, data)


def read(archive: Path) -> dict[str, Case]:
    """The cases of an archive by name."""
    with zipfile.ZipFile(archive) as packed:
        names = sorted({name.partition("/")[0] for name in packed.namelist()})
        return {name: _case(packed, name) for name in names}


def _case(packed: zipfile.ZipFile, name: str) -> Case:
    model, params = (packed.read(f"{name}/{file}") for file in FILES)
    with np.load(io.BytesIO(packed.read(f"{name}/expected.npz"))) as arrays:
        shapes = [tuple(int(size) for size in text.split(",") if size) for text in arrays["shapes"]]
        counts = [min(SAMPLES, int(np.prod(shape))) for shape in shapes]
        samples = np.split(arrays["samples"].astype(np.float64), np.cumsum(counts)[:-1])
        feed = [arrays[f"feed{index}"] for index in range(sum(key.startswith("feed") for key in arrays.files))]
        return Case(name, model, params, feed, shapes, list(map(str, arrays["dtypes"])), samples)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
