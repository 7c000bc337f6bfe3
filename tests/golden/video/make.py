"""Writes the test vectors of video smoothing: `python tests/golden/video/make.py`. README.md has the format."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np

from segexport.video.flow import BlockFlow, DisFlow
from segexport.video.smoother import VideoSmoother, alpha

HERE = Path(__file__).resolve().parent
FRAMES = 3
# name: (height, width, classes, whether the flow is random)
CASES = {
    "portrait": (32, 40, 1, False),
    "odd_sides": (25, 33, 1, False),
    "random_flow": (20, 24, 1, True),
    "three_classes": (20, 24, 3, False),
    "smallest": (16, 16, 1, False),
}


class Given:
    """Flows one after the other: forward and backward of each pair."""

    def __init__(self, forward: np.ndarray, backward: np.ndarray) -> None:
        self._flows = iter([flow for pair in zip(forward, backward, strict=True) for flow in pair])

    def __call__(self, _previous: np.ndarray, _current: np.ndarray) -> np.ndarray:
        return next(self._flows)


def frames(height: int, width: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc that moves over a still picture: grey uint8 (frames, h, w), noisy scores (frames, classes, h, w)."""
    random = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(random.integers(0, 256, (height, 2 * width)).astype(np.float32), (0, 0), 1.5)
    picture = cv2.normalize(picture, None, 0, 140, cv2.NORM_MINMAX)
    ys, xs = np.mgrid[:height, :width]
    grey, scores = [], []
    for index in range(FRAMES):
        inside = (ys - height / 2) ** 2 + (xs - width / 3 - 2 * index) ** 2 < (height / 4) ** 2
        moving = np.roll(picture, 2 * index, axis=1)[:, :width] + 90
        grey.append(np.where(inside, moving, picture[:, :width]).astype(np.uint8))
        front = np.clip(inside + random.normal(0, 0.3, inside.shape), 0, 1).astype(np.float32)
        if classes == 1:
            scores.append(front[None])
        else:
            rest = random.random((classes - 1, height, width)).astype(np.float32)
            scores.append(np.concatenate([front[None], (1 - front) * rest / rest.sum(axis=0)]))
    return np.stack(grey), np.stack(scores).astype(np.float32)


def smoothed(scores: np.ndarray, grey: np.ndarray, flow) -> np.ndarray:
    """As `scores`."""
    smoother = VideoSmoother(flow)
    one = scores.shape[1] == 1
    found = [smoother.next(s[0] if one else s.transpose(1, 2, 0), g) for s, g in zip(scores, grey, strict=True)]
    return np.stack([f[None] if one else f.transpose(2, 0, 1) for f in found])


def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of a case."""
    height, width, classes, is_random = CASES[name]
    seed = list(CASES).index(name)
    grey, scores = frames(height, width, classes, seed)
    pairs = list(itertools.pairwise(grey))
    if is_random:
        random = np.random.default_rng(seed)
        forward, backward = random.normal(0, 2, (2, FRAMES - 1, height, width, 2)).astype(np.float32)
        forward[random.random(forward.shape[:3]) < 0.3] = 0
        backward[random.random(forward.shape[:3]) < 0.5] = 0
        backward[0, 3:6, 4:9] = (np.inf, -1e9)
    else:
        dis = DisFlow()
        forward = np.stack([dis(a, b) for a, b in pairs])
        backward = np.stack([dis(b, a) for a, b in pairs])
    smooth = smoothed(scores, grey, Given(forward, backward))
    return {
        "grey": grey,
        "scores": scores,
        "forward": forward,
        "backward": backward,
        "smooth": smooth,
        "blocks": np.stack([BlockFlow()(a, b) for a, b in pairs]),
        "blocks_smooth": smoothed(scores, grey, BlockFlow()),
        "alpha": alpha(smooth[-1, -1]),
    }


def main() -> None:
    """Writes `vectors.bin` and `cases.json`."""
    blob, cases = bytearray(), []
    for name in CASES:
        case: dict[str, object] = {"name": name}
        for key, values in arrays(name).items():
            case[key] = {"offset": len(blob), "dtype": str(values.dtype), "shape": list(values.shape)}
            data = values.astype(values.dtype.newbyteorder("<")).tobytes()
            blob += data + bytes(-len(data) % 4)
        cases.append(case)
    made_with = {"opencv": cv2.__version__, "numpy": np.__version__}
    text = json.dumps({"schema_version": 1, "made_with": made_with, "cases": cases}, separators=(",", ":"))
    (HERE / "cases.json").write_text(text.replace('{"name"', '\n{"name"') + "\n", encoding="utf-8")
    (HERE / "vectors.bin").write_bytes(blob)


if __name__ == "__main__":
    main()
