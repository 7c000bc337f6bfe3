from __future__ import annotations

import math

import numpy as np
import paddle
import programs
import pytest
from paddle import nn

from segexport.compress.batches import Batch
from segexport.compress.prune import prune
from segexport.compress.saliency import saliency
from segexport.errors import InputError


@pytest.fixture
def two_classes(tmp_path):
    """Logits w x for one input channel; w = (ln 3, 0), so that x = 1 gives the probabilities (3/4, 1/4)."""
    conv = nn.Conv2D(1, 2, 1, bias_attr=False)
    conv.weight.set_value(np.float32([math.log(3), 0.0]).reshape(2, 1, 1, 1))
    return programs.export(nn.Sequential(conv), tmp_path, [1, 1, 1, 1])


def batch(x: float, label: int | None) -> Batch:
    labels = None if label is None else np.full((1, 1, 1), label)
    return Batch(np.full((1, 1, 1, 1), x, np.float32), labels)


def test_scores_are_those_worked_out_by_hand(two_classes):
    """Label 1: the gradient of w is (3/4, 1/4 - 1); label 0: (3/4 - 1, 1/4); weight 1 is 0 and counts for nothing."""
    (scores,) = saliency(two_classes, [batch(1.0, 1), batch(1.0, 0)]).values()
    expected = ((0.75 * math.log(3)) ** 2 + (0.25 * math.log(3)) ** 2) / 2
    np.testing.assert_allclose(scores.reshape(-1), [expected, 0], rtol=1e-5)


def test_without_labels_the_models_own_classes_count(two_classes):
    (scores,) = saliency(two_classes, [batch(1.0, None)]).values()
    np.testing.assert_allclose(scores.reshape(-1), [(0.25 * math.log(3)) ** 2, 0], rtol=1e-5)


def test_no_images_are_an_error(two_classes):
    with pytest.raises(InputError, match="no images"):
        saliency(two_classes, [])


def test_channels_that_nothing_listens_to_go_first(tmp_path):
    """Half of the stem's channels meet zeros in the next filter: only the gradient can know."""
    paddle.seed(5)
    net = programs.SmallSegmenter()
    deaf = np.arange(0, 48, 2)
    weights = net.mix[0].weight.numpy().copy()
    weights[:, deaf] = 0
    net.mix[0].weight.set_value(weights)
    program = programs.export(net, tmp_path, [1, 3, 32, 32])
    random = np.random.RandomState(0)
    images = [Batch(random.standard_normal((1, 3, 32, 32)).astype(np.float32), None) for _ in range(2)]
    scores = saliency(program, images)
    down = next(
        op.input("Filter") for op in program.ops if op.type == "conv2d" and program.shape(op.input("Filter"))[0] == 32
    )
    pruned = prune(program, {down: 0.5}, criterion="saliency", saliency=scores).program
    np.testing.assert_array_equal(pruned.params[down], program.params[down][1::2])
