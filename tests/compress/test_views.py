"""Few views of each image, so that a teacher has to look at each only once."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from segexport.compress.batches import Augmentation, Batches
from segexport.compress.live_program import LiveProgram
from segexport.compress.objective import Objective
from segexport.compress.training_options import Losses, TrainingOptions
from segexport.spec import Preprocess


def test_a_teacher_looks_once_at_views_that_come_again(segmenter, data):
    """Two views an image: epochs 0 and 2 hold the same pixels in another order, and the teacher's answers are kept."""
    batches = Batches(data, Preprocess(), size=len(data), seed=4, augmentation=Augmentation(views=2))
    first, second, third = (batches.at(step) for step in range(3))
    assert sorted(first.views) == sorted(third.views)
    assert set(first.views).isdisjoint(second.views)
    for view, image in zip(third.views, third.images, strict=True):
        np.testing.assert_array_equal(image, first.images[first.views.index(view)])
    options = TrainingOptions(steps=1, losses=Losses(cross_entropy=0, kl=1), losses_before_enlarging=True)
    objective = Objective(segmenter, segmenter, options)
    student = LiveProgram(segmenter)
    student.train()
    objective.losses(student, first)
    objective._teacher = _Refuses()  # it must not be asked again
    paddle.seed(1)  # dropout
    kept = float(objective.losses(student, third)["kl"])
    paddle.seed(1)
    fresh = float(Objective(segmenter, segmenter, options).losses(student, third)["kl"])
    assert kept == fresh > 0
    with pytest.raises(AssertionError, match="asked"):
        objective.losses(student, second)


class _Refuses:
    def read(self, *_):
        raise AssertionError("asked")
