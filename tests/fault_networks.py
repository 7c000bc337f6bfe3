"""Small networks that Paddle 2.6.2's graph optimization gets wrong, each in its own way, and a sound one.

A script, in a separate process because Paddle can abort; `faults.make_networks` runs it:

    python tests/fault_networks.py OUT_DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from faults import CLASSES, DEPLOY, HEIGHT, WIDTH
from paddle import nn
from paddle.nn import functional as F


class Sound(nn.Layer):
    """Nothing that a pass could get wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.classify = nn.Conv2D(3, 8, 3, padding=1), nn.Conv2D(8, CLASSES, 1)

    def forward(self, image):
        return self.classify(F.relu(self.features(image)))


class DynamicFilter(Sound):
    """A depthwise filter worked out from the image (He et al., Dynamic Multi-Scale Filters, ICCV 2019).

    oneDNN keeps the filter of the first image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv2D(3, 8, 1)

    def forward(self, image):
        filter = self.filter(F.adaptive_avg_pool2d(image, 3)).reshape([8, 1, 3, 3])
        return self.classify(F.conv2d(F.relu(self.features(image)), filter, padding=1, groups=8))


class Attention(Sound):
    """Self-attention whose keys are not transposed in memory.

    oneDNN's fusion of reshape, transpose and product is wrong, from the first image on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2D(8, 8, 1) for _ in range(3))

    def forward(self, image):
        x = F.avg_pool2d(F.relu(self.features(image)), 4)
        height, width = HEIGHT // 4, WIDTH // 4
        heads = [1, 2, 4, height * width]
        query = self.query(x).reshape(heads).transpose([0, 1, 3, 2])
        value = self.value(x).reshape(heads).transpose([0, 1, 3, 2])
        mixed = paddle.matmul(F.softmax(paddle.matmul(query, self.key(x).reshape(heads)), -1), value)
        x = x + mixed.transpose([0, 1, 3, 2]).reshape([1, 8, height, width])
        return F.interpolate(self.classify(x), scale_factor=4, mode="bilinear")


class Words(Sound):
    """Word vectors through two layers (Wu et al., GINet, ECCV 2020): products of parameters alone.

    The pass that fuses repeated layers looks for what made their input, and ends the process by SIGSEGV.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words, self.first, self.second = self.create_parameter([5, 12]), nn.Linear(12, 8), nn.Linear(8, 8)

    def forward(self, image):
        words = F.relu(self.second(F.relu(self.first(self.words)))).mean(0)
        return self.classify(F.relu(self.features(image) + words.reshape([1, 8, 1, 1])))


NETWORKS = {"sound": Sound, "dynamic_filter": DynamicFilter, "attention": Attention, "words": Words}


def save(name: str, folder: Path) -> None:
    """Writes one network with seeded weights, as PaddleSeg's export.py does."""
    net, random = NETWORKS[name](), np.random.default_rng(1)
    for parameter in net.parameters():
        fan_in = np.prod(parameter.shape[1:]) if len(parameter.shape) == 4 else 4
        parameter.set_value(random.normal(0, np.sqrt(2 / fan_in), parameter.shape).astype(np.float32))
    net.eval()
    spec = paddle.static.InputSpec([1, 3, HEIGHT, WIDTH], "float32", "image")
    paddle.jit.save(paddle.jit.to_static(net, input_spec=[spec]), str(folder / "model"))
    (folder / "deploy.yaml").write_text(DEPLOY)


if __name__ == "__main__":
    for name in NETWORKS:
        save(name, Path(sys.argv[1]) / name)
