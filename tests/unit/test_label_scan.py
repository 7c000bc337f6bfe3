"""Labels that can hardly be meant so: every command that counts them says it, and training on nothing is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segexport.data.dataset import Dataset
from segexport.data.label_scan import LabelPixels, count_pixels, look, require_trainable
from segexport.errors import InputError


def dataset(root: Path, *labels: np.ndarray, names: str = "c0\nc1\n") -> Dataset:
    (root / "labels.txt").write_text(names)
    lines = []
    for index, label in enumerate(labels):
        Image.fromarray(np.zeros((*label.shape, 3), np.uint8)).save(root / f"{index}.png")
        Image.fromarray(label.astype(np.uint8)).save(root / f"{index}_label.png")
        lines.append(f"{index}.png {index}_label.png\n")
    (root / "val.txt").write_text("".join(lines))
    return Dataset.open(root)


ZERO_AND_255 = np.array([[0, 255], [255, 0]])
SOUND = np.array([[0, 1], [255, 0]])


def test_pixels_are_counted_by_class(tmp_path):
    found = count_pixels(dataset(tmp_path, SOUND, ZERO_AND_255), 2)
    assert (found.classes.tolist(), found.ignored) == ([4, 1], 3)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((SOUND, ZERO_AND_255), ""),
        ((ZERO_AND_255,) * 3, "val: labels are 0 and 255 only; if 255 is meant as a class, it has to be 1"),
        ((np.full((2, 2), 255),), "val: all pixels are 255, which is ignored"),
        ((np.ones((2, 2)),), "val: every pixel that counts is class 1"),
    ],
)
def test_what_is_odd(tmp_path, labels, said):
    assert look(dataset(tmp_path, *labels), 2) == said


def test_the_index_that_is_ignored_may_be_a_class(tmp_path):
    found = LabelPixels(np.array([0, 5]), 3)
    assert found.suspicion("val", 0) == "val: every pixel that counts is class 1"


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ((np.full((2, 2), 255),), "every pixel of val's 1 labels is ignored"),
        ((ZERO_AND_255,) * 2, "every pixel of val's 2 labels that counts is 'c0'"),
    ],
)
def test_training_on_nothing_is_refused(tmp_path, labels, what):
    data = dataset(tmp_path, *labels)
    with pytest.raises(InputError, match=what):
        require_trainable(data, count_pixels(data, 2), ["c0", "c1"])
