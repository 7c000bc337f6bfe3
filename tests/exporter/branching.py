"""Small networks with branches and loops, written as people write them, exported by Paddle.

Run as a script, in a separate process: `python tests/exporter/branching.py OUT_DIR` writes each with a fixed input
size and, as `NAME-free`, with a dynamic one.
"""

# ruff: noqa: SIM108 - Paddle makes a branch of an `if`, and computes both sides of a conditional expression

from __future__ import annotations

import sys
from pathlib import Path

import paddle
from paddle import nn
from paddle.nn import functional as F

SIDE = 32
SPECS = {"": [1, 3, SIDE, SIDE], "-free": [1, 3, None, None]}


class Network(nn.Layer):
    """Two convolutions; what lies between them is the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Conv2D(3, 8, 3, 2, 1), nn.Conv2D(8, 8, 1), nn.Conv2D(8, 8, 1)
        self.last = nn.Conv2D(8, 5, 1)

    def forward(self, image):
        return self.last(self.between(F.relu(self.first(image)), image))


class LoopUntilItFits(Network):
    """The image is halved as often as the features were (as in ESPNetV2)."""

    def between(self, x, image):
        small = image * 1.0  # Paddle declares an input that a loop overwrites with its shape after the loop
        while paddle.shape(small)[2] != paddle.shape(x)[2]:
            small = F.avg_pool2d(small, 3, 2, 1)
        return x + small.mean(1, keepdim=True)


class PadIfUneven(Network):
    """Windows of 5: padded where the size asks for it, and cut back (as in HRFormer)."""

    def between(self, x, image):
        height = paddle.shape(x)[2]
        rest = (5 - height % 5) % 5
        padded = x
        if rest > 0:
            padded = F.pad(padded, [0, 0, 0, 4])
        return self.left(padded)[:, :, :16]


class BranchOnValues(Network):
    """Each side has separate weights."""

    def between(self, x, image):
        if image.mean() > 0.1:
            y = self.left(x)
        else:
            y = F.relu(self.right(x)) * 2
        return y


class OverwrittenInABranch(Network):
    """What holds a value before the branch keeps it on the other side."""

    def between(self, x, image):
        y, count = self.left(x), paddle.zeros([1], "int32")
        if image.mean() > 0.1:
            y = y * 3
            count = count + 2
        return y + count.astype("float32")


class BranchInABranch(Network):
    def between(self, x, image):
        y = x
        if image.mean() > -0.1:
            if image.mean() > 0.1:
                y = self.left(y)
            else:
                y = self.right(y)
            y = y + 1
        return y


class ChosenFlag(Network):
    """A branch that gives a condition."""

    def between(self, x, image):
        flag = x > 1
        if image.mean() > 0.1:
            flag = x > 2
        return paddle.where(flag, x, x * 0.1)


class LoopWithABranchOnValues(Network):
    def between(self, x, image):
        index = paddle.zeros([1], "int32")
        while index < 3:
            if x.mean() > 0.2:
                x = self.left(x)
            else:
                x = x + 0.3
            index = index + 1
        return x


class CollectedInALoop(Network):
    """A list that grows in a loop is an array of tensors."""

    def between(self, x, image):
        rows = []
        for index in range(paddle.shape(x)[1]):
            rows.append(x[:, index] * (index + 1))
        return self.left(paddle.stack(rows, axis=1).reshape([1, 8, SIDE // 2, SIDE // 2]))


class TableOfOneSize(Network):
    """Positions that are added, and resized if the image has another size (as in ViT)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = self.create_parameter([1, 8, SIDE // 2, SIDE // 2], default_initializer=nn.initializer.Normal())

    def between(self, x, image):
        if paddle.shape(x)[2] * paddle.shape(x)[3] == self.table.shape[2] * self.table.shape[3]:
            x = x + self.table
        else:
            x = x + F.interpolate(self.table, paddle.shape(x)[2:], mode="bilinear")
        return x


class LoopOnValues(Network):
    """Refused: the number of iterations depends on the image."""

    def between(self, x, image):
        while x.max() > 0.5:
            x = x * 0.9
        return x


class SidesOfTwoSizes(Network):
    """Refused: the two sides give different sizes."""

    def between(self, x, image):
        y = self.left(x)
        if image.mean() > 0.1:
            y = self.right(x)[:, :, ::2]
        return y


REFUSED = (LoopOnValues, SidesOfTwoSizes)
NETWORKS = (
    LoopUntilItFits, PadIfUneven, BranchOnValues, OverwrittenInABranch, BranchInABranch, ChosenFlag,
    LoopWithABranchOnValues, CollectedInALoop, TableOfOneSize, *REFUSED,
)  # fmt: skip
NAMES = [network.__name__ for network in NETWORKS if network not in REFUSED]


if __name__ == "__main__":
    for network in NETWORKS:
        for suffix, shape in SPECS.items():
            paddle.seed(3)
            model = network()
            model.eval()
            specs = [paddle.static.InputSpec(shape, "float32", "image")]
            path = Path(sys.argv[1]) / f"{network.__name__}{suffix}" / "model"
            paddle.jit.save(paddle.jit.to_static(model, input_spec=specs), str(path))
