"""Networks of full width and depth of which no export is available, written from their papers.

They take a minute each through the toolchain: `benchmarks/zoo_coverage.py --networks` runs them, the tests run the
same classes with small widths. `networks.py` writes them, when they are named.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

CLASSES = 19

# -- SegFormer: Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers, 2021 --


class Attention(nn.Layer):
    """Efficient self-attention (section 3.1): keys and values come from a map made smaller by `reduction`."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.reduce = nn.Conv2D(width, width, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(width) if reduction > 1 else None

    def forward(self, x, size):
        batch, count, width = paddle.shape(x)[0], paddle.shape(x)[1], x.shape[2]
        query = self.query(x).reshape([batch, count, self.heads, width // self.heads]).transpose([0, 2, 1, 3])
        if self.reduce is not None:
            small = self.reduce(x.transpose([0, 2, 1]).reshape([batch, width, *size]))
            x = self.norm(small.flatten(2).transpose([0, 2, 1]))
        key_value = self.key_value(x).reshape([batch, -1, 2, self.heads, width // self.heads])
        key, value = key_value.transpose([2, 0, 3, 1, 4])
        weights = F.softmax(paddle.matmul(query, key, transpose_y=True) * self.scale, axis=-1)
        return self.out(paddle.matmul(weights, value).transpose([0, 2, 1, 3]).reshape([batch, count, width]))


class MixFFN(nn.Layer):
    """Two linear layers with a depthwise convolution between them, which replaces positional encodings."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        inner = ratio * width
        self.expand, self.shrink = nn.Linear(width, inner), nn.Linear(inner, width)
        self.depthwise = nn.Conv2D(inner, inner, 3, padding=1, groups=inner)

    def forward(self, x, size):
        x = self.expand(x)
        image = x.transpose([0, 2, 1]).reshape([paddle.shape(x)[0], x.shape[2], *size])
        return self.shrink(F.gelu(self.depthwise(image).flatten(2).transpose([0, 2, 1])))


class Stage(nn.Layer):
    """Overlapping patches, transformer blocks, a normalization; out comes an image again."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int, depth: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.embed, self.embed_norm = nn.Conv2D(ins, outs, kernel, stride, kernel // 2), nn.LayerNorm(outs)
        self.norms = nn.LayerList([nn.LayerNorm(outs) for _ in range(2 * depth)])
        self.attentions = nn.LayerList([Attention(outs, heads, reduction) for _ in range(depth)])
        self.mixes = nn.LayerList([MixFFN(outs) for _ in range(depth)])
        self.norm = nn.LayerNorm(outs)

    def forward(self, image):
        image = self.embed(image)
        size = paddle.shape(image)[2:]
        x = self.embed_norm(image.flatten(2).transpose([0, 2, 1]))
        for index, attention in enumerate(self.attentions):
            x = x + attention(self.norms[2 * index](x), size)
            x = x + self.mixes[index](self.norms[2 * index + 1](x), size)
        return self.norm(x).transpose([0, 2, 1]).reshape([paddle.shape(x)[0], x.shape[2], *size])


class SegFormer(nn.Layer):
    """The hierarchical encoder (table 6 of the paper's appendix) and the all-MLP decoder (section 3.2)."""

    def __init__(self, widths, depths, heads=(1, 2, 5, 8), reductions=(8, 4, 2, 1), decoder: int = 768) -> None:
        super().__init__()
        shapes = zip((3, *widths[:-1]), widths, (7, 3, 3, 3), (4, 2, 2, 2), depths, heads, reductions, strict=True)
        self.stages = nn.LayerList([Stage(*shape) for shape in shapes])
        self.unify = nn.LayerList([nn.Linear(width, decoder) for width in widths])
        self.fuse = nn.Sequential(
            nn.Conv2D(4 * decoder, decoder, 1, bias_attr=False), nn.BatchNorm2D(decoder), nn.ReLU(), nn.Dropout2D(0.1)
        )
        self.classify = nn.Conv2D(decoder, CLASSES, 1)

    def forward(self, image):
        x, maps = image, []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            unified = self.unify[index](x.flatten(2).transpose([0, 2, 1])).transpose([0, 2, 1])
            maps.append(unified.reshape([paddle.shape(x)[0], unified.shape[1], *paddle.shape(x)[2:]]))
        size = paddle.shape(maps[0])[2:]
        same = [maps[0]] + [F.interpolate(one, size, mode="bilinear", align_corners=False) for one in maps[1:]]
        logits = self.classify(self.fuse(paddle.concat(same[::-1], axis=1)))
        return F.interpolate(logits, paddle.shape(image)[2:], mode="bilinear", align_corners=False)


# -- GCNet: Cao et al., Non-local Networks Meet Squeeze-Excitation Networks and Beyond, ICCVW 2019 -----------------


def conv_norm(ins: int, outs: int, kernel: int = 1, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2D(ins, outs, kernel, stride, dilation * (kernel // 2), dilation, bias_attr=False)
    return nn.Sequential(convolution, nn.BatchNorm2D(outs))


class GlobalContext(nn.Layer):
    """The global context block (fig. 4d), whatever the size of the image."""

    def __init__(self, width: int, ratio: int = 16) -> None:
        super().__init__()
        inner = max(width // ratio, 1)
        self.attention = nn.Conv2D(width, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2D(width, inner, 1), nn.LayerNorm([inner, 1, 1]), nn.ReLU(), nn.Conv2D(inner, width, 1)
        )

    def forward(self, x):
        weights = F.softmax(self.attention(x).flatten(2), axis=2)  # [N, 1, HW]
        context = paddle.matmul(x.flatten(2), weights, transpose_y=True)  # [N, C, 1]
        return x + self.transform(context.unsqueeze(-1))


class ContextBottleneck(nn.Layer):
    """A bottleneck of ResNet-50 with a global context block before the addition (section 4.1)."""

    def __init__(self, ins: int, outs: int, stride: int, dilation: int, context: bool) -> None:
        super().__init__()
        inner = outs // 4
        self.body = nn.Sequential(
            conv_norm(ins, inner), nn.ReLU(), conv_norm(inner, inner, 3, stride, dilation), nn.ReLU(),
            conv_norm(inner, outs), GlobalContext(outs) if context else nn.Identity(),
        )  # fmt: skip
        self.skip = conv_norm(ins, outs, 1, stride) if (ins, stride) != (outs, 1) else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


class GCNet(nn.Layer):
    """ResNet with dilated last stages (output stride 8), global context in c3 to c5, and a convolutional head."""

    def __init__(self, depths=(3, 4, 6, 3), width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Layer] = [conv_norm(3, width, 7, 2), nn.ReLU(), nn.MaxPool2D(3, 2, 1)]
        ins = width
        for stage, (depth, stride, dilation) in enumerate(zip(depths, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)):
            outs = 4 * width * 2**stage
            for index in range(depth):
                layers.append(ContextBottleneck(ins, outs, stride if index == 0 else 1, dilation, stage > 0))
                ins = outs
        self.backbone = nn.Sequential(*layers)
        self.head = nn.Sequential(
            conv_norm(ins, ins // 4, 3), nn.ReLU(), nn.Dropout2D(0.1), nn.Conv2D(ins // 4, CLASSES, 1)
        )

    def forward(self, image):
        logits = self.head(self.backbone(image))
        return F.interpolate(logits, paddle.shape(image)[2:], mode="bilinear", align_corners=False)


FULL = {
    "segformer_b5": lambda: SegFormer((64, 128, 320, 512), (3, 6, 40, 3)),
    "gcnet_r50": GCNet,
}
SMALL = {
    "segformer_small": lambda: SegFormer((8, 16, 40, 64), (1, 2, 1, 1), decoder=32),
    "gcnet_small": lambda: GCNet((1, 1, 1, 1), 8),
}
