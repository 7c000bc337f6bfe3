"""Generates the table of `ui.palette` and measures the distances of its colours, for four kinds of colour vision.

The distance of two colours is the Euclidean one in OKLab (Ottosson 2020). Dichromacies are simulated by the matrices
of Machado, Oliveira and Fernandes ("A physiologically-based model for simulation of color vision deficiency", 2009) at
full severity. VOC is the palette of the PASCAL VOC development kit, which PaddleSeg uses too.

    python benchmarks/palette.py
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from stamped import RESULTS, save

from segexport.ui.palette import PALETTE

RESULT = RESULTS / "palette.json"
CLASSES = (2, 8, 11, 19, 21, 32, 64, 150)

OKABE_ITO = ("000000", "e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")
NOT_A_CLASS = ("ffffff", "606060", "969696")  # the colours of pixels without a class
LIGHTNESS = (0.42, 0.93)  # range for further colours, in OKLab
STEP = 17  # step of the candidates, per channel

MACHADO = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def seen(colors: np.ndarray) -> np.ndarray:
    """(visions, n, 3) OKLab of (n, 3) sRGB colours in 0..255, as each kind of vision sees them."""
    share = np.asarray(colors, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    views = [np.clip(linear @ matrix.T, 0, 1) for matrix in MACHADO.values()]
    return np.stack([np.cbrt(view @ _LMS.T) @ _LAB.T for view in views])


def least_distances(colors: np.ndarray) -> dict[str, float]:
    """Kind of vision -> smallest distance of two colours."""
    pairs = np.array(list(combinations(range(len(colors)), 2)))
    views = seen(colors)
    distances = np.linalg.norm(views[:, pairs[:, 0]] - views[:, pairs[:, 1]], axis=-1).min(axis=1)
    return {name: round(float(value), 4) for name, value in zip(MACHADO, distances, strict=True)}


def made(count: int) -> list[tuple[int, int, int]]:
    """Okabe and Ito's colours, then always the candidate with the largest distance from all before it."""
    levels = np.arange(0, 256, STEP)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = seen(candidates)[0, :, 0]
    candidates = candidates[(lightness > LIGHTNESS[0]) & (lightness < LIGHTNESS[1])]
    views, least = seen(candidates), np.full(len(candidates), np.inf)

    def keep_away_from(color: tuple[int, int, int]) -> None:
        own = seen(np.array([color]))
        np.minimum(least, np.linalg.norm(views - own, axis=-1).min(axis=0), out=least)

    chosen = [_rgb(color) for color in OKABE_ITO]
    for color in (*chosen, *map(_rgb, NOT_A_CLASS)):
        keep_away_from(color)
    while len(chosen) < count:
        red, green, blue = map(int, candidates[int(np.argmax(least))])
        chosen.append((red, green, blue))
        keep_away_from(chosen[-1])
    return chosen


def voc(count: int) -> np.ndarray:
    """PASCAL VOC's palette: the bits of the class index, spread over the three channels."""
    index, colors = np.arange(count), np.zeros((count, 3), int)
    for bit in range(7, -1, -1):
        for channel in range(3):
            colors[:, channel] |= (index >> channel & 1) << bit
        index = index >> 3
    return colors


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    parser.add_argument("--print", action="store_true", help="Print the table of `ui.palette` instead.")
    asked = parser.parse_args()
    if asked.print:
        colors = ["".join(f"{channel:02x}" for channel in color) for color in made(256)]
        print("\n".join(" ".join(colors[start : start + 16]) for start in range(0, 256, 16)))
        return
    rows = [
        {
            "classes": count,
            "palette": least_distances(np.array(PALETTE[:count])),
            "voc": least_distances(voc(count)),
        }
        for count in CLASSES
    ]
    save(asked.output, rows)


if __name__ == "__main__":
    main()
