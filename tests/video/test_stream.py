"""`Model.stream`: a model's masks, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

import segexport
from segexport import preprocess
from segexport.errors import InputError
from segexport.spec import PadToMultiple, Preprocess, Resize

from .conftest import disc, frames


@pytest.mark.parametrize(
    ("semantics", "classes", "color"),
    [("logits", 2, "rgb"), ("logits", 3, "bgr"), ("class_index", 2, "rgb"), ("class_index", 3, "rgb")],
)
def test_masks_follow_the_truth(red_model, semantics, classes, color):
    with segexport.load(red_model(semantics, classes, color)) as model:
        stream = model.stream()
        for index, frame in enumerate(frames(4)):
            found = stream.next(frame)
            truth = disc(index)
            assert found.mask.shape == truth.shape
            assert (found.mask == truth).mean() > 0.985
            assert np.abs(found.alpha - truth).mean() < 0.02
            assert (found.image == frame[..., ::-1]).all()


def test_without_smoothing_masks_are_those_of_predict(red_model):
    with segexport.load(red_model()) as model:
        stream = model.stream(smooth=False)
        for frame in frames(3):
            (expected,) = model.predict(frame)
            np.testing.assert_array_equal(stream.next(frame).mask, expected.label_map)


def test_a_flash_is_smoothed_and_a_reset_forgets(red_model):
    """One frame without its disc: the smoothed score falls to less than half of what the network's fell by."""
    picture = frames(1)[0]
    dark = np.where(disc(0)[..., None], picture // 2, picture)
    with segexport.load(red_model()) as model:
        stream = model.stream()
        for _ in range(4):
            before = stream.next(picture).scores[..., 1]
        alone = model.stream().next(dark).scores[..., 1]
        smoothed = stream.next(dark).scores[..., 1]
        inside = before > 0.9
        assert (before - smoothed)[inside].mean() < (before - alone)[inside].mean() * 0.5
        stream.reset()
        np.testing.assert_allclose(stream.next(dark).scores[..., 1], alone, atol=1e-6)


def test_foreground_is_chosen_by_name(red_model):
    with segexport.load(red_model("logits", 3)) as model:
        frame = frames(1)[0]
        one = model.stream(foreground=["back"]).next(frame).alpha
        other = model.stream(foreground=[1, "none"]).next(frame).alpha
        np.testing.assert_allclose(one + other, 1, atol=0.02)
        with pytest.raises(InputError, match="no class 'person'") as caught:
            model.stream(foreground=["person"])
        assert "back, front, none" in caught.value.cause


def test_a_frame_has_to_be_a_picture(red_model):
    with segexport.load(red_model()) as model, pytest.raises(InputError, match=r"an array of float64 \[4, 4, 3\]"):
        model.stream().next(np.zeros((4, 4, 3)))


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_grey_of_a_tensor_is_that_of_the_image(color):
    """What flow is computed on: the grey of the contract, wherever normalization and paddings put it."""
    image = np.random.default_rng(0).integers(0, 256, (10, 14, 3)).astype(np.uint8)
    red, green, blue = np.moveaxis(image.astype(np.int64), 2, 0)
    grey = (9798 * red + 19235 * green + 3735 * blue + 16384) >> 15
    if color == "gray":
        contract = Preprocess(color=color, geometry=(PadToMultiple(multiple=16, value=(10,)),), mean=(0.3,), std=(0.2,))
        image = grey[..., None].astype(np.uint8)
    else:
        contract = Preprocess(
            color=color, geometry=(Resize(width=14, height=10), PadToMultiple(multiple=16, value=(10,) * 3)),
            mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
        )  # fmt: skip
    found = preprocess.grey_of(contract, preprocess.apply(contract, image)[0])
    assert found.shape == (16, 16)
    assert np.abs(found[:10, :14].astype(int) - grey).max() <= 1
    assert (found[10:] == 10).all()
