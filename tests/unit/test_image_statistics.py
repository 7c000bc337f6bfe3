"""Images of another kind than those of the calibration."""

from __future__ import annotations

import numpy as np
import pytest

from segexport.measure.image_statistics import LIMIT, furthest, statistics_of
from segexport.spec import ImageStatistics


def images(count, seed, *, brightness=0.0, contrast=1.0, swapped=False):
    """Noise in three channels of other means; (1, 3, 16, 16)."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        base = np.array([0.3, 0.0, -0.3])[:, None, None] + random.normal(0, 0.1)
        image = (base + contrast * random.normal(0, 0.4, (3, 16, 16)) + brightness).astype(np.float32)[None]
        yield image[:, ::-1] if swapped else image


def distance(**changes):
    found = furthest(statistics_of(images(24, 1)), statistics_of(images(24, 2, **changes)))
    assert found is not None
    return found


def test_images_of_one_kind_are_close():
    assert distance()[1] < 1


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"brightness": 1.0}, "the brightness of channel 0"),
        ({"contrast": 0.3}, "the fine detail"),
        ({"swapped": True}, "the difference between the first and the last channel"),
    ],
)
def test_another_kind_is_far(changes, name):
    found, far = distance(**changes)
    assert far > LIMIT
    if "brightness" in changes:
        assert found.startswith("the brightness of channel")
    elif "swapped" in changes:
        assert found == name
    else:
        assert found.startswith(("the fine detail", "the contrast"))


def test_few_images_and_other_channels_say_nothing():
    enough = statistics_of(images(4, 1))
    assert furthest(statistics_of(images(3, 1)), enough) is None
    assert furthest(statistics_of(image[:, :1] for image in images(4, 1)), enough) is None


def test_equal_images_do_not_make_every_other_one_foreign():
    same = statistics_of(np.repeat(next(images(1, 1)), 1, axis=0) for _ in range(8))
    found = furthest(same, statistics_of(image for image in images(8, 1)))
    assert found is not None
    assert found[1] < LIMIT


def test_the_statistics_of_a_known_image():
    found = statistics_of([np.array([[[[0.0, 2.0]], [[1.0, 1.0]]]], np.float32)])
    assert found == ImageStatistics(images=1, mean=(1.0, 1.0, 1.0, 0.0, 1.0, 0.0), sd=(0.0,) * 6)


def test_one_standard_deviation_for_each_mean():
    with pytest.raises(ValueError, match="5 means and 4 standard deviations"):
        ImageStatistics(images=1, mean=(0.0,) * 5, sd=(0.0,) * 4)
