"""Widths under a budget: costs worked out equal costs counted, and what costs much and matters little goes first."""

from __future__ import annotations

import numpy as np
import programs
import pytest
from paddle import nn
from test_prune import Grouped, Shuffled, export

from segexport.compress.allocation import allocate
from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_cost import ChannelCost
from segexport.compress.channel_cut import cut
from segexport.compress.cost import macs, parameters
from segexport.compress.prune import prune
from segexport.errors import InputError


def kept_after(graph, removed: np.ndarray) -> list[int]:
    return [int((~np.isin(group.units, removed)).sum()) for group in graph.groups]


@pytest.fixture
def two_stages(tmp_path):
    """1x1 filters of 4 -> 16 at 8x8 and 16 -> 16 at 4x4: one of the first's channels costs 4 x 64 + 16 x 16."""
    net = nn.Sequential(nn.Conv2D(4, 16, 1), nn.AvgPool2D(2), nn.Conv2D(16, 16, 1), nn.Conv2D(16, 2, 1))
    return export(net, tmp_path, [1, 4, 8, 8])


@pytest.mark.parametrize("net", [programs.SmallSegmenter, Grouped, Shuffled])
@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_costs_are_those_of_the_cut_program(net, ratio, tmp_path):
    shape = [1, 3, 8, 8] if net is not programs.SmallSegmenter else [1, 3, 32, 32]
    program = export(net(), tmp_path, shape)
    graph = analyze(program)
    removed = prune(program, ratio, graph=graph).removed
    smaller = cut(graph, removed)
    kept = kept_after(graph, removed)
    assert sum(kept) < sum(len(group.units) for group in graph.groups)
    for what, counted in (("macs", macs), ("parameters", parameters)):
        cost = ChannelCost(graph, what)
        assert cost.at(cost.units) == pytest.approx(counted(program))
        assert cost.at(kept) == pytest.approx(counted(smaller))


def test_activations_are_what_operators_write(two_stages):
    graph = analyze(two_stages)
    cost = ChannelCost(graph, "activations")
    narrower = [len(group.units) for group in graph.groups]
    narrower[0] -= 8
    # 8 channels of the filter's map, of that with its bias added, of the pooled one, and of the bias as it is added.
    maps = sum(
        1 for op in two_stages.compute_ops() for name in op.output_names() if two_stages.shape(name) == (1, 16, 8, 8)
    )
    assert cost.at(cost.units) - cost.at(narrower) == pytest.approx(8 * (maps * 64 + 16 + 1))


def test_what_is_saved_is_the_difference_of_two_costs(tmp_path):
    graph = analyze(export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32]))
    cost = ChannelCost(graph, "macs")
    kept = [max(1, units - 1) for units in cost.units]
    for group in range(len(kept)):
        narrower = list(kept)
        narrower[group] -= 1
        assert cost.saved(kept, group, narrower[group]) == pytest.approx(cost.at(kept) - cost.at(narrower))


def test_the_dear_group_goes_first_where_both_matter_alike(two_stages):
    """Whole: 4*16*64 + 16*16*16 + 16*2*16 = 8704. Half of the first group saves 8*(256 + 256), of the second 2304."""
    graph = analyze(two_stages)
    alike = [np.ones(len(group.units)) for group in graph.groups]
    removed = allocate(graph, alike, {"macs": 0.6})
    assert kept_after(graph, removed) == [8, 16]


def test_little_importance_outweighs_cost(two_stages):
    graph = analyze(two_stages)
    scores = [np.ones(16), np.full(16, 0.1)]
    removed = allocate(graph, scores, {"macs": 0.75})
    assert kept_after(graph, removed) == [16, 8]


def test_the_least_important_units_go(two_stages):
    graph = analyze(two_stages)
    scores = [np.arange(16.0), np.full(16, 1e9)]
    removed = allocate(graph, scores, {"macs": 0.6})
    np.testing.assert_array_equal(removed, np.sort(graph.groups[0].units[:8]))


def test_every_budget_is_met(tmp_path):
    program = export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])
    graph = analyze(program)
    scores = [np.random.RandomState(0).uniform(size=len(group.units)) for group in graph.groups]
    smaller = cut(graph, allocate(graph, scores, {"macs": 0.7, "parameters": 0.6}))
    assert macs(smaller) <= 0.7 * macs(program)
    assert parameters(smaller) <= 0.6 * parameters(program)


def test_no_group_becomes_narrower_than_it_may(two_stages):
    graph = analyze(two_stages)
    scores = [np.full(16, 1e-9), np.ones(16)]
    assert kept_after(graph, allocate(graph, scores, {"macs": 0.4}, align=1, least_kept=0.5))[0] == 8
    with pytest.raises(
        InputError, match=r"to 20% of its multiply-accumulates[\s\S]*least[\s\S]*an output of the model"
    ):
        allocate(graph, scores, {"macs": 0.2}, align=1, least_kept=0.5)


def test_blocks_that_a_later_cut_makes_needless_are_given_back(two_stages):
    """8 of the second group's channels go first and save 2304; 8 of the first then save 3072, but 4096 alone."""
    graph = analyze(two_stages)
    scores = [np.concatenate([np.zeros(8), np.ones(8)]) + 0.5, np.full(16, 0.1)]
    kept = kept_after(graph, allocate(graph, scores, {"macs": 0.55}, least_kept=0.5))
    assert kept == [8, 16]
