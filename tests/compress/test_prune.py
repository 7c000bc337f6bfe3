"""Cut channels must be gone as if their weights were zero: the pruned net equals the masked one, number by number."""

from __future__ import annotations

import numpy as np
import paddle
import programs
import pytest
from paddle import nn
from paddle.nn import functional

from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_cut import mask
from segexport.compress.channel_graph import ChannelGroup
from segexport.compress.channel_shapes import matched_axes
from segexport.compress.cost import macs, parameters
from segexport.compress.live_program import LiveProgram
from segexport.compress.prune import kept_units, prune, uniform_ratio
from segexport.errors import InputError
from segexport.exporter.graph import Op
from segexport.exporter.program import Program


def run(program: Program, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    net = LiveProgram(program)
    net.eval()
    with paddle.no_grad():
        outputs, _ = net.run({name: paddle.to_tensor(value) for name, value in feeds.items()})
    return [output.numpy() for output in outputs]


def assert_pruned_equals_masked(program: Program, ratio: float = 0.5) -> Program:
    feeds = programs.random_feeds(program)
    pruned = prune(program, ratio)
    assert pruned.macs_after < pruned.macs_before
    expected = run(mask(analyze(program), pruned.removed), feeds)
    found = run(pruned.program, feeds)
    for reference, output in zip(expected, found, strict=True):
        assert np.ptp(reference) > 0
        np.testing.assert_allclose(output, reference, rtol=1e-3, atol=1e-4 * np.abs(reference).max())
    return pruned.program


def export(layer: nn.Layer, folder, *shapes: list[int]) -> Program:
    paddle.seed(11)
    return programs.export(programs.randomize_norms(layer), folder, *shapes)


def widths(program: Program, kind: str = "conv2d") -> list[tuple[int, ...]]:
    return [program.shape(op.input("Filter"))[:2] for op in program.ops if op.type.endswith(kind)]


class Shuffled(nn.Layer):
    """Two units that split, convolve one half, concatenate and shuffle."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(3, 32, 3, padding=1)
        self.branches = nn.LayerList([nn.Conv2D(16, 16, 3, padding=1) for _ in range(2)])
        self.head = nn.Conv2D(32, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        for branch in self.branches:
            left, right = paddle.split(x, 2, axis=1)
            x = paddle.concat([left, functional.relu(branch(right))], axis=1)
            x = x.reshape([1, 2, 16, 8, 8]).transpose([0, 2, 1, 3, 4]).reshape([1, 32, 8, 8])
        return self.head(x)


class Grouped(nn.Layer):
    """Groups of several channels, a depthwise multiplier, transposed convolutions of both kinds, pixel shuffle."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(3, 32, 3, padding=1)
        self.grouped = nn.Conv2D(32, 64, 3, padding=1, groups=4)
        self.multiplied = nn.Conv2D(64, 128, 3, padding=1, groups=64)
        self.up = nn.Conv2DTranspose(128, 32, 2, stride=2)
        self.depthwise_up = nn.Conv2DTranspose(32, 32, 2, stride=2, groups=32)
        self.grouped_up = nn.Conv2DTranspose(32, 64, 2, stride=2, groups=2)
        self.shuffle = nn.PixelShuffle(2)
        self.head = nn.Conv2D(16, 2, 1)

    def forward(self, x):
        x = functional.relu(self.multiplied(self.grouped(self.stem(x))))
        return self.head(self.shuffle(self.grouped_up(self.depthwise_up(self.up(x)))))


class Attention(nn.Layer):
    """Fused q, k, v in four heads over the pixels, then a two-layer MLP; no norms, so that masks and cuts agree."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2D(3, 64, 4, stride=4)
        self.qkv, self.project = nn.Linear(64, 192), nn.Linear(64, 64)
        self.wide, self.narrow = nn.Linear(64, 128), nn.Linear(128, 64)
        self.head = nn.Conv2D(64, 2, 1)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose([0, 2, 1])
        qkv = self.qkv(tokens).reshape([1, 16, 3, 4, 16]).transpose([2, 0, 3, 1, 4])
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = functional.softmax(paddle.matmul(q, k, transpose_y=True) * 0.25, axis=-1)
        mixed = paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([1, 16, 64])
        tokens = tokens + self.project(mixed)
        tokens = tokens + self.narrow(functional.gelu(self.wide(tokens)))
        return self.head(tokens.transpose([0, 2, 1]).reshape([1, 64, 4, 4]))


class Normed(Attention):
    """The same with layer norms, whose statistics change with the width."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(64)

    def forward(self, x):
        tokens = self.norm(self.embed(x).flatten(2).transpose([0, 2, 1]))
        return self.head(self.norm(tokens + self.narrow(self.wide(tokens))).transpose([0, 2, 1]).reshape([1, 64, 4, 4]))


class Sliced(nn.Layer):
    """Channels taken by literal ends, a bias reshaped by a literal, slopes per channel, zeros as padding channels."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(3, 48, 3, padding=1)
        self.slopes = nn.PReLU(48)
        self.bias = self.create_parameter([48])
        self.left, self.right = nn.Conv2D(16, 16, 1), nn.Conv2D(32, 32, 1)
        self.head = nn.Conv2D(64, 2, 1)

    def forward(self, x):
        x = self.slopes(self.stem(x)) + self.bias.reshape([1, 48, 1, 1])
        parts = [self.left(x[:, :16]), self.right(x[:, 16:48]), paddle.zeros([1, 16, 8, 8])]
        return self.head(functional.relu(paddle.concat(parts, axis=1)))


class Merged(nn.Layer):
    """Heads that are made and merged by reshapes."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2D(3, 64, 1), nn.Conv2D(64, 2, 1)

    def forward(self, x):
        return self.head(functional.relu(self.stem(x)).reshape([0, 4, 16, -1]).reshape([0, 64, 8, 8]))


def with_sizes_in_tensors(program: Program) -> Program:
    """Gives the last reshape its sizes as constants of one element, as TopFormer's attention is exported."""
    merge = [op for op in program.ops if op.type == "reshape2"][-1]
    for size in merge.attr("shape"):
        name = program.add_var("size", [1], "int32")
        constant = Op("fill_constant", {}, {"Out": [name]})
        for attribute, value in {"shape": [1], "value": float(size), "str_value": str(size), "dtype": 2}.items():
            constant.set_attr(attribute, value)
        program.insert_before(merge, constant)
        merge.inputs.setdefault("ShapeTensor", []).append(name)
    return program


class GroupNormed(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2D(3, 32, 3), nn.GroupNorm(4, 32), nn.Conv2D(32, 2, 1)

    def forward(self, x):
        return self.head(functional.relu(self.norm(self.stem(x))))


class Sorted(nn.Layer):
    """An operator without a channel rule between two convolutions; the third convolution can be cut."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2D(3, 32, 1), nn.Conv2D(32, 32, 1), nn.Conv2D(32, 2, 1)

    def forward(self, x):
        return self.third(self.second(paddle.sort(self.first(x), axis=1)))


def test_small_segmenter_equals_its_masked_self(tmp_path):
    program = export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])
    pruned = assert_pruned_equals_masked(program)
    # stem, depthwise, squeeze (8 stays 8), its gate (tied to the stem), down, mix (24: of 8 and 16 the narrower), head
    assert widths(pruned) == [(8, 3), (8, 1), (8, 8), (8, 8), (16, 8), (8, 24), (3, 8)]
    depthwise = next(op for op in pruned.ops if op.type == "depthwise_conv2d")
    assert depthwise.attr("groups") == 8


@pytest.mark.parametrize(
    ("layer", "size"), [(Shuffled, 8), (Grouped, 4), (Attention, 16), (Sliced, 8)], ids=lambda value: str(value)
)
def test_structure_equals_its_masked_self(layer, size, tmp_path):
    assert_pruned_equals_masked(export(layer(), tmp_path, [1, 3, size, size]))


def test_sizes_in_constants_follow(tmp_path):
    program = with_sizes_in_tensors(export(Merged(), tmp_path, [1, 3, 8, 8]))
    pruned = assert_pruned_equals_masked(program)
    feeds = programs.random_feeds(program)
    np.testing.assert_array_equal(programs.infer(pruned, tmp_path, feeds)[0], run(pruned, feeds)[0])


def test_attention_narrows_every_head(tmp_path):
    program = export(Attention(), tmp_path, [1, 3, 16, 16])
    pruned = prune(program, 0.5).program
    shapes = sorted(pruned.shape(op.input("Y")) for op in pruned.ops if op.type == "matmul_v2")
    # q k^T and weights v (activations), qkv, project, wide, narrow
    assert shapes == [(1, 4, 16, 8), (1, 4, 16, 8), (32, 32), (32, 64), (32, 96), (64, 32)]
    heads = next(op for op in pruned.ops if op.type == "reshape2" and len(op.attr("shape")) == 5)
    assert heads.attr("shape") == [1, 16, 3, 4, 8]


def test_grouped_convolutions_keep_their_groups(tmp_path):
    program = export(Grouped(), tmp_path, [1, 3, 4, 4])
    pruned = prune(program, 0.5).program
    convs = [(op.attr("groups"), pruned.shape(op.input("Filter"))[:2]) for op in pruned.ops if "conv2d" in op.type]
    assert convs[1] == (4, (32, 4))
    assert convs[2] == (32, (64, 1))
    assert [groups for groups, _ in convs] == [1, 4, 32, 1, 16, 2, 1]


@pytest.mark.parametrize(("layer", "size"), [(Normed, 16), (GroupNormed, 8)])
def test_norms_over_channels_run_and_train(layer, size, tmp_path):
    program = export(layer(), tmp_path, [1, 3, size, size])
    pruned = prune(program, 0.5)
    assert pruned.macs_cut_ratio > 0.4
    feeds = programs.random_feeds(program)
    (expected,) = programs.infer(pruned.program, tmp_path, feeds)
    assert np.isfinite(expected).all()
    assert np.ptp(expected) > 0
    np.testing.assert_array_equal(run(pruned.program, feeds)[0], expected)
    net = LiveProgram(pruned.program)
    net.train()
    net(paddle.to_tensor(feeds["x0"])).square().mean().backward()
    assert all(net.tensor(name).grad is not None for name in net.trained_names())


def test_pruned_program_is_written_and_read_by_paddle_inference(tmp_path):
    program = export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])
    pruned = prune(program, 0.5).program
    feeds = programs.random_feeds(program)
    np.testing.assert_array_equal(programs.infer(pruned, tmp_path, feeds)[0], run(pruned, feeds)[0])
    recorded = {name: pruned.shape(name) for name in pruned.fetch_names}
    assert run(pruned, feeds)[0].shape == recorded[pruned.fetch_names[0]]


def test_recorded_sizes_are_those_of_the_run(tmp_path):
    program = export(Attention(), tmp_path, [1, 3, 16, 16])
    pruned = prune(program, 0.5).program
    net = LiveProgram(pruned)
    names = [
        name for op in pruned.compute_ops() for slot, outs in op.outputs.items() for name in outs if slot != "XShape"
    ]
    feed = paddle.to_tensor(programs.random_feeds(program)["x0"])
    _, kept = net.run([feed], keep=[name for name in names if pruned.vars[name].dims])
    assert {name: tuple(value.shape) for name, value in kept.items()} == {name: pruned.shape(name) for name in kept}


def test_the_original_is_not_changed(tmp_path):
    program = export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])
    before, values = program.to_bytes(), {name: value.copy() for name, value in program.params.items()}
    prune(program, 0.5)
    assert program.to_bytes() == before
    assert all(np.array_equal(program.params[name], value) for name, value in values.items())


def test_unknown_operator_freezes_what_reaches_it_and_is_listed(tmp_path):
    program = export(Sorted(), tmp_path, [1, 3, 8, 8])
    pruned = prune(program, 0.5)
    first, second, third = (op.input("Filter") for op in program.ops if op.type == "conv2d")
    assert pruned.program.shape(first) == (32, 3, 1, 1)
    assert pruned.program.shape(second) == (16, 32, 1, 1)
    assert pruned.program.shape(third) == (2, 16, 1, 1)
    assert pruned.frozen_because == {"operator 'argsort'": [first], "an output of the model": [third]}


def test_costs_are_those_counted_by_hand(tmp_path):
    program = export(GroupNormed(), tmp_path, [1, 3, 8, 8])
    assert macs(program) == 6 * 6 * 32 * 3 * 9 + 6 * 6 * 2 * 32
    assert parameters(program) == 32 * 3 * 9 + 32 + 32 + 32 + 2 * 32 + 2


class OneConvolution(nn.Layer):
    def __init__(self, weights):
        super().__init__()
        self.conv = nn.Conv2D(1, len(weights), 1, bias_attr=False)
        self.conv.weight.set_value(np.float32(weights).reshape(-1, 1, 1, 1))
        self.head = nn.Conv2D(len(weights), 1, 1)

    def forward(self, x):
        return self.head(self.conv(x))


# 16 filters of one weight. l1 keeps the eight largest magnitudes; the geometric median is at 3..4, and fpgm keeps those
# far from it: distances to all others grow with |value - median|, so the ends stay and the middle goes.
_WEIGHTS = [-9, 0, 1, 2, 3, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 4, 5, 6, 7, 20]


@pytest.mark.parametrize(
    ("criterion", "kept"),
    [("l1", [-9, 3.5, 3.6, 4, 5, 6, 7, 20]), ("fpgm", [-9, 0, 1, 2, 5, 6, 7, 20])],
)
def test_criterion_keeps_the_filters_found_by_hand(criterion, kept, tmp_path):
    program = export(OneConvolution(_WEIGHTS), tmp_path, [1, 1, 4, 4])
    pruned = prune(program, 0.5, criterion=criterion).program
    first = next(op for op in pruned.ops if op.type == "conv2d")
    np.testing.assert_allclose(pruned.params[first.input("Filter")].reshape(-1), np.float32(kept))


def test_given_scores_decide(tmp_path):
    program = export(OneConvolution(_WEIGHTS), tmp_path, [1, 1, 4, 4])
    name = next(op for op in program.ops if op.type == "conv2d").input("Filter")
    scores = {name: np.arange(16, dtype=np.float32)[::-1].reshape(16, 1, 1, 1)}
    pruned = prune(program, 0.5, criterion="saliency", saliency=scores).program
    np.testing.assert_allclose(pruned.params[name].reshape(-1), np.float32(_WEIGHTS[:8]))
    with pytest.raises(InputError, match=r"no scores of shape \[16, 1, 1, 1\]"):
        prune(program, 0.5, criterion="saliency", saliency={})


@pytest.mark.parametrize(
    ("count", "copies", "ratio", "kept"),
    [
        (64, 1, 0.5, 32),
        (64, 1, 0.0, 64),
        (58, 1, 0.5, 32),  # 29: 32 is nearer than 24
        (24, 1, 0.5, 8),  # 12: as near to 8 as to 16
        (8, 1, 0.5, 8),  # never below 8
        (5, 1, 0.9, 5),
        (32, 4, 0.5, 16),  # four heads: multiples of 2
        (16, 4, 0.9, 2),
        (40, 1, 0.3, 24),  # 28: as near to 24 as to 32
    ],
)
def test_widths_stay_multiples(count, copies, ratio, kept):
    assert kept_units(ChannelGroup("w", (), np.arange(count), copies), ratio, 8) == kept


def test_ratio_by_parameter_cuts_that_group_alone(tmp_path):
    program = export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])
    down = next(op for op in program.ops if op.type == "conv2d" and program.shape(op.input("Filter"))[0] == 32)
    pruned = prune(program, {down.input("Filter"): 0.5})
    assert [(width.before, width.after) for width in pruned.widths] == [(16, 16), (8, 8), (32, 16), (24, 24)]


def test_pruning_to_a_cost(tmp_path):
    program = export(Attention(), tmp_path, [1, 3, 16, 16])
    graph = analyze(program)
    pruned = prune(program, uniform_ratio(graph, {"macs": 0.5}), graph=graph)
    assert 0.3 < 1 - pruned.macs_cut_ratio <= 0.5
    with pytest.raises(InputError, match="cannot bring this model to 0%"):
        uniform_ratio(graph, {"macs": 0.001})


@pytest.mark.parametrize("ratio", [1.0, -0.1, 1.5, float("nan")])
def test_ratio_that_leaves_nothing_is_refused(ratio, tmp_path):
    program = export(GroupNormed(), tmp_path, [1, 3, 8, 8])
    with pytest.raises(InputError, match="the pruning ratio"):
        prune(program, ratio)


def test_name_that_makes_no_channels_is_refused(tmp_path):
    program = export(GroupNormed(), tmp_path, [1, 3, 8, 8])
    with pytest.raises(InputError, match="'nowhere' has no channels"):
        prune(program, {"nowhere": 0.5})


@pytest.mark.parametrize(
    ("before", "after", "runs"),
    [
        ((1, 32, 8, 8), (1, 2, 16, 8, 8), [([1], [1, 2]), ([2], [3]), ([3], [4])]),
        ((1, 64, 7, 7), (1, 64, 49), [([1], [1]), ([2, 3], [2])]),
        ((32,), (1, 32, 1, 1), [([0], [1])]),
        ((6, 4), (8, 3), [([0, 1], [0, 1])]),
        ((-1, 16, 12), (-1, 16, 3, 4), [([0], [0]), ([1], [1]), ([2], [2, 3])]),
        ((-1, 16), (16, -1), [([0, 1], [0, 1])]),
    ],
)
def test_reshapes_are_read_axis_by_axis(before, after, runs):
    assert list(matched_axes(before, after)) == runs
