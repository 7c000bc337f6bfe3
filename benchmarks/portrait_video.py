"""Measures flicker and accuracy of a portrait video's masks, with and without smoothing, and the time per frame.

`python benchmarks/portrait_video.py MODEL`, a model that finds people, of two classes. The videos are made of public
pictures that packages carry: the portrait of matplotlib's sample data, cut out once by GrabCut, moves over the
photographs of scikit-learn. What is pasted is the truth, so mask and motion of every pixel are exact. Noise and a
brightness that wavers are added, as of a camera in dim light.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from sklearn.datasets import load_sample_image
from stamped import RESULTS, save

import segexport
from segexport.measure.metrics import confusion_matrix, scores
from segexport.measure.temporal import Steadiness
from segexport.video.background import background_named

SIZE = (480, 270)  # width, height
FRAMES = 60
NOISE, WAVER = 6.0, 5.0  # grey levels, standard deviation
VARIANTS = {"each frame for itself": None, "dis": "dis", "blocks": "blocks"}


@dataclass(frozen=True)
class Scene:
    """A background and how camera and person move: (x, y) in pixels and scale at frame t."""

    background: str
    camera: tuple[float, float, float]  # pixels per frame right, shake in pixels, growth per frame
    person: tuple[float, float, float]


SCENES = {
    "still camera": Scene("china.jpg", (0, 0, 0), (0.3, 3, 0)),
    "hand-held": Scene("china.jpg", (0.5, 2, 0.0005), (0.5, 4, 0.001)),
    "walk": Scene("flower.jpg", (-2, 1.5, 0), (1, 3, 0.002)),
}


def portrait() -> tuple[np.ndarray, np.ndarray]:
    """The portrait, uint8 (h, w, 3) BGR, and its person, (h, w) uint8 of 0 and 1."""
    file = Path(matplotlib.__file__).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    image = cv2.imread(str(file))
    assert image is not None, "matplotlib carries it"
    mask = np.full(image.shape[:2], cv2.GC_PR_BGD, np.uint8)
    height, width = mask.shape
    ys, xs = np.mgrid[:height, :width]
    head = ((xs - 0.52 * width) / (0.21 * width)) ** 2 + ((ys - 0.33 * height) / (0.27 * height)) ** 2 < 1
    chest = (ys > 0.72 * height) & (np.abs(xs - 0.5 * width) < 0.36 * width)
    mask[head | (ys > 0.6 * height)] = cv2.GC_PR_FGD
    mask[chest] = cv2.GC_FGD
    mask[(ys < 0.04 * height) | ((ys < 0.5 * height) & (np.abs(xs - 0.52 * width) > 0.3 * width))] = cv2.GC_BGD
    mask[(ys < 0.64 * height) & (xs < 0.31 * width)] = cv2.GC_BGD  # a flag
    mask[xs < np.where(ys < 0.9 * height, 0.13, 0.07) * width] = cv2.GC_BGD
    cv2.grabCut(image, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    person = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    return image, cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))


def place(motion: tuple[float, float, float], t: int, scale: float, at: tuple[float, float]) -> np.ndarray:
    """(3, 3): from the picture to the frame."""
    drift, shake, growth = motion
    x = at[0] + drift * t + shake * np.sin(t / 4)
    y = at[1] + 0.6 * shake * np.cos(t / 3)
    size = scale * (1 + growth * t)
    return np.array([[size, 0, x], [0, size, y], [0, 0, 1]])


def moved(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(h, w, 2): where each pixel of this frame was in the last one, relative to it."""
    columns, rows = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    back = before @ np.linalg.inv(now)
    return np.stack(
        [
            back[0, 0] * columns + back[0, 1] * rows + back[0, 2] - columns,
            back[1, 0] * columns + back[1, 1] * rows + back[1, 2] - rows,
        ],
        axis=2,
    )


def video(scene: Scene) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Frames in BGR, truth, motion back to the last frame, and which pixels were seen there."""
    random = np.random.default_rng(0)
    image, person = portrait()
    behind = np.ascontiguousarray(load_sample_image(scene.background)[..., ::-1])
    last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for t in range(FRAMES):
        camera = place(scene.camera, t, 1.0, (-60, -80))
        walker = place(scene.person, t, 0.42, (110, 20))
        frame = cv2.warpAffine(behind, camera[:2], SIZE, borderMode=cv2.BORDER_REFLECT)
        front = cv2.warpAffine(image, walker[:2], SIZE, borderMode=cv2.BORDER_REPLICATE)
        truth = cv2.warpAffine(person, walker[:2], SIZE, flags=cv2.INTER_NEAREST)
        frame = np.where(truth[..., None] > 0, front, frame).astype(np.float32)
        frame += random.normal(0, WAVER) + random.normal(0, NOISE, frame.shape)
        motion, seen = np.zeros((*truth.shape, 2)), np.zeros(truth.shape, bool)
        if last is not None:
            before, old_camera, old_walker = last
            motion = np.where(truth[..., None] > 0, moved(walker, old_walker), moved(camera, old_camera))
            rows, columns = np.indices(truth.shape)
            y = np.clip(np.rint(rows + motion[..., 1]).astype(int), 0, SIZE[1] - 1)
            x = np.clip(np.rint(columns + motion[..., 0]).astype(int), 0, SIZE[0] - 1)
            seen = before[y, x] == truth
        last = truth, camera, walker
        yield np.clip(np.rint(frame), 0, 255).astype(np.uint8), truth, motion, seen


def measure(model, scene: Scene, flow: str | None) -> dict[str, float | None]:
    """Metrics over all frames of a scene but the first five, in which smoothing begins.

    Times are medians of the processor time of this process, which other work on the machine hardly lengthens; the
    network runs in another one.
    """
    stream = model.stream(smooth=flow is not None, flow=flow or "dis")
    steadiness, matrix = Steadiness(2), np.zeros((2, 2), np.int64)
    previous: np.ndarray | None = None
    blur, times = background_named("blur"), {"preprocess_ms": [], "smoothing_ms": [], "blur_ms": []}
    for index, (frame, truth, motion, seen) in enumerate(video(scene)):
        ticks = [time.process_time()]
        looked = stream.look(frame)
        ticks.append(time.process_time())
        found = stream.smoothed(looked)
        ticks.append(time.process_time())
        blur(frame, found.alpha)
        ticks.append(time.process_time())
        for name, taken in zip(times, np.diff(ticks), strict=True):
            times[name].append(taken * 1e3)
        mask = (found.mask > 0).astype(np.uint8)
        if previous is not None and index >= 5:
            matrix += confusion_matrix(truth, mask, 2, None)
            steadiness.add(previous, mask, motion, seen)
        previous = mask
    return {
        "miou": scores(matrix).miou,
        "flicker": steadiness.flicker,
        "warped_miou": steadiness.warped_miou,
        **{name: float(np.median(values)) for name, values in times.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, default=RESULTS / "portrait_video.json")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    with segexport.load(arguments.model) as model:
        for name, scene in SCENES.items():
            for variant, flow in VARIANTS.items():
                row = {"scene": name, "smoothing": variant, **measure(model, scene, flow)}
                rows.append(row)
                print(row, flush=True)
    save(arguments.output, {"model": arguments.model.name, "frames": FRAMES, "size": SIZE, "rows": rows})


if __name__ == "__main__":
    main()
