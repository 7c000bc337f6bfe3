from __future__ import annotations

import itertools

import numpy as np
import pytest

from segexport.compress import albumentation
from segexport.compress.batches import Augmentation, Batches
from segexport.errors import InputError
from segexport.spec import Preprocess

A = pytest.importorskip("albumentations")


def saved(*transforms) -> dict:
    return A.to_dict(A.Compose(list(transforms)))


@pytest.fixture(scope="module")
def turned() -> dict:
    return saved(A.Rotate(limit=(20, 40), p=1, fill_mask=255), A.HueSaturationValue(p=1))


def test_batches_depend_on_seed_and_step_alone(data, turned):
    source = Batches(data, Preprocess(), 2, 5, Augmentation(flip=0, zoom=1, pipeline=turned))
    plain = Batches(data, Preprocess(), 2, 5, Augmentation(flip=0, zoom=1))
    ahead = list(itertools.islice(source.following(3), 4))  # in threads
    for step, batch in enumerate(ahead, start=3):
        again = source.at(step)
        np.testing.assert_array_equal(batch.images, again.images)
        np.testing.assert_array_equal(batch.labels, again.labels)
        assert not np.array_equal(batch.images, plain.at(step).images)
        assert (batch.labels == 255).any()  # the corners that the rotation left empty do not count


def test_the_label_moves_with_its_image(turned):
    label = np.zeros((40, 60), np.uint8)
    label[5:25, 30:50] = 1
    image = np.repeat(label[..., None] * 200, 3, axis=2).astype(np.uint8)
    only = saved(A.Rotate(limit=(20, 40), p=1, fill_mask=255))
    seen, told = albumentation.apply(only, image, label, 3)
    assert not np.array_equal(told, label)
    assert ((seen[..., 0] > 100) == (told == 1))[told != 255].mean() > 0.97
    alone, nothing = albumentation.apply(only, image, None, 3)
    assert nothing is None
    np.testing.assert_array_equal(alone, seen)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ({"transform": {"__class_fullname__": "Nothing"}}, "the augmentation is not a pipeline of albumentations"),
        ({"transform": {"__class_fullname__": "os.system"}}, "the augmentation is not a pipeline of albumentations"),
        ({}, "the augmentation is not a pipeline of albumentations"),
        (saved(A.ToFloat()), "the augmentation gives float32"),
        (saved(A.RandomCrop(500, 500)), "the augmentation fails"),
    ],
)
def test_what_is_no_augmentation_is_told_before_the_training(pipeline, message):
    with pytest.raises(InputError, match=message):
        albumentation.require(pipeline)
