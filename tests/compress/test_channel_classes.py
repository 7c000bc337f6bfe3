"""Which groups are isomorphic, and what widths under a budget make of the classes."""

from __future__ import annotations

import numpy as np
import paddle
import programs
import pytest
from paddle import nn

from segexport.compress.allocation import allocate
from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_classes import isomorphic_classes
from segexport.compress.cost import macs
from segexport.compress.prune import importances, prune_to_budgets
from segexport.errors import InputError


class Separable(nn.Sequential):
    """Two plain filters and two depthwise-separable blocks; kernels and widths differ."""

    def __init__(self) -> None:
        plain = [nn.Conv2D(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2D(16, 32, 1), nn.Hardswish()]
        first = [nn.Conv2D(32, 24, 1), nn.Conv2D(24, 24, 3, padding=1, groups=24)]
        second = [nn.Conv2D(24, 16, 1), nn.Conv2D(16, 16, 5, padding=2, groups=16)]
        super().__init__(*plain, *first, *second, nn.Conv2D(16, 2, 1))


class Mixer(nn.Layer):
    """A block of attention and one of two linear layers, on an input of tokens with 16 features."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(16, 16) for _ in range(4))
        self.wide, self.narrow = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        weights = nn.functional.softmax(paddle.matmul(self.query(x), self.key(x), transpose_y=True))
        x = x + self.out(paddle.matmul(weights, self.value(x)))
        return x + self.narrow(nn.functional.gelu(self.wide(x)))


def classes_of(layer: nn.Layer, tmp_path, shape: list[int]):
    graph = analyze(programs.export(layer, tmp_path, shape))
    return graph, isomorphic_classes(graph)


def test_depthwise_blocks_are_a_class_and_plain_filters_another(tmp_path):
    graph, classes = classes_of(Separable(), tmp_path, [1, 3, 8, 8])
    assert [len(group.units) for group in graph.groups] == [16, 32, 24, 16]
    assert classes == [0, 0, 1, 1]


def test_attention_and_linear_layers_are_classes(tmp_path):
    """Queries and keys meet in a product, values are read by it, hidden features by weights alone."""
    graph, classes = classes_of(Mixer(), tmp_path, [1, 6, 16])
    widths = [len(group.units) for group in graph.groups]
    assert widths == [16, 16, 32]  # the tokens' features are the input's: nothing may be cut of them
    assert len(set(classes)) == 3


@pytest.fixture
def separable(tmp_path):
    return classes_of(Separable(), tmp_path, [1, 3, 8, 8])


def kept_of(graph, removed: np.ndarray) -> list[int]:
    return [int((~np.isin(group.units, removed)).sum()) for group in graph.groups]


def test_global_empties_a_class_whose_scores_are_small_and_isomorphic_does_not(separable):
    """Every score of the depthwise blocks is a thousandth of every one of the plain filters."""
    graph, classes = separable
    random = np.random.default_rng(0)
    scores = [
        random.uniform(1, 2, len(group.units)) * (1e-3 if number == 1 else 1)
        for group, number in zip(graph.groups, classes, strict=True)
    ]
    alike = kept_of(graph, allocate(graph, scores, {"macs": 0.5}, align=1))
    assert alike[:2] == [16, 32]
    assert alike[2] == 1  # the costly group of the class is all but gone
    apart = kept_of(graph, allocate(graph, scores, {"macs": 0.5}, align=1, classes=classes))
    shares = [sum(apart[:2]) / 48, sum(apart[2:]) / 40]
    assert shares[0] == pytest.approx(shares[1], abs=1 / 40)


def test_within_a_class_the_least_important_units_go_whatever_their_group(separable):
    graph, classes = separable
    scores = [np.arange(float(len(group.units))) for group in graph.groups]
    scores[0] += 100  # all of the first filters matter more than any of the second ones
    kept = kept_of(graph, allocate(graph, scores, {"macs": 0.6}, align=1, classes=classes, per_cost=False))
    assert kept[0] == 16
    assert kept[1] < 32


def test_a_loss_is_weighed_against_what_it_saves_within_a_class(separable):
    """One of the second block's channels costs 24 + 25 + 2 products per pixel, one of the first 32 + 9 + 16."""
    graph, classes = separable
    scores = [np.ones(len(group.units)) for group in graph.groups]
    scores[3] *= 0.99  # matters less, but saves less still
    per_cost, per_unit = (
        kept_of(graph, allocate(graph, scores, {"macs": 0.9}, align=1, classes=classes, per_cost=way))
        for way in (True, False)
    )
    assert per_cost[2] < 24
    assert per_cost[3] == 16
    assert per_unit[2] == 24
    assert per_unit[3] < 16


def test_a_class_of_few_blocks_loses_the_nearest_number(separable):
    """With blocks of 8, the classes of 48 and 40 units cannot lose the same fraction; they differ by half a block."""
    graph, classes = separable
    scores = [np.ones(len(group.units)) for group in graph.groups]
    kept = kept_of(graph, allocate(graph, scores, {"macs": 0.6}, classes=classes))
    assert all(width % 8 == 0 for width in kept)
    assert abs(sum(kept[:2]) / 48 - sum(kept[2:]) / 40) <= 8 / 40


@pytest.mark.parametrize("criterion", ["l1", "fpgm"])
def test_criteria_of_weights_meet_budgets(criterion, separable):
    graph, _ = separable
    pruned = prune_to_budgets(graph, {"macs": 0.6, "parameters": 0.7}, "isomorphic", criterion=criterion, align=4)
    assert macs(pruned.program) <= 0.6 * macs(graph.program)
    assert pruned.parameters_after <= 0.7 * pruned.parameters_before
    assert len(importances(graph, criterion)) == len(graph.groups)


def test_a_floor_out_of_reach_is_an_error(separable):
    graph, classes = separable
    scores = [np.ones(len(group.units)) for group in graph.groups]
    with pytest.raises(InputError, match="to 10% of its multiply-accumulates"):
        allocate(graph, scores, {"macs": 0.1}, least_kept=0.5, classes=classes)
