from __future__ import annotations

import numpy as np
import paddle
import programs
import pytest
from paddle import nn

from segexport.compress.channel_analysis import analyze
from segexport.compress.channel_cut import cut
from segexport.compress.live_program import LiveProgram
from segexport.compress.prune import prune
from segexport.compress.reconstruct import kept_rows, reconstruct


def run(program, images: np.ndarray) -> np.ndarray:
    net = LiveProgram(program)
    net.eval()
    with paddle.no_grad():
        return net(paddle.to_tensor(images)).numpy()


class Redundant(nn.Layer):
    """Channels 8 to 15 of the first filter are mixtures of channels 0 to 7: nothing is lost with them."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2D(3, 16, 3, padding=1, bias_attr=False), nn.BatchNorm2D(16)
        self.second, self.after = nn.Conv2D(16, 8, 3, 2, padding=1, bias_attr=False), nn.BatchNorm2D(8)
        self.head = nn.Conv2D(8, 2, 1)

    def forward(self, x):
        return self.head(nn.functional.relu(self.after(self.second(self.norm(self.first(x))))))


@pytest.fixture
def redundant(tmp_path):
    paddle.seed(3)
    net = Redundant()
    random = np.random.RandomState(1)
    weights = net.first.weight.numpy()
    weights[8:] = np.einsum("ij,jkhw->ikhw", random.uniform(-1, 1, (8, 8)), weights[:8])
    net.first.weight.set_value(weights)
    return programs.export(net, tmp_path, [1, 3, 16, 16])


def images(count: int, seed: int) -> list[np.ndarray]:
    random = np.random.RandomState(seed)
    return [random.standard_normal((1, 3, 16, 16)).astype(np.float32) for _ in range(count)]


def test_what_the_other_channels_can_say_comes_back(redundant):
    graph = analyze(redundant)
    removed = graph.groups[0].units[8:]
    broken = cut(graph, removed)
    mended = reconstruct(redundant, broken, kept_rows(graph, removed), images(24, 0), ridge=1e-6)
    (unseen,) = images(1, 99)
    expected = run(redundant, unseen)
    error = np.abs(run(broken, unseen) - expected).max()
    assert np.abs(run(mended, unseen) - expected).max() < 1e-2 * error


def test_the_mean_that_is_lost_comes_back_through_the_norm(tmp_path):
    """A channel that is constant leaves a constant behind: no weight can give it, BatchNorm's mean can."""
    paddle.seed(3)
    net = programs.randomize_norms(Redundant())
    scale, shift = net.norm.weight.numpy(), net.norm.bias.numpy()
    scale[8:], shift[8:] = 0, 3
    net.norm.weight.set_value(scale)
    net.norm.bias.set_value(shift)
    net.second = nn.Conv2D(16, 8, 1, bias_attr=False)  # without padding, where the constant would end
    program = programs.export(net, tmp_path, [1, 3, 16, 16])
    graph = analyze(program)
    removed = graph.groups[0].units[8:]
    broken = cut(graph, removed)
    mended = reconstruct(program, broken, kept_rows(graph, removed), images(4, 0))
    (unseen,) = images(1, 99)
    assert np.abs(run(broken, unseen) - run(program, unseen)).max() > 0.1
    np.testing.assert_allclose(run(mended, unseen), run(program, unseen), atol=1e-3)


def test_a_whole_net_comes_closer(tmp_path):
    paddle.seed(5)
    program = programs.export(programs.randomize_norms(programs.SmallSegmenter()), tmp_path, [1, 3, 32, 32])
    graph = analyze(program)
    found = prune(program, 0.5, graph=graph, align=1)
    random = np.random.RandomState(0)
    seen = [random.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(16)]
    mended = reconstruct(program, found.program, kept_rows(graph, found.removed), seen)
    (unseen,) = [random.standard_normal((1, 3, 32, 32)).astype(np.float32)]
    expected = run(program, unseen)
    before, after = (np.square(run(each, unseen) - expected).mean() for each in (found.program, mended))
    assert after < 0.7 * before
    assert {name: value.shape for name, value in mended.params.items()} == {
        name: value.shape for name, value in found.program.params.items()
    }
