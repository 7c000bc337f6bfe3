from __future__ import annotations

import numpy as np
import paddle
import programs
import pytest
from paddle import nn

from segexport.compress.live_program import LiveProgram
from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.program import Block, Program


@pytest.fixture
def segmenter(tmp_path) -> Program:
    paddle.seed(3)
    return programs.export(programs.randomize_norms(programs.SmallSegmenter()), tmp_path, [2, 3, 32, 32])


def replay(program: Program, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    net = LiveProgram(program)
    net.eval()
    with paddle.no_grad():
        outputs, _ = net.run({name: paddle.to_tensor(value) for name, value in feeds.items()})
    return [output.numpy() for output in outputs]


def assert_equal_to_inference(program: Program, folder, feeds: dict[str, np.ndarray]) -> None:
    reference = programs.infer(program, folder, feeds)
    replayed = replay(program, feeds)
    assert len(reference) == len(replayed)
    for expected, found in zip(reference, replayed, strict=True):
        assert expected.shape == found.shape
        assert expected.dtype == found.dtype
        np.testing.assert_array_equal(expected, found)
        assert expected.size == 1 or np.ptp(expected) > 0


class Scaled(nn.Layer):
    """One parameter: Paddle Inference cannot load a program without any."""

    def __init__(self):
        super().__init__()
        self.factor = self.create_parameter([1], default_initializer=nn.initializer.Constant(2.0))


class WrittenInPlace(Scaled):
    def forward(self, x):
        y = x * self.factor
        y[:, :, 1:3, ::2] = 0.5
        y[:, 1] = x[:, 0]
        return y


class PooledAndUnpooled(Scaled):
    def forward(self, x):
        pooled, where = nn.functional.max_pool2d(x * self.factor, 2, return_mask=True)
        return nn.functional.max_unpool2d(pooled, where, 2)


class ZeroDimensional(Scaled):
    def forward(self, x):
        spread = x.max() - (x * self.factor).mean()  # shape []
        return x / spread + paddle.full([], 0.25), spread


class Looked(nn.Layer):
    """A float mask and an integer table that are no parameters, a group norm, a split, an einsum."""

    def __init__(self):
        super().__init__()
        self.table = self.create_parameter([9, 4])
        self.index = paddle.to_tensor(np.array([3, 0, 8, 8, 5, 1, 2, 4], np.int64))
        self.register_buffer("mask", paddle.to_tensor(np.linspace(-1, 1, 16).reshape(4, 4).astype(np.float32)))
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x):
        left, right = paddle.split(self.norm(x), [3, 5], axis=1)
        bias = paddle.index_select(self.table, self.index)  # [8, 4]
        both = paddle.concat([right, left], axis=1) + self.mask
        return paddle.einsum("bchw,cw->bch", both, bias)


class TwoAndTwo(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3)

    def forward(self, image, shift):
        features = self.conv(image)
        return features + shift, nn.functional.softmax(features, axis=1).argmax(1, dtype="int32")


class FreeSizes(nn.Layer):
    """The sizes are read from the input at run time, through shape tensors."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, 2, 1)

    def forward(self, x):
        sizes = paddle.shape(x)
        features = self.conv(x)
        up = nn.functional.interpolate(features, size=sizes[2:], mode="bilinear")
        return paddle.reshape(up, [sizes[0], 2, 2, sizes[2], sizes[3]]).sum(1) + paddle.zeros([sizes[0], 1, 1, 1])


def test_equals_paddle_inference(segmenter, tmp_path):
    assert_equal_to_inference(segmenter, tmp_path, programs.random_feeds(segmenter))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (WrittenInPlace, [2, 3, 6, 6]),
        (PooledAndUnpooled, [1, 2, 8, 8]),
        (ZeroDimensional, [2, 3]),
        (Looked, [2, 8, 4, 4]),
    ],
)
def test_uncommon_operators_equal_paddle_inference(layer, shape, tmp_path):
    program = programs.export(layer(), tmp_path, shape)
    assert_equal_to_inference(program, tmp_path, programs.random_feeds(program))


def test_several_inputs_and_outputs(tmp_path):
    program = programs.export(TwoAndTwo(), tmp_path, [1, 3, 8, 8], [1, 4, 1, 1])
    assert len(program.fetch_names) == 2
    assert_equal_to_inference(program, tmp_path, programs.random_feeds(program))


@pytest.mark.parametrize("shape", [(1, 3, 16, 24), (2, 3, 10, 8)])
def test_sizes_known_only_at_run_time(shape, tmp_path):
    program = programs.export(FreeSizes(), tmp_path, [-1, 3, -1, -1])
    assert_equal_to_inference(program, tmp_path, programs.random_feeds(program, shape))


def test_train_mode_uses_batch_statistics_and_moves_the_running_ones(segmenter):
    net = LiveProgram(segmenter)
    norm = next(op for op in segmenter.ops if op.type == "batch_norm")
    feeds = {"x0": paddle.to_tensor(programs.random_feeds(segmenter)["x0"])}
    before = net.tensor(norm.input("Mean")).numpy().copy()
    net.train()
    _, kept = net.run(feeds, keep=[norm.input("X"), norm.output("Y")])
    batch_mean = kept[norm.input("X")].numpy().mean((0, 2, 3))
    np.testing.assert_allclose(net.tensor(norm.input("Mean")).numpy(), 0.9 * before + 0.1 * batch_mean, atol=1e-5)
    shift = net.tensor(norm.input("Bias")).numpy()
    np.testing.assert_allclose(kept[norm.output("Y")].numpy().mean((0, 2, 3)), shift, atol=1e-5)


def test_dropout_drops_in_train_mode_only(segmenter):
    net = LiveProgram(segmenter)
    dropout = next(op for op in segmenter.ops if op.type == "dropout")
    feeds = [paddle.to_tensor(programs.random_feeds(segmenter)["x0"])]
    net.eval()
    _, kept = net.run(feeds, keep=[dropout.input("X"), dropout.output("Out")])
    np.testing.assert_array_equal(kept[dropout.input("X")].numpy(), kept[dropout.output("Out")].numpy())
    net.train()
    _, kept = net.run(feeds, keep=[dropout.input("X"), dropout.output("Out")])
    before, after = kept[dropout.input("X")].numpy(), kept[dropout.output("Out")].numpy()
    dropped = (after == 0)[before > 0]
    assert 0.4 < dropped.mean() < 0.6
    np.testing.assert_allclose(after[after > 0], 2 * before[after > 0], rtol=1e-6)


def test_every_parameter_gets_a_gradient_and_training_lowers_the_loss(segmenter):
    net = LiveProgram(segmenter)
    net.train()
    image = paddle.to_tensor(programs.random_feeds(segmenter)["x0"])
    labels = paddle.to_tensor(np.random.RandomState(1).randint(0, 3, (2, 32, 32)))
    optimizer = paddle.optimizer.AdamW(1e-2, parameters=net.parameters())
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(net(image), labels, axis=1)
        loss.backward()
        if not losses:
            without = [name for name in net.trained_names() if net.tensor(name).grad is None]
            assert without == []
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]


def test_statistics_and_tables_do_not_train(segmenter, tmp_path):
    net = LiveProgram(segmenter)
    norm = next(op for op in segmenter.ops if op.type == "batch_norm")
    assert norm.input("Scale") in net.trained_names()
    assert norm.input("Mean") not in net.trained_names()
    looked = programs.export(Looked(), tmp_path, [2, 8, 4, 4])
    trained = LiveProgram(looked).trained_names()
    assert sorted(tuple(looked.params[name].shape) for name in trained) == [(8,), (8,), (9, 4)]
    held_back = norm.input("Scale")
    assert held_back not in LiveProgram(segmenter, fixed=[held_back]).trained_names()


def test_untouched_round_trip_is_exact(segmenter):
    again = LiveProgram(segmenter).program()
    assert again.to_bytes() == segmenter.to_bytes()
    assert list(again.params) == list(segmenter.params)
    for name, value in segmenter.params.items():
        np.testing.assert_array_equal(again.params[name], value)


def test_neither_the_source_nor_an_earlier_snapshot_changes_in_training(segmenter):
    values = {name: value.copy() for name, value in segmenter.params.items()}
    net = LiveProgram(segmenter)
    snapshot = net.program()
    net.train()
    optimizer = paddle.optimizer.Momentum(0.1, parameters=net.parameters())
    net(paddle.to_tensor(programs.random_feeds(segmenter)["x0"])).square().mean().backward()
    optimizer.step()
    for name, value in values.items():
        np.testing.assert_array_equal(segmenter.params[name], value)
        np.testing.assert_array_equal(snapshot.params[name], value)


def test_trained_program_runs_in_paddle_inference_with_the_same_result(segmenter, tmp_path):
    net = LiveProgram(segmenter)
    net.train()
    feeds = programs.random_feeds(segmenter)
    optimizer = paddle.optimizer.Momentum(0.1, parameters=net.parameters())
    net(paddle.to_tensor(feeds["x0"])).square().mean().backward()
    optimizer.step()
    trained = net.program()
    changed = [name for name in segmenter.params if not np.array_equal(segmenter.params[name], trained.params[name])]
    assert len(changed) > 10
    assert_equal_to_inference(trained, tmp_path, feeds)
    net.eval()
    with paddle.no_grad():
        live = net(paddle.to_tensor(feeds["x0"])).numpy()
    np.testing.assert_array_equal(live, programs.infer(trained, tmp_path, feeds)[0])


def test_gradients_flow_through_kept_tensors(segmenter):
    net = LiveProgram(segmenter)
    relu = next(op for op in segmenter.ops if op.type == "relu6")
    _, kept = net.run([paddle.to_tensor(programs.random_feeds(segmenter)["x0"])], keep=[relu.output("Out")])
    kept[relu.output("Out")].sum().backward()
    stem = next(op for op in segmenter.ops if op.type == "conv2d").input("Filter")
    head = [op for op in segmenter.ops if op.type == "conv2d"][-1].input("Filter")
    assert float(net.tensor(stem).grad.abs().sum()) > 0
    assert net.tensor(head).grad is None


def test_wrong_names_and_counts_are_input_errors(segmenter):
    net = LiveProgram(segmenter)
    image = paddle.to_tensor(programs.random_feeds(segmenter)["x0"])
    with pytest.raises(InputError, match="no variable 'nowhere'"):
        net.run([image], keep=["nowhere"])
    with pytest.raises(InputError, match="2 inputs given, the program takes 1"):
        net(image, image)
    with pytest.raises(InputError, match=r"inputs \['image'\] given, the program takes \['x0'\]"):
        net.run({"image": image})
    with pytest.raises(InputError, match="no parameter 'nowhere'"):
        net.tensor("nowhere")


def test_unknown_operator_is_named(segmenter):
    next(op for op in segmenter.ops if op.type == "hard_swish").type = "swish_of_tomorrow"
    with pytest.raises(UnsupportedModelError, match="operator 'swish_of_tomorrow'"):
        LiveProgram(segmenter)


def test_unknown_input_slot_is_named(segmenter):
    pool = next(op for op in segmenter.ops if op.type == "pool2d")
    pool.inputs["SizeOfTomorrow"] = [pool.input("X")]
    with pytest.raises(UnsupportedModelError) as caught:
        LiveProgram(segmenter)
    assert "operator 'pool2d'" in str(caught.value)
    assert "input slot 'SizeOfTomorrow'" in str(caught.value)


def test_loops_are_refused(segmenter):
    segmenter.blocks.append(Block(idx=1, parent_idx=0))
    loop = next(op for op in segmenter.ops if op.type == "hard_swish")
    loop.type = "while"
    loop.set_attr("sub_block", 1, "BLOCK")
    with pytest.raises(UnsupportedModelError, match="operator 'while'"):
        LiveProgram(segmenter)


def test_operator_that_paddle_refuses_at_run_time_is_named(segmenter):
    net = LiveProgram(segmenter)
    with pytest.raises(UnsupportedModelError, match="operator 'conv2d'"):
        net(paddle.zeros([1, 5, 32, 32]))
