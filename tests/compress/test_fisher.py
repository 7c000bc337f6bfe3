from __future__ import annotations

import math

import numpy as np
import programs
import pytest
from paddle import nn

from segexport.compress.batches import Batch
from segexport.compress.channel_analysis import analyze
from segexport.compress.fisher import fisher
from segexport.errors import InputError


def batch(x: float, label: int | None) -> Batch:
    labels = None if label is None else np.full((1, 1, 1), label)
    return Batch(np.full((1, 1, 1, 1), x, np.float32), labels)


@pytest.fixture
def gated(tmp_path):
    """Two channels (1, 2) x; logits (ln 3 h0, 0 h1 + 0): x = 1 gives the probabilities (3/4, 1/4)."""
    first, last = nn.Conv2D(1, 2, 1, bias_attr=False), nn.Conv2D(2, 2, 1, bias_attr=False)
    first.weight.set_value(np.float32([1, 2]).reshape(2, 1, 1, 1))
    last.weight.set_value(np.float32([[math.log(3) / 2, math.log(3) / 4], [0, 0]]).reshape(2, 2, 1, 1))
    return analyze(programs.export(nn.Sequential(first, last), tmp_path, [1, 1, 1, 1]))


def test_scores_are_those_worked_out_by_hand(gated):
    """The logit is ln 3 / 2 from either channel: closing a gate changes it by that, times the gradient p - y."""
    (scores,) = fisher(gated, [batch(1.0, 1), batch(1.0, 0)])
    each = ((0.75 * math.log(3) / 2) ** 2 + (0.25 * math.log(3) / 2) ** 2) / 2
    np.testing.assert_allclose(scores, [each, each], rtol=1e-5)


def test_without_labels_the_models_own_classes_count(gated):
    (scores,) = fisher(gated, [batch(1.0, None)])
    np.testing.assert_allclose(scores, [(0.25 * math.log(3) / 2) ** 2] * 2, rtol=1e-5)


def test_all_readers_of_tied_channels_count_at_once(tmp_path):
    """h = a x + b x is read by two filters: the gate of channel 0 closes both of their slices."""

    class Tied(nn.Layer):
        def __init__(self):
            super().__init__()
            self.one, self.two = (nn.Conv2D(1, 2, 1, bias_attr=False) for _ in range(2))
            self.left, self.right = (nn.Conv2D(2, 2, 1, bias_attr=False) for _ in range(2))

        def forward(self, x):
            h = self.one(x) + self.two(x)
            return self.left(h) + self.right(h)

    net = Tied()
    for layer, values in ((net.one, [1, 0]), (net.two, [0, 1]), (net.left, [1, 0, 0, 0]), (net.right, [0.5, 0, 0, 0])):
        layer.weight.set_value(np.float32(values).reshape(layer.weight.shape))
    (scores,) = fisher(analyze(programs.export(net, tmp_path, [1, 1, 1, 1])), [batch(1.0, 1)])
    p = math.exp(1.5) / (math.exp(1.5) + 1)  # logits (1.5, 0), all of it from channel 0
    np.testing.assert_allclose(scores, [(p * 1.5) ** 2, 0], rtol=1e-5)


def test_no_images_are_an_error(gated):
    with pytest.raises(InputError, match="no images"):
        fisher(gated, [])
