from __future__ import annotations

import numpy as np
import paddle
import programs
import pytest
from paddle import nn

from segexport.compress.logits import logits_of
from segexport.compress.new_classes import with_classes
from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Program


def run(program: Program, folder, image: np.ndarray) -> np.ndarray:
    (found,) = programs.infer(program, folder, {program.feed_names[0]: image})
    return found


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (1, 3, 32, 32)).astype(np.float32)


def test_known_classes_keep_their_scores_and_new_ones_get_the_mean(segmenter, image, tmp_path):
    changed = with_classes(segmenter, [2, None, 0, None])
    before, after = run(segmenter, tmp_path, image), run(changed, tmp_path, image)
    assert after.shape == (1, 4, 32, 32)
    np.testing.assert_allclose(after[:, [0, 2]], before[:, [2, 0]], atol=1e-6)
    np.testing.assert_allclose(after[:, 1], before.mean(1), atol=1e-5)
    np.testing.assert_array_equal(after[:, 1], after[:, 3])
    assert segmenter.shape(logits_of(segmenter)[0])[1] == 3  # the original is as it was


def test_where_no_class_is_known_the_bias_tells_what_is_frequent(segmenter, image, tmp_path):
    shares = np.array([0.7, 0.2, 0.1, 0.0, 0.0])
    after = run(with_classes(segmenter, [None] * 5, shares), tmp_path, image)
    likely = np.exp(after - after.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    np.testing.assert_allclose(likely[0, :3, 0, 0], [0.7, 0.2, 0.1], atol=1e-3)
    assert (likely[:, 3:] < 1e-3).all()
    assert (likely[:, 3:] > 1e-5).all()  # not impossible


def test_a_known_class_leaves_the_biases_alone(segmenter, image, tmp_path):
    after = run(with_classes(segmenter, [1, None], np.array([0.99, 0.01])), tmp_path, image)
    np.testing.assert_allclose(after[:, 0], run(segmenter, tmp_path, image)[:, 1], atol=1e-6)


class SummedScores(nn.Layer):
    """Scores of two layers, the coarse ones brought up by a transposed convolution of each class, and added up."""

    def __init__(self, ending: str = "logits") -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2D(3, 3, 1), nn.Conv2D(3, 3, 2, 2, bias_attr=False)
        self.norm, self.up = nn.BatchNorm2D(3), nn.Conv2DTranspose(3, 3, 2, 2, groups=3, bias_attr=False)
        self.ending = ending

    def forward(self, x):
        scores = self.fine(x) + self.up(self.norm(self.coarse(x)))
        if self.ending == "softmax":
            return nn.functional.softmax(scores, axis=1)
        if self.ending == "last":
            return nn.functional.softmax(scores.transpose([0, 2, 3, 1]), axis=-1)
        return paddle.argmax(scores, axis=1).astype("int32") if self.ending == "argmax" else scores


@pytest.mark.parametrize("ending", ["logits", "softmax", "argmax", "last"])
def test_every_layer_that_carries_the_classes_is_changed(ending, image, tmp_path):
    program = programs.export(programs.randomize_norms(SummedScores(ending)), tmp_path, [1, 3, 32, 32])
    changed = with_classes(program, [0, 1, 2, None])
    before, after = run(program, tmp_path, image), run(changed, tmp_path, image)
    if ending == "logits":
        np.testing.assert_allclose(after[:, :3], before, atol=1e-6)
    elif ending == "argmax":
        assert after.max() <= 3
        assert np.array_equal(after[after < 3], before[after < 3])
    else:
        axis = 3 if ending == "last" else 1
        assert after.shape[axis] == 4
        kept = np.take(after, [0, 1, 2], axis)
        np.testing.assert_allclose(kept / kept.sum(axis, keepdims=True), before, atol=1e-5)


def test_one_channel_for_two_classes_is_refused(tmp_path):
    net = nn.Sequential(nn.Conv2D(3, 1, 1), nn.Sigmoid())
    program = programs.export(net, tmp_path, [1, 3, 8, 8])
    assert logits_of(program)[1] == 1
    with pytest.raises(UnsupportedModelError, match=r"the head \(.*\) cannot be given 4 classes") as caught:
        with_classes(program, [None] * 4)
    assert caught.value.cause == "one channel belongs to two classes"


class MixedChannels(nn.Layer):
    """Scores that leave beside other channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2D(3, 2, 1), nn.Conv2D(3, 2, 1)
        self.mean = nn.Conv2D(4, 4, 1, groups=4)

    def forward(self, x):
        return self.mean(paddle.concat([self.first(x), self.second(x)], axis=1))


def test_class_channels_among_others_are_refused(tmp_path):
    program = programs.export(MixedChannels(), tmp_path, [1, 3, 8, 8])
    with pytest.raises(UnsupportedModelError, match="cannot be given 3 classes") as caught:
        with_classes(program, [0, 1, None])
    assert "class channels are mixed with others" in caught.value.cause
