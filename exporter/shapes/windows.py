"""Shape rules for convolutions, pooling, resizing and padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from segexport.exporter.program import Op
from segexport.exporter.shapes.context import Context, Dims, NoRule, Rule


def _windows(context: Context, dims: Dims, kernel: Sequence[int], ceil_mode: bool = False) -> list[int]:
    """The output's spatial sizes of a convolution or pooling: [depth,] height, width."""
    op, rank = context.op, len(kernel)
    strides, dilations = op.attr("strides", [1] * rank), op.attr("dilations", [1] * rank)
    pads = op.attr("paddings", [0] * rank)
    pads = [side for both in pads for side in (both, both)] if len(pads) == rank else pads
    algorithm, out = op.attr("padding_algorithm", "EXPLICIT"), []
    for axis in range(rank):
        size, stride = dims[axis], strides[axis]
        dilation = 1 if algorithm == "SAME" else dilations[axis]  # Paddle ignores the dilation for SAME
        span = dilation * (kernel[axis] - 1) + 1
        if size < 0:
            out.append(-1)
        elif algorithm == "SAME":
            out.append(-(-size // stride))
        else:
            room = size - span + (pads[2 * axis] + pads[2 * axis + 1] if algorithm == "EXPLICIT" else 0)
            if room < 0:
                raise ValueError(f"a window of {span} pixels over {size}")
            out.append((ceil(room / stride) if ceil_mode else room // stride) + 1)
    return out


def _placed(op: Op, dims: Dims, channels: int, spatial: Sequence[int], attr: str = "data_format") -> Dims:
    if op.attr(attr, "").endswith("C"):
        return (dims[0], *spatial, channels)
    return (dims[0], channels, *spatial)


def _spatial(op: Op, dims: Dims, attr: str = "data_format") -> Dims:
    return dims[1:-1] if op.attr(attr, "").endswith("C") else dims[2:]


def _conv(context: Context) -> Dims:
    dims, weight = context.dims("Input"), context.dims("Filter")
    channels = dims[-1] if context.op.attr("data_format", "").endswith("C") else dims[1]
    if channels not in (-1, weight[1] * context.op.attr("groups", 1)):
        raise ValueError(f"{channels} channels into a filter {list(weight)}")
    return _placed(context.op, dims, weight[0], _windows(context, _spatial(context.op, dims), weight[2:]))


def _conv_transpose(context: Context) -> Dims:
    op, dims, weight = context.op, context.dims("Input"), context.dims("Filter")
    pads = op.attr("paddings", [0, 0])
    pads = [pads[0], pads[0], pads[1], pads[1]] if len(pads) == 2 else pads
    wanted, more = op.attr("output_size") or [], op.attr("output_padding") or [0, 0]
    out = []
    for axis, size in enumerate(_spatial(op, dims)):
        span = op.attr("dilations", [1, 1])[axis] * (weight[2 + axis] - 1) + 1
        full = (
            (size - 1) * op.attr("strides")[axis] - pads[2 * axis] - pads[2 * axis + 1] + span + more[axis % len(more)]
        )
        out.append(wanted[axis % len(wanted)] if wanted else -1 if size < 0 else full)
    return _placed(op, dims, weight[1] * op.attr("groups", 1), out)


def _pool(context: Context) -> Dims:
    op, dims = context.op, context.dims()
    channels = dims[-1] if op.attr("data_format", "").endswith("C") else dims[1]
    if op.attr("global_pooling"):
        spatial = [1] * (len(dims) - 2)
    elif op.attr("adaptive"):
        spatial = op.attr("ksize")
    else:
        spatial = _windows(context, _spatial(op, dims), op.attr("ksize"), op.attr("ceil_mode", False))
    return _placed(op, dims, channels, spatial)


def _interp(context: Context) -> Dims:
    op, dims = context.op, context.dims()
    spatial = _spatial(op, dims, "data_layout")
    scale = list(op.attr("scale") or [])
    sizes = [op.attr(name, -1) for name in ("out_d", "out_h", "out_w")][3 - len(spatial) :]
    if (given := op.input("Scale")) is not None:
        if given not in context.values:
            raise NoRule
        scale = context.values[given].reshape(-1).tolist()
    if op.input("OutSize") or op.inputs.get("SizeTensor"):
        sizes = context.integers("", "OutSize", "SizeTensor")
    elif scale and scale[0] > 0:
        scale = scale * len(spatial) if len(scale) == 1 else scale
        factors = np.array(scale, np.float32)  # Paddle's product is a float32: 10 * 0.7 is 7
        sizes = [-1 if size < 0 else int(np.float32(size) * by) for size, by in zip(spatial, factors, strict=True)]
    return _placed(op, dims, dims[-1] if op.attr("data_layout") == "NHWC" else dims[1], sizes, "data_layout")


def _unpool(context: Context) -> Dims:
    """An export of dynamic size computed `output_size` from -1: then the size follows from the windows."""
    op, (batch, channels, *spatial) = context.op, context.dims()
    wanted = op.attr("output_size")
    if all(size > 0 for size in wanted):
        return (batch, channels, *wanted)
    windows = zip(spatial, op.attr("strides"), op.attr("paddings"), op.attr("ksize"), strict=True)
    return (batch, channels, *(-1 if size < 0 else (size - 1) * step - 2 * pad + k for size, step, pad, k in windows))


def _pad(context: Context) -> Dims:
    """pad2d and pad3d: pairs (before, after) from the last spatial axis to the first."""
    op, dims = context.op, context.dims()
    pads = context.integers("paddings", "Paddings")
    if op.input("Paddings") and op.input("Paddings") not in context.values:
        raise NoRule
    if op.type == "pad2d":  # top, bottom, left, right
        pads = pads[2:] + pads[:2]
    last = op.attr("data_format", "NCHW") in ("NHWC", "NDHWC")
    axes = list(range(len(dims)))[1:-1] if last else list(range(len(dims)))[2:]
    out = list(dims)
    for index, axis in enumerate(reversed(axes)):
        out[axis] = -1 if dims[axis] < 0 else dims[axis] + pads[2 * index] + pads[2 * index + 1]
    return tuple(out)


def _pixel_shuffle(context: Context) -> Dims:
    (batch, channels, height, width), factor = context.dims(), context.op.attr("upscale_factor")
    if context.op.attr("data_format") == "NHWC":
        raise NoRule
    return (batch, channels // factor**2, *(-1 if size < 0 else size * factor for size in (height, width)))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose"), _conv_transpose),
    **dict.fromkeys(("pool2d", "max_pool2d_with_index", "pool3d"), _pool),
    **dict.fromkeys(
        ("bilinear_interp_v2", "nearest_interp_v2", "bicubic_interp_v2", "linear_interp_v2", "trilinear_interp_v2"),
        _interp,
    ),
    **dict.fromkeys(("pad2d", "pad3d"), _pad),
    "unpool": _unpool,
    "pixel_shuffle": _pixel_shuffle,
}
