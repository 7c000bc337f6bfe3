"""Small nets that together hold every operator which `exporter/pir/rules.py` translates, saved by Paddle 3.

Run by an interpreter that has Paddle 3 (nothing else here needs it):

    PADDLE3/bin/python tests/exporter/pir_models.py OUT [NAME ...]

For each net, OUT/NAME gets `model.json` and `model.pdiparams` as `paddle.jit.save` writes them, and `expected.npz` with
an input and what the net gives for it eagerly: `feed0`, ... and `output0`, ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

Net = tuple[Callable[..., object], dict[str, nn.Layer], list[tuple]]
NETS: dict[str, Callable[[], Net]] = {}
IMAGE = ((1, 4, 8, 8), "float32")


def net(function: Callable[..., object], *inputs: tuple, **layers: Callable[[], nn.Layer]) -> None:
    """Registers a `forward` as a net; `layers` make its sublayers. (No decorator: Paddle would trace that too.)"""
    NETS[function.__name__] = lambda: (function, {name: make() for name, make in layers.items()}, list(inputs))


def build(name: str) -> tuple[nn.Layer, list[tuple]]:
    """The net as a layer whose class is named after it, in evaluation mode, with seeded weights; and its inputs."""
    paddle.seed(5)
    random = np.random.default_rng(11)
    function, layers, inputs = NETS[name]()
    kind = type(name.title().replace("_", ""), (nn.Layer,), {"forward": function})
    model = kind()
    for attribute, layer in layers.items():
        setattr(model, attribute, layer)
    for state, tensor in model.state_dict().items():
        value = tensor.numpy()
        if state.endswith(("_mean", "bias")):
            value = random.normal(0, 0.2, value.shape)
        elif state.endswith("_variance"):
            value = random.uniform(0.5, 2, value.shape)
        tensor.set_value(_short(value))
    model.eval()
    return model, inputs


def convolutions(self, x):
    return (
        F.relu(self.batch_norm(self.plain(x))),
        self.same(x),
        self.asymmetric(x),
        self.depthwise(x),
        self.grouped(x),
        self.volume(x.reshape([1, 2, 2, 8, 8])),
        self.line(x.reshape([1, 4, 64])),
    )


net(
    convolutions,
    IMAGE,
    plain=lambda: nn.Conv2D(4, 6, 3, stride=2, padding=1),
    same=lambda: nn.Conv2D(4, 6, 3, padding="SAME", dilation=2, bias_attr=False),
    asymmetric=lambda: nn.Conv2D(4, 6, 3, padding=[1, 0, 2, 1]),
    depthwise=lambda: nn.Conv2D(4, 4, 3, padding=1, groups=4),
    grouped=lambda: nn.Conv2D(4, 6, 1, groups=2),
    batch_norm=lambda: nn.BatchNorm2D(6, epsilon=1e-3),
    volume=lambda: nn.Conv3D(2, 3, 3, padding=1),
    line=lambda: nn.Conv1D(4, 3, 3, padding=1),
)


def transposed_convolutions(self, x):
    return (
        self.plain(x),
        self.padded(x),
        self.sized(x, output_size=[16, 16]),
        self.depthwise(x),
        self.grouped(x),
    )


net(
    transposed_convolutions,
    IMAGE,
    plain=lambda: nn.Conv2DTranspose(4, 3, 2, stride=2),
    padded=lambda: nn.Conv2DTranspose(4, 3, 3, stride=2, padding=1, output_padding=1),
    sized=lambda: nn.Conv2DTranspose(4, 3, 3, stride=2, padding=1),
    depthwise=lambda: nn.Conv2DTranspose(4, 4, 4, stride=2, padding=1, groups=4),
    grouped=lambda: nn.Conv2DTranspose(4, 6, 2, stride=2, groups=2),
)


def normalizations(self, x):
    return (
        self.batch(x),
        self.line(x.reshape([1, 4, 64])),
        self.plain(x),
        self.layer(x),
        self.whole(x),
        self.bare(x),
        self.group(x),
        self.instance(x),
        self.local(x),
        F.normalize(x, axis=1),
        paddle.norm(x, p=2, axis=1),
        paddle.norm(x),
        paddle.norm(x, p=1, axis=-1, keepdim=True),
        paddle.linalg.norm(x, p="fro", axis=[2, 3]),
    )


net(
    normalizations,
    IMAGE,
    batch=lambda: nn.BatchNorm2D(4),
    line=lambda: nn.BatchNorm1D(4),
    plain=lambda: nn.BatchNorm2D(4, weight_attr=False, bias_attr=False),
    layer=lambda: nn.LayerNorm([8]),
    whole=lambda: nn.LayerNorm([4, 8, 8], epsilon=1e-3),
    bare=lambda: nn.LayerNorm([8], weight_attr=False, bias_attr=False),
    group=lambda: nn.GroupNorm(2, 4),
    instance=lambda: nn.InstanceNorm2D(4),
    local=lambda: nn.LocalResponseNorm(3),
)


def activations(self, x):
    return (
        F.relu(x),
        F.relu6(x * 9),
        F.sigmoid(x),
        F.tanh(x),
        F.gelu(x),
        F.gelu(x, approximate=True),
        F.silu(x),
        self.swish(x),
        F.mish(x),
        F.elu(x, 0.7),
        F.celu(x, 0.7),
        F.selu(x),
        F.softplus(x),
        F.softplus(x, beta=2, threshold=1),
        F.softsign(x),
        F.softshrink(x, 0.3),
        F.hardshrink(x, 0.3),
        F.tanhshrink(x),
        F.hardswish(x * 4),
        F.hardsigmoid(x * 4),
        F.hardsigmoid(x * 4, slope=0.2, offset=0.4),
        F.hardtanh(x, -0.5, 0.7),
        F.leaky_relu(x, 0.1),
        F.thresholded_relu(x, 0.3),
        F.log_sigmoid(x),
        F.softmax(x, axis=1),
        F.log_softmax(x, axis=-1),
        F.maxout(x, 2),
        F.rrelu(x, 0.1, 0.3, training=False),
        F.glu(x, axis=1),
        self.prelu(x),
        self.prelu_channel(x),
        paddle.stanh(x),
    )


net(
    activations,
    IMAGE,
    prelu=lambda: nn.PReLU(),
    prelu_channel=lambda: nn.PReLU(4),
    swish=lambda: nn.Swish(),
)


def binary(self, x, y, row):
    a, b = x > y, x > 0
    i, j = (x * 9).astype("int32"), (y * 9).astype("int32")
    return (
        x + y,
        x - row,
        x * row,
        x / (y.abs() + 1),
        paddle.pow(x.abs() + 0.1, y),
        paddle.maximum(x, y),
        paddle.minimum(x, row),
        paddle.fmax(x, y),
        paddle.fmin(x, y),
        i // (j.abs() + 1),
        i % (j.abs() + 1),
        paddle.atan2(x, y),
        paddle.lerp(x, y, 0.3),
        a,
        x >= y,
        x < y,
        x <= y,
        i == j,
        i != j,
        a & b,
        a | b,
        a ^ b,
        ~a,
        paddle.bitwise_and(i, j),
        paddle.bitwise_or(i, j),
        paddle.bitwise_xor(i, j),
        paddle.bitwise_not(i),
        paddle.logical_and(a, b),
        paddle.logical_or(a, b),
        paddle.logical_xor(a, b),
        paddle.logical_not(a),
        paddle.where(a, x, y),
        paddle.add_n([x, y, x]),
        paddle.multiplex([x[0], y[0]], paddle.to_tensor([[0], [1], [1], [0]], dtype="int32")),
        paddle.equal_all(i, j),
        paddle.kron(x[0, 0], y[0, 0]),
    )


net(binary, IMAGE, ((1, 4, 8, 8), "float32"), ((8,), "float32"))


def unary(self, x):
    p = x.abs() + 0.1
    bounded = F.tanh(x) * 0.9
    return (
        x.exp(), p.log(), p.log2(), p.log10(), p.log1p(), paddle.expm1(x), p.sqrt(), p.rsqrt(), x.square(), x.abs(),
        x.floor(), x.ceil(), (x + 0.001).round(), x.sign(), x.sin(), x.cos(), bounded.tan(), bounded.asin(),
        bounded.acos(), x.atan(), x.sinh(), x.cosh(), bounded.atanh(), x.asinh(), (p + 1).acosh(), x.erf(),
        p.reciprocal(), p.pow(3), p**0.5, x.clip(-0.5, 0.4), x.clip(min=0.1), paddle.trunc(x * 5), -x, 1 - x,
        2 * x + 3, x / 4,
        2 / p, paddle.isnan(x), paddle.isinf(x), paddle.isfinite(x), paddle.logit(p / 20, 1e-3),
        paddle.erfinv(bounded),
        paddle.scale(x, 2.0, 1.0, bias_after_scale=False),
    )  # fmt: skip


net(unary, IMAGE)


def reductions(self, x):
    return (
        x.mean(), x.mean(1), x.mean([2, 3], keepdim=True), x.sum(), x.sum(-1), x.sum([1, 2], keepdim=True), x.max(),
        x.max(1, keepdim=True), x.min(), x.min([2, 3]), paddle.amax(x, [1]), paddle.amin(x, [1, 2]), x.prod(1),
        (x > 0).any(1), (x > -9).all(), (x > 0).all([2, 3], keepdim=True), (x > 0).any(), x.logsumexp([1]),
        x.logsumexp(), x.std(1), x.var([2, 3]), (x > 0).sum(1), x.argmax(1), x.argmax(1, keepdim=True), x.argmin(-1),
        x.argmax(), paddle.argmax(x, 1, dtype="int32"), x.cumsum(1), x.cumsum(), x.cumprod(1),
        paddle.count_nonzero(x > 0, axis=1), paddle.dist(x, x * 0.5, 2), paddle.mean(x, axis=[0, 1, 2, 3]),
        paddle.logcumsumexp(x, 1), paddle.trace(x[0, 0]), paddle.kthvalue(x, 3)[0], paddle.mode(x)[0],
        paddle.cummax(x, 1)[0], paddle.cummin(x, 1)[0],
    )  # fmt: skip


net(reductions, IMAGE)


def shapes(self, x):
    row = x[0, 0]
    return (
        x.reshape([1, 2, 2, 64]), x.reshape([0, -1]), x.transpose([0, 2, 3, 1]), x.flatten(1), x.flatten(),
        x.squeeze(0), x.squeeze(), x.unsqueeze(1), x.unsqueeze([0, 3]), x.expand([2, 4, 8, 8]),
        row.expand_as(x), x.tile([1, 2, 1, 3]), paddle.broadcast_to(row, [3, 8, 8]),
        *paddle.broadcast_tensors([x, row]), *paddle.meshgrid(row[0], row[1, :3]),
        paddle.stack([x, x * 2], axis=1), paddle.stack([x, x * 2], axis=-1), *x.unbind(1),
        *paddle.unstack(row, 0)[:2], *paddle.split(x, 2, 1), *paddle.split(x, [1, 3], 1), *paddle.split(x, [1, -1], 1),
        *x.chunk(4, 3)[:2], paddle.concat([x, x + 1], 1), paddle.concat([x, x + 1, x], -1),
        x.roll([1, -2], [2, 3]), x.roll(3), x.flip([2]), x.flip([2, 3]), paddle.rot90(x, 1, [2, 3]),
        x.moveaxis(1, 3), x.T, F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2),
        F.channel_shuffle(x, 2), F.unfold(x, 3, 1, 1), F.fold(F.unfold(x, 2, 2), [8, 8], 2, 2), row.tril(), row.triu(1),
        x.repeat_interleave(2, 1), F.temporal_shift(x.reshape([2, 2, 8, 8]), 2), paddle.diag(row[0]),
        paddle.diagonal(row), paddle.crop(x, [1, 2, 4, 4], [0, 1, 2, 3]), x.numel(), paddle.shape(x),
        paddle.tensordot(row, row, 1),
        paddle.unflatten(x, 1, [2, 2]), x.swapaxes(1, 2), x.squeeze([0]).contiguous(), paddle.atleast_2d(row[0]),
    )  # fmt: skip


net(shapes, IMAGE)


def slices(self, x):
    a, b, c, d, e = x + 0, x + 0, x + 0, x + 0, x + 0
    a[:, 0] = 1.5
    b[:, :, 2:6, ::2] = x[:, :, :4, :4]
    c[0, 1, 2] = paddle.arange(8, dtype="float32")
    d[:, :, -3:, :-3] = 0
    e[:, :, ::-1] = x * 2
    mask = paddle.zeros([1, 8, 8, 1])
    mask[:, 0:-3, -3:, :] = 2
    return (
        x[0], x[0, 1], x[:, 1:3], x[:, :, ::2, 1::3], x[:, :, -3:-1], x[..., 2], x[:, :, ::-1], x[:, None],
        x[:, [0, 2]], x[0, 1, 2, 3], a, b, c, d, e, mask,
        paddle.slice(x, [2, 3], [1, 2], [5, -1]), paddle.strided_slice(x, [2], [6], [0], [-2]),
    )  # fmt: skip


net(slices, IMAGE)


def pads(self, x):
    line = x.reshape([1, 4, 64])
    return (
        F.pad(x, [1, 2, 3, 0]),
        F.pad(x, [1, 2, 3, 0], value=0.5),
        F.pad(x, [1, 2, 3, 1], mode="reflect"),
        F.pad(x, [1, 2, 3, 1], mode="replicate"),
        F.pad(x, [1, 2, 3, 1], mode="circular"),
        F.pad(x, [0, 0, 1, 0, 2, 1, 1, 2], value=-1.0),
        F.pad(line, [1, 2], data_format="NCL"),
        nn.ZeroPad2D(2)(x),
        F.pad(x, [1, 0, 2, 1], data_format="NHWC"),
    )


net(pads, IMAGE)


def gathers(self, x, index):
    row = x[0, 0]
    inside = index % 8
    ordered = row.sort()
    return (
        paddle.gather(row, inside),
        paddle.gather(row, inside, axis=1),
        paddle.gather_nd(row, inside.unsqueeze(1)),
        paddle.index_select(x, inside, axis=2),
        paddle.index_sample(row, inside.unsqueeze(0).expand([8, 5])),
        paddle.take_along_axis(row, inside.unsqueeze(0).expand([8, 5]), 1),
        paddle.put_along_axis(row, inside.unsqueeze(0)[:, :1], 7.0, 1),
        paddle.scatter(row, paddle.arange(2), row[:2] * 2),
        paddle.scatter(row, paddle.arange(2), row[:2] * 2, overwrite=False),
        paddle.scatter_nd_add(row, inside.unsqueeze(1), row[:5]),
        paddle.scatter_nd(inside.unsqueeze(1), row[:5], [8, 8]),
        self.embedding(inside),
        F.one_hot(inside, 8),
        paddle.where(row > 0, row, paddle.zeros_like(row)),
        paddle.masked_fill(row, row > 0, 3.0),
        paddle.masked_select(row, row > 0),
        paddle.nonzero(row > 0),
        *paddle.topk(row, 3),
        *paddle.topk(x, 1, axis=1, largest=False),
        row.sort(axis=0, descending=True),
        row.argsort(),
        paddle.searchsorted(ordered[0], row[1]),
        paddle.index_add(row, inside[:1], 0, row[:1]),
        row[inside],
        row[row > 0],
    )


net(
    gathers,
    IMAGE,
    ((5,), "int64"),
    embedding=lambda: nn.Embedding(8, 3),
)


def pools(self, x):
    pooled, mask = F.max_pool2d(x, 2, return_mask=True)
    return (
        F.max_pool2d(x, 2),
        F.max_pool2d(x, 3, 2, 1),
        F.max_pool2d(x, 3, 2, 0, ceil_mode=True),
        F.max_pool2d(x, 3, 2, "SAME"),
        F.avg_pool2d(x, 2),
        F.avg_pool2d(x, 3, 2, 1),
        F.avg_pool2d(x, 3, 2, 1, exclusive=False),
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.adaptive_avg_pool2d(x, 1),
        F.adaptive_avg_pool2d(x, [3, 5]),
        F.adaptive_avg_pool2d(x, [2, None]),
        F.adaptive_max_pool2d(x, 3),
        F.avg_pool1d(x.reshape([1, 4, 64]), 2),
        F.avg_pool3d(x.unsqueeze(2).tile([1, 1, 2, 1, 1]), 2),
        F.adaptive_avg_pool1d(x.reshape([1, 4, 64]), 5),
        pooled,
        mask,
        F.max_unpool2d(pooled, mask, 2),
    )


net(pools, IMAGE)


def resizes(self, x, other):
    line, volume = x.reshape([1, 4, 64]), x.reshape([1, 2, 2, 8, 8])
    return (
        F.interpolate(x, [16, 12], mode="nearest"),
        F.interpolate(x, scale_factor=2, mode="nearest"),
        F.interpolate(x, [16, 12], mode="bilinear"),
        F.interpolate(x, [5, 3], mode="bilinear", align_corners=True),
        F.interpolate(x, [16, 12], mode="bilinear", align_mode=1),
        F.interpolate(x, scale_factor=[0.5, 2], mode="bilinear"),
        F.interpolate(x, [16, 12], mode="bicubic"),
        F.interpolate(x, [16, 12], mode="bicubic", align_corners=True),
        F.interpolate(line, [32], mode="linear", data_format="NCW"),
        F.interpolate(volume, [4, 4, 4], mode="trilinear", data_format="NCDHW"),
        F.interpolate(x, [4, 4], mode="area"),
        F.interpolate(x, paddle.shape(other)[2:], mode="bilinear"),
        F.interpolate(x, other.shape[2:], mode="bilinear"),
        F.interpolate(x.transpose([0, 2, 3, 1]), [4, 6], mode="bilinear", data_format="NHWC"),
        F.upsample(x, scale_factor=2, mode="bilinear"),
    )


net(resizes, IMAGE, ((1, 4, 5, 3), "float32"))


def attention(self, x):
    tokens = x.reshape([1, 32, 8])
    q = self.norm(self.query(tokens)).reshape([1, 32, 2, 8]).transpose([0, 2, 1, 3])
    weights = F.softmax(paddle.matmul(q, q, transpose_y=True) * 8**-0.5)
    mixed = (weights @ q).transpose([0, 2, 1, 3]).reshape([1, 32, 16])
    return (
        mixed,
        self.multi(mixed),
        self.encoder(mixed),
        paddle.bmm(tokens, tokens.transpose([0, 2, 1])),
        paddle.mv(tokens[0], tokens[0, 0]),
        paddle.dot(tokens[0, 0], tokens[0, 1]),
        paddle.addmm(tokens[0, :8], tokens[0, :8], tokens[0, 8:16], beta=0.5, alpha=2.0),
        paddle.einsum("bic,bjc->bij", tokens, tokens),
        paddle.einsum("bnc,bchw->bnhw", tokens[:, :, :4], x),
        paddle.outer(tokens[0, 0], tokens[0, 1]),
        paddle.matmul(tokens, tokens, transpose_x=True),
        paddle.mm(tokens[0, :8], tokens[0, 8:16]),
        paddle.cross(tokens[0, :3, :], tokens[0, 3:6, :], axis=0),
        self.bilinear(tokens[0], tokens[0]),
        F.cosine_similarity(tokens, tokens * tokens, axis=2),
        paddle.inner(tokens[0], tokens[0]),
    )


net(
    attention,
    IMAGE,
    query=lambda: nn.Linear(8, 16),
    norm=lambda: nn.LayerNorm(16),
    multi=lambda: nn.MultiHeadAttention(16, 2),
    encoder=lambda: nn.TransformerEncoderLayer(16, 2, 8),
    bilinear=lambda: nn.Bilinear(8, 8, 3),
)


def creations(self, x):
    zero = x.sum() * 0
    constant = paddle.to_tensor(np.arange(6, dtype=np.float32).reshape(2, 3) / 7)
    return (
        paddle.full([2, 3], 1.25) + zero,
        paddle.zeros([3]) + zero,
        paddle.ones([3], "int64") + zero.astype("int64"),
        paddle.arange(2, 9, 2) + zero.astype("int64"),
        paddle.arange(0.5, 3, 0.25) + zero,
        paddle.linspace(0, 1, 5) + zero,
        paddle.full_like(x, 2.5),
        paddle.full_like(x, 3, dtype="int32"),
        paddle.zeros_like(x),
        paddle.ones_like(x, dtype="int64"),
        paddle.eye(3) + zero,
        paddle.eye(2, 4) + zero,
        constant + zero,
        paddle.to_tensor([1, 2, 3]) + zero.astype("int64"),
        paddle.to_tensor([True, False]) & (x[0, 0, 0, :2] > -99),
        paddle.to_tensor([1.5, 2.5], dtype="float64") + zero.astype("float64"),
        paddle.full([1], float("inf")) + zero,
        paddle.full([2], 7, dtype="int32") + zero.astype("int32"),
        paddle.assign(x),
        x.clone(),
        x.detach() * 2,
        paddle.assign(x, paddle.zeros_like(x)) + 1,
        x.astype("float64"),
        (x * 4).floor().astype("float16"),
        (x * 10).astype("int32"),
        (x * 10).astype("uint8").astype("int32"),
        x.astype("bool"),
        paddle.full([2, 2], paddle.to_tensor(3.0)) + zero,
        paddle.tril_indices(3, 3, 0) + zero.astype("int64"),
    )


net(creations, IMAGE)


def dynamic(self, x):
    y = self.conv(x)
    size = paddle.shape(x)[2:]
    batch, height = paddle.shape(y)[0], paddle.shape(y)[2]
    return (
        F.interpolate(y, size, mode="bilinear"),
        F.interpolate(y, scale_factor=2, mode="nearest"),
        y.reshape([0, 4, -1]),
        y.reshape([batch, 4, height, -1]),
        y.flatten(2).transpose([0, 2, 1]),
        F.adaptive_avg_pool2d(y, 1),
        F.adaptive_avg_pool2d(x, size // 3),
        F.adaptive_avg_pool2d(x, [height, height]),
        y[:, :, : height // 2],
        paddle.expand(y.mean([2, 3], keepdim=True), [-1, 4, height, height]),
        paddle.zeros([batch, height]) + y.mean(),
        paddle.arange(height),
        paddle.concat([F.interpolate(y, size), x], axis=1),
        paddle.tile(y.mean([2, 3]), [batch, 2]),
    )


net(dynamic, ((-1, 3, -1, -1), "float32"), conv=lambda: nn.Conv2D(3, 4, 3, stride=2, padding=1))


def dropouts(self, x):
    return self.upscaled(x), self.infer(x), self.channel(x)


net(
    dropouts,
    IMAGE,
    upscaled=lambda: nn.Dropout(0.4),
    infer=lambda: nn.Dropout(0.4, mode="downscale_in_infer"),
    channel=lambda: nn.Dropout2D(0.3),
)


def segmentation(self, x):
    """A segmentation net as PaddleSeg's export.py ends it: class indices as int32."""
    y = self.stem(x)
    y = y + self.body(y)
    logits = F.interpolate(self.head(y), x.shape[2:], mode="bilinear", align_corners=False)
    return paddle.argmax(logits, axis=1, dtype="int32")


net(
    segmentation,
    ((1, 3, 32, 32), "float32"),
    stem=lambda: nn.Sequential(nn.Conv2D(3, 8, 3, 2, 1, bias_attr=False), nn.BatchNorm2D(8), nn.ReLU()),
    body=lambda: nn.Sequential(nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.BatchNorm2D(8), nn.Hardswish()),
    head=lambda: nn.Sequential(nn.Dropout2D(0.1), nn.Conv2D(8, 5, 1)),
)


def segmentation_dynamic(self, x):
    """The same with dynamic height and width, and probabilities."""
    logits = F.interpolate(self.head(self.stem(x)), paddle.shape(x)[2:], mode="bilinear", align_corners=False)
    return F.softmax(logits, axis=1)


net(
    segmentation_dynamic,
    ((-1, 3, -1, -1), "float32"),
    stem=lambda: nn.Sequential(nn.Conv2D(3, 6, 3, 2, 1), nn.BatchNorm2D(6), nn.ReLU6()),
    head=lambda: nn.Conv2D(6, 4, 1),
)


def several(self, x, y, z):
    """Inputs and outputs in an order that is not that of their use."""
    last = self.weight(y)
    return z.astype("int32"), last, x.mean([1])


net(several, IMAGE, ((4, 3), "float32"), ((2,), "int64"), weight=lambda: nn.Linear(3, 2))


def vision(self, x, grid, theta, boxes):
    grid = F.tanh(grid)
    boxes = paddle.concat([boxes.abs()[:, :2], boxes.abs()[:, 2:] + 4], 1)
    count, size = paddle.to_tensor([3], dtype="int32"), paddle.to_tensor([[64.0, 64.0]])
    anchors = paddle.arange(512, dtype="float32").reshape([8, 8, 2, 4]) % 40
    anchors = paddle.concat([anchors[..., :2], anchors[..., :2] + 20], -1)
    return (
        F.grid_sample(x, grid),
        F.grid_sample(x, grid, mode="nearest", padding_mode="border", align_corners=False),
        F.affine_grid(theta, [1, 4, 5, 5]),
        paddle.vision.ops.roi_align(x, boxes, count, 3),
        paddle.vision.ops.roi_pool(x, boxes, count, 3),
        paddle.vision.ops.nms(boxes, 0.3),
        paddle.vision.ops.deform_conv2d(
            x, x[:, :2].tile([1, 9, 1, 1])[:, :18], x[0, :, :3, :3].unsqueeze(0), padding=1
        ),
        F.label_smooth(F.softmax(x, 1)),
        paddle.vision.ops.box_coder(
            boxes, [0.1, 0.1, 0.2, 0.2], boxes.unsqueeze(1).tile([1, 3, 1]), "decode_center_size"
        ),
        *paddle.vision.ops.yolo_box(
            x[:, :1].tile([1, 14, 1, 1]), paddle.to_tensor([[64, 64]], dtype="int32"), [10, 13, 16, 30], 2, 0.01, 8
        ),
        *paddle.vision.ops.prior_box(x, x, [2.0], [4.0], [1.0]),
        *paddle.vision.ops.generate_proposals(
            F.sigmoid(x[:, :2]),
            x[:, :2].tile([1, 4, 1, 1]) * 0.1,
            size,
            anchors,
            paddle.ones_like(anchors),
            20,
            5,
            return_rois_num=True,
        ),
        *[
            level
            for levels in paddle.vision.ops.distribute_fpn_proposals(boxes * 30, 2, 4, 3, 60, rois_num=count)[::2]
            for level in levels
        ],
        paddle.vision.ops.distribute_fpn_proposals(boxes * 30, 2, 4, 3, 60, rois_num=count)[1],
        *paddle._C_ops.multiclass_nms3(
            boxes.unsqueeze(0), F.sigmoid(boxes).T.unsqueeze(0), None, 0.1, 5, 5, 0.3, True, 1.0, -1
        ),
        *paddle.vision.ops.matrix_nms(boxes.unsqueeze(0), F.sigmoid(boxes).T.unsqueeze(0), 0.1, 0.1, 5, 5)[:1],
    )


net(vision, IMAGE, ((1, 6, 6, 2), "float32"), ((1, 2, 3), "float32"), ((3, 4), "float32"))


def recurrent(self, x):
    rows = x[0]  # [time, batch, channels]
    backwards, (last, memory) = self.both_ways(rows)
    return backwards, last, memory, *self.gated(rows), self.plain(rows)[0]


net(
    recurrent,
    IMAGE,
    both_ways=lambda: nn.LSTM(8, 6, num_layers=2, direction="bidirect"),
    gated=lambda: nn.GRU(8, 6, time_major=True),
    plain=lambda: nn.SimpleRNN(8, 6),
)


def free_sizes(self, x):
    small = F.avg_pool2d(self.normalize(x), 2)
    one_tensor = paddle.shape(x)[2:] * 2
    return (
        F.interpolate(small, size=x.shape[2:], mode="bilinear"),
        F.interpolate(small, size=one_tensor, mode="nearest"),
        paddle.linspace(0, 1, paddle.shape(x)[3]),
    )


net(free_sizes, ((-1, 4, -1, -1), "float32"), normalize=lambda: nn.InstanceNorm2D(4))


def refused_control_flow(self, x):
    x = self.cell(x)
    if x.mean() > 0:
        x = x * 2
    while x.sum() < 100:
        x = x + 1
    return x


net(refused_control_flow, IMAGE, cell=lambda: nn.Linear(8, 8))


def make(name: str, folder: Path) -> None:
    """Builds a net with seeded weights, saves it, and records what the saved program computes."""
    model, inputs = build(name)
    random = np.random.default_rng(13)
    feed = [_sample(random, dims, dtype) for dims, dtype in inputs]
    specs = [paddle.static.InputSpec(dims, dtype, f"input_{index}") for index, (dims, dtype) in enumerate(inputs)]
    folder.mkdir(parents=True, exist_ok=True)
    paddle.jit.save(paddle.jit.to_static(model, input_spec=specs, full_graph=True), str(folder / "model"))
    outputs = _outputs(paddle.jit.load(str(folder / "model")), feed)
    _must_agree(name, outputs, _outputs(build(name)[0], feed))
    arrays = {f"feed{index}": value for index, value in enumerate(feed)}
    arrays |= {f"output{index}": value for index, value in enumerate(outputs)}
    np.savez_compressed(folder / "expected.npz", **arrays)


def _outputs(model: Callable[..., object], feed: list[np.ndarray]) -> list[np.ndarray]:
    found = model(*[paddle.to_tensor(value) for value in feed])
    return [value.numpy() for value in (found if isinstance(found, (list, tuple)) else [found])]


def _must_agree(name: str, saved: list[np.ndarray], eager: list[np.ndarray]) -> None:
    """Tracing must not have changed the net, or its outputs prove nothing."""
    for index, (a, b) in enumerate(zip(saved, eager, strict=True)):
        if a.shape != b.shape or not np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise RuntimeError(f"{name}: output {index} of the saved program is not what the net computes")


def _sample(random: np.random.Generator, dims: tuple[int, ...], dtype: str) -> np.ndarray:
    dims = tuple(size if size > 0 else free for size, free in zip(dims, (2, 0, 20, 12), strict=False)) or dims
    if dtype.startswith("int"):
        return random.integers(0, 8, dims).astype(dtype)
    return _short(random.normal(0, 1, dims))


def _short(value: np.ndarray) -> np.ndarray:
    """Rounded to few bits, so that fixtures pack well."""
    return (np.round(value * 256) / 256).astype(np.float32)


if __name__ == "__main__":
    for wanted in sys.argv[2:] or list(NETS):
        make(wanted, Path(sys.argv[1]) / wanted)
