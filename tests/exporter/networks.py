"""Networks of which no export is available, written from their papers with small widths.

Run as a script it writes them as inference programs, in a separate process, because Paddle can abort:

    python tests/exporter/networks.py OUT_DIR HEIGHTxWIDTH|free [NAME ... | every]

Without names the small ones of this file; `every` adds those of full width in `networks_full.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import paddle
from networks_full import FULL, SMALL
from paddle import nn
from paddle.nn import functional as F

CLASSES = 19


class ConvBN(nn.Sequential):
    """Convolution, batch normalization and, unless `act` is off, ReLU."""

    def __init__(self, ins: int, outs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, act: bool = True):
        padding = dilation * (kernel // 2)
        layers = [nn.Conv2D(ins, outs, kernel, stride, padding, dilation, bias_attr=False), nn.BatchNorm2D(outs)]
        super().__init__(*layers, *([nn.ReLU()] if act else []))


class Bottleneck(nn.Layer):
    """The residual unit of He et al. 2016 (fig. 5)."""

    def __init__(self, ins: int, outs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        inner = outs // 4
        self.body = nn.Sequential(
            ConvBN(ins, inner, 1), ConvBN(inner, inner, 3, stride, dilation), ConvBN(inner, outs, 1, act=False)
        )
        self.skip = ConvBN(ins, outs, 1, stride, act=False) if (ins, stride) != (outs, 1) else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


# -- ICNet: Zhao et al., ICNet for Real-Time Semantic Segmentation on High-Resolution Images, ECCV 2018 -------------


class CascadeFusion(nn.Layer):
    """Cascade feature fusion (section 4.2): the coarser map, doubled and dilated, plus the finer one's projection."""

    def __init__(self, coarse: int, fine: int, outs: int) -> None:
        super().__init__()
        self.coarse = ConvBN(coarse, outs, 3, dilation=2, act=False)
        self.fine = ConvBN(fine, outs, 1, act=False)

    def forward(self, coarse, fine):
        doubled = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True)
        return F.relu(self.coarse(doubled) + self.fine(fine))


class ICNet(nn.Layer):
    """Three resolutions (section 4.1): the lower two share the first layers, the full one has three convolutions."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        wide = 4 * width
        self.stem = nn.Sequential(ConvBN(3, width, 3, 2), ConvBN(width, width), nn.MaxPool2D(3, 2, 1))
        self.shared = nn.Sequential(Bottleneck(width, wide), Bottleneck(wide, wide, 2))
        self.deep = nn.Sequential(Bottleneck(wide, wide, dilation=2), Bottleneck(wide, wide, dilation=4))
        self.full = nn.Sequential(ConvBN(3, width, 3, 2), ConvBN(width, width, 3, 2), ConvBN(width, wide, 3, 2))
        self.fuse_quarter = CascadeFusion(wide, wide, wide)
        self.fuse_half = CascadeFusion(wide, wide, wide)
        self.classify = nn.Conv2D(wide, CLASSES, 1)

    def forward(self, image):
        half = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=True)
        quarter = F.interpolate(image, scale_factor=0.25, mode="bilinear", align_corners=True)
        middle = self.shared(self.stem(half))
        low = self.deep(self.shared(self.stem(quarter)))
        size = low.shape[2:]
        pools = [F.adaptive_avg_pool2d(low, bins) for bins in (1, 2, 3, 6)]  # summed, not joined
        low = low + sum(F.interpolate(pool, size=size, mode="bilinear", align_corners=True) for pool in pools)
        fused = self.fuse_half(self.fuse_quarter(low, middle), self.full(image))
        fused = F.interpolate(fused, scale_factor=2, mode="bilinear", align_corners=True)
        return F.interpolate(self.classify(fused), scale_factor=4, mode="bilinear", align_corners=True)


# -- LaneNet: Neven et al., Towards End-to-End Lane Detection: an Instance Segmentation Approach, IV 2018 ----------


class Unit(nn.Layer):
    """A bottleneck of ENet (Paszke et al. 2016, fig. 2b): plain, dilated or asymmetric."""

    def __init__(self, width: int, dilation: int = 1, asymmetric: bool = False) -> None:
        super().__init__()
        inner = width // 4
        main: list[nn.Layer] = [nn.Conv2D(inner, inner, 3, padding=dilation, dilation=dilation)]
        if asymmetric:
            main = [nn.Conv2D(inner, inner, (5, 1), padding=(2, 0)), nn.Conv2D(inner, inner, (1, 5), padding=(0, 2))]
        self.body = nn.Sequential(
            nn.Conv2D(width, inner, 1), nn.BatchNorm2D(inner), nn.PReLU(inner),
            *main, nn.BatchNorm2D(inner), nn.PReLU(inner),
            nn.Conv2D(inner, width, 1), nn.BatchNorm2D(width),
        )  # fmt: skip
        self.act = nn.PReLU(width)

    def forward(self, x):
        return self.act(x + self.body(x))


class Down(nn.Layer):
    """ENet's downsampling: a strided branch and max pooling, which remembers where its maxima were."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.more = outs - ins
        self.body = nn.Sequential(nn.Conv2D(ins, outs, 2, 2), nn.BatchNorm2D(outs), nn.PReLU(outs))
        self.act = nn.PReLU(outs)

    def forward(self, x):
        pooled, where = F.max_pool2d(x, 2, 2, return_mask=True)
        pooled = paddle.concat([pooled, paddle.zeros([1, self.more, *pooled.shape[2:]])], axis=1)
        return self.act(pooled + self.body(x)), where


class Up(nn.Layer):
    """ENet's upsampling: the maxima go back to where they came from."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.project = ConvBN(ins, outs, 1, act=False)
        self.body = nn.Sequential(nn.Conv2DTranspose(ins, outs, 2, 2), nn.BatchNorm2D(outs), nn.PReLU(outs))
        self.act = nn.PReLU(outs)

    def forward(self, x, where):
        return self.act(F.max_unpool2d(self.project(x), where, 2, 2) + self.body(x))


class Branch(nn.Layer):
    """The third stage and the decoder, which are separate for each task (section II-A)."""

    def __init__(self, width: int, outs: int) -> None:
        super().__init__()
        self.stage = nn.Sequential(Unit(4 * width), Unit(4 * width, dilation=2), Unit(4 * width, asymmetric=True))
        self.up, self.refine = Up(4 * width, 2 * width), Unit(2 * width)
        self.last_up = Up(2 * width, width)
        self.out = nn.Conv2DTranspose(width, outs, 2, 2)

    def forward(self, x, first, second):
        x = self.refine(self.up(self.stage(x), second))
        return self.out(self.last_up(x, first))


class LaneNet(nn.Layer):
    """Two heads: lane or background, and an embedding of 4 dimensions in which the pixels of a lane are close."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.initial = nn.Conv2D(3, width - 3, 3, 2, 1)
        self.norm = nn.Sequential(nn.BatchNorm2D(width), nn.PReLU(width))
        self.down1, self.stage1 = Down(width, 2 * width), Unit(2 * width)
        self.down2 = Down(2 * width, 4 * width)
        self.stage2 = nn.Sequential(Unit(4 * width, dilation=4), Unit(4 * width, asymmetric=True))
        self.binary, self.embedding = Branch(width, 2), Branch(width, 4)

    def forward(self, image):
        x = self.norm(paddle.concat([self.initial(image), F.max_pool2d(image, 2, 2)], axis=1))
        x, first = self.down1(x)
        x, second = self.down2(self.stage1(x))
        x = self.stage2(x)
        return self.binary(x, first, second), self.embedding(x, first, second)


# -- Neven et al., Instance Segmentation by Jointly Optimizing Spatial Embeddings and Clustering Bandwidth, CVPR 2019 --


class Halve(nn.Layer):
    """Downsampler of ERFNet (Romera et al. 2018): a strided convolution beside max pooling."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2D(ins, outs - ins, 3, 2, 1), nn.BatchNorm2D(outs)

    def forward(self, x):
        return F.relu(self.norm(paddle.concat([self.conv(x), F.max_pool2d(x, 2, 2)], axis=1)))


class Factorized(nn.Layer):
    """Non-bottleneck-1D of ERFNet: 3x1 and 1x3 convolutions, the second pair dilated, with a residual."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2D(width, width, (3, 1), padding=(1, 0)), nn.ReLU(),
            nn.Conv2D(width, width, (1, 3), padding=(0, 1)), nn.BatchNorm2D(width), nn.ReLU(),
            nn.Conv2D(width, width, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)), nn.ReLU(),
            nn.Conv2D(width, width, (1, 3), padding=(0, dilation), dilation=(1, dilation)), nn.BatchNorm2D(width),
            nn.Dropout2D(0.3),
        )  # fmt: skip

    def forward(self, x):
        return F.relu(x + self.body(x))


def doubled(ins: int, outs: int) -> nn.Sequential:
    """Upsampler of ERFNet."""
    up = nn.Conv2DTranspose(ins, outs, 3, 2, 1, output_padding=1)
    return nn.Sequential(up, nn.BatchNorm2D(outs), nn.ReLU())


def decoder(width: int, outs: int) -> nn.Sequential:
    return nn.Sequential(
        doubled(4 * width, 2 * width), Factorized(2 * width),
        doubled(2 * width, width), Factorized(width),
        nn.Conv2DTranspose(width, outs, 2, 2),
    )  # fmt: skip


class SpatialEmbedding(nn.Layer):
    """Two heads (section 3.3): seediness of each class, and offsets to the instance's centre with their bandwidths."""

    def __init__(self, width: int = 16, classes: int = 1) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            Halve(3, width), Halve(width, 2 * width), Factorized(2 * width),
            Halve(2 * width, 4 * width), *[Factorized(4 * width, dilation) for dilation in (2, 4, 8)],
        )  # fmt: skip
        self.seed, self.instance = decoder(width, classes), decoder(width, 4)

    def forward(self, image):
        features = self.encoder(image)
        offset, bandwidth = paddle.split(self.instance(features), [2, 2], axis=1)
        instance = paddle.concat([paddle.tanh(offset), paddle.exp(bandwidth * 0.1)], axis=1)
        return F.sigmoid(self.seed(features)), instance


# -- GCNet: Cao et al., Non-local Networks Meet Squeeze-Excitation Networks and Beyond, ICCVW 2019 -----------------


class GlobalContext(nn.Layer):
    """The global context block (fig. 4d): attention pooling, a bottleneck with layer normalization, an addition."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        self.attention = nn.Conv2D(width, 1, 1)
        inner = width // ratio
        self.transform = nn.Sequential(
            nn.Conv2D(width, inner, 1), nn.LayerNorm([inner, 1, 1]), nn.ReLU(), nn.Conv2D(inner, width, 1)
        )

    def forward(self, x):
        batch, channels = x.shape[:2]
        weights = F.softmax(self.attention(x).reshape([batch, 1, -1]), axis=2).unsqueeze(-1)  # [N, 1, HW, 1]
        pixels = x.reshape([batch, channels, -1]).unsqueeze(1)  # [N, 1, C, HW]
        context = paddle.matmul(pixels, weights).reshape([batch, channels, 1, 1])
        return x + self.transform(context)


class GCNet(nn.Layer):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        wide = 4 * width
        self.backbone = nn.Sequential(
            ConvBN(3, width, 3, 2), nn.MaxPool2D(3, 2, 1),
            Bottleneck(width, wide), GlobalContext(wide), Bottleneck(wide, wide, 2), GlobalContext(wide),
            Bottleneck(wide, wide, dilation=2), GlobalContext(wide),
        )  # fmt: skip
        self.head = nn.Sequential(ConvBN(wide, wide), nn.Dropout2D(0.1), nn.Conv2D(wide, CLASSES, 1))

    def forward(self, image):
        logits = self.head(self.backbone(image))
        return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)


NETWORKS = {"icnet": ICNet, "lanenet": LaneNet, "spatial_embedding": SpatialEmbedding, "gcnet": GCNet}
BY_NAME = {**NETWORKS, **SMALL, **FULL}


def save(name: str, folder: Path, size: tuple[int, int]) -> None:
    """Writes one network with seeded weights and an input of this size (height, width; -1 is dynamic)."""
    paddle.seed(7)
    net = BY_NAME[name]()
    net.eval()
    spec = paddle.static.InputSpec([1, 3, *size], "float32", "image")
    paddle.jit.save(paddle.jit.to_static(net, input_spec=[spec]), str(folder / name))


if __name__ == "__main__":
    height, _, width = sys.argv[2].replace("free", "-1").partition("x")
    wanted = sys.argv[3:] or NETWORKS
    for name in {**NETWORKS, **FULL} if wanted == ["every"] else wanted:
        save(name, Path(sys.argv[1]), (int(height), int(width or height)))
