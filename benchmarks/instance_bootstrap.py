"""Times the paired bootstrap of average precision, by images and objects:

python benchmarks/instance_bootstrap.py [IMAGES:OBJECTS:CLASSES ...]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from segexport.task.instance.ap_delta import paired_ap_delta
from segexport.task.instance.average_precision import ClassMatches

CASES = ("50:10:5", "500:20:20", "5000:20:80")


def matches(images: int, objects: int, classes: int, seed: int) -> list[ClassMatches]:
    """Random matches, spread over the classes; about half of the objects are right at an IoU of 0.5."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(classes):
        count = max(images * objects // classes, 1)
        scores = random.random(count)
        ease = random.random(count) * (0.5 + scores)
        right = ease[None] > np.linspace(0.4, 1.2, 10)[:, None]
        positives = random.multinomial(count // 2, np.full(images, 1 / images))
        owner = random.integers(0, images, count)
        found.append(ClassMatches.of(owner, scores, right, np.zeros_like(right), positives))
    return found


def main() -> None:
    """Prints one line per case."""
    for case in sys.argv[1:] or CASES:
        images, objects, classes = map(int, case.split(":"))
        one = matches(images, objects, classes, 0)
        kept = np.random.default_rng(1)
        two = [
            ClassMatches(
                found.images, found.right & (kept.random(found.right.shape) > 0.02), found.wrong, found.positives
            )
            for found in one
        ]
        start = time.process_time()
        delta = paired_ap_delta(one, two)
        seconds = time.process_time() - start
        low, high = delta.interval
        print(
            f"{images} images, {objects} objects each, {classes} classes: {delta.resamples} resamples, {seconds:.1f} s "
            f"of processor time; AP {delta.miou_reference:.4f}, delta {delta.delta:+.4f} ({low:+.4f} to {high:+.4f})"
        )


if __name__ == "__main__":
    main()
