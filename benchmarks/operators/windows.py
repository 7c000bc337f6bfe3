"""Operators that look at a window of an image: convolutions, pooling, resizing, sampling, padding."""

from __future__ import annotations

import numpy as np

from operators.notation import Cell, each, fed, given, held, sweep

_PADS = each([0, 0], [1, 2], [1, 0, 2, 1])
_ALGORITHMS = each("EXPLICIT", "SAME", "VALID")
INF = float("inf")

CONVOLUTIONS: list[Cell] = [
    *sweep("conv2d", gives={"Output": 1}, Input=each(fed(2, 4, 9, 10), fed(1, 4, 6, 5)),
        Filter=each(held(6, 4, 3, 3), held(6, 4, 2, 3), held(4, 4, 1, 1)), strides=each([1, 1], [2, 2], [2, 1]),
        paddings=_PADS, dilations=each([1, 1], [2, 2], [2, 1]), padding_algorithm=_ALGORITHMS, groups=1,
        data_format="NCHW"),
    *sweep("conv2d", "grouped", gives={"Output": 1}, Input=fed(1, 4, 9, 10),
        Filter=each(held(6, 2, 3, 3), held(2, 2, 2, 2)), groups=2, strides=each([1, 1], [2, 2]), paddings=_PADS,
        dilations=each([1, 1], [2, 2]), padding_algorithm=_ALGORITHMS, data_format="NCHW"),
    *sweep("depthwise_conv2d", gives={"Output": 1}, Input=each(fed(1, 4, 9, 10), fed(1, 4, 6, 5)),
        Filter=each(held(4, 1, 3, 3), held(8, 1, 3, 3), held(4, 1, 2, 2), held(4, 1, 5, 5)), groups=4,
        strides=each([1, 1], [2, 2], [2, 1]), paddings=each([0, 0], [1, 1], [1, 2], [1, 0, 2, 1]),
        dilations=each([1, 1], [2, 2]), padding_algorithm=_ALGORITHMS, data_format="NCHW"),
    *sweep("conv2d", "channels last", gives={"Output": 1}, Input=fed(1, 9, 10, 4), Filter=held(6, 4, 3, 3),
        strides=each([1, 1], [2, 2]), paddings=_PADS, dilations=each([1, 1], [2, 2]), padding_algorithm=_ALGORITHMS,
        groups=1, data_format="NHWC"),
    *sweep("conv2d", "computed filter", gives={"Output": 1}, Input=fed(1, 4, 6, 6), Filter=fed(3, 4, 3, 3),
        strides=[1, 1], paddings=[1, 1], dilations=[1, 1], padding_algorithm="EXPLICIT", groups=1,
        data_format="NCHW"),
    *sweep("conv3d", gives={"Output": 1}, Input=fed(1, 2, 5, 6, 7),
        Filter=each(held(3, 2, 3, 3, 3), held(3, 2, 2, 1, 3)), strides=each([1, 1, 1], [2, 1, 2]),
        paddings=each([0, 0, 0], [1, 0, 1], [1, 0, 0, 1, 2, 1]), dilations=each([1, 1, 1], [2, 1, 1]),
        padding_algorithm=_ALGORITHMS, groups=1, data_format="NCDHW"),
    *sweep("conv2d_transpose", gives={"Output": 1}, Input=each(fed(2, 4, 4, 5), fed(1, 4, 1, 1)),
        Filter=each(held(4, 3, 3, 3), held(4, 3, 4, 4), held(4, 3, 2, 2)), strides=each([1, 1], [2, 2], [3, 2]),
        paddings=_PADS, output_padding=each([], [1, 1], [0, 1]), dilations=each([1, 1], [2, 2]),
        padding_algorithm=_ALGORITHMS, groups=1, data_format="NCHW"),
    *sweep("conv2d_transpose", "grouped", gives={"Output": 1}, Input=fed(1, 4, 4, 5), Filter=held(4, 3, 3, 3),
        strides=each([1, 1], [2, 2]), paddings=_PADS, output_padding=each([], [1, 0]), dilations=each([1, 1], [2, 2]),
        padding_algorithm=_ALGORITHMS, groups=2, data_format="NCHW"),
    *sweep("conv2d_transpose", "to a size", gives={"Output": 1}, Input=fed(1, 4, 4, 5), Filter=held(4, 3, 3, 3),
        strides=[2, 2], paddings=each([0, 0], [1, 1], [1, 0, 0, 1]),
        output_size=each([9, 11], [8, 10], [7, 9], [9, 10]), groups=1, dilations=[1, 1],
        padding_algorithm=each("EXPLICIT", "SAME"), data_format="NCHW"),
    *sweep("depthwise_conv2d_transpose", gives={"Output": 1}, Input=fed(1, 4, 4, 5),
        Filter=each(held(4, 1, 3, 3), held(4, 1, 4, 4)), groups=4, strides=each([1, 1], [2, 2]), paddings=_PADS,
        output_padding=each([], [1, 1]), dilations=each([1, 1], [2, 2]), padding_algorithm=_ALGORITHMS,
        data_format="NCHW"),
    *sweep("conv3d_transpose", gives={"Output": 1}, Input=fed(1, 2, 3, 4, 5), Filter=held(2, 3, 3, 3, 3),
        strides=each([1, 1, 1], [2, 2, 2]), paddings=each([0, 0, 0], [1, 1, 1]), dilations=[1, 1, 1],
        padding_algorithm="EXPLICIT", groups=1, data_format="NCDHW"),
    *sweep("deformable_conv", gives={"Output": 1}, Input=fed(1, 4, 6, 7), Offset=fed(1, 18, 6, 7, draw="unit"),
        Mask=fed(1, 9, 6, 7, draw="unit"), Filter=held(3, 4, 3, 3), strides=[1, 1], paddings=[1, 1], dilations=[1, 1],
        deformable_groups=1, groups=1, im2col_step=1),
]  # fmt: skip

_WINDOW = {"global_pooling": False, "adaptive": False}

POOLING: list[Cell] = [
    *sweep("pool2d", X=each(fed(1, 2, 7, 6), fed(2, 3, 8, 5), fed(1, 2, 4, 4)), pooling_type=each("avg", "max"),
        ksize=each([2, 2], [3, 3], [3, 2]), strides=each([1, 1], [2, 2], [2, 3]),
        paddings=each([0, 0], [1, 1], [1, 0], [1, 0, 0, 1]), ceil_mode=each(False, True), exclusive=each(True, False),
        data_format="NCHW", padding_algorithm=_ALGORITHMS, **_WINDOW),
    *sweep("pool2d", "ceiling", X=each(fed(1, 2, 7, 6), fed(1, 2, 8, 5), fed(1, 2, 9, 11)),
        pooling_type=each("avg", "max"), ksize=each([3, 3], [2, 2], [4, 4]), strides=each([2, 2], [3, 3], [4, 3]),
        paddings=each([0, 0], [1, 1]), ceil_mode=True, exclusive=each(True, False), data_format="NCHW",
        padding_algorithm="EXPLICIT", **_WINDOW),
    *sweep("pool2d", "counted zeros", X=each(fed(1, 2, 7, 6), fed(1, 2, 8, 5)), pooling_type="avg",
        ksize=each([3, 3], [3, 2]), strides=each([1, 1], [2, 2]),
        paddings=each([1, 0, 0, 1], [0, 1, 1, 0], [2, 1, 1, 0]), ceil_mode=each(False, True), exclusive=False,
        data_format="NCHW", padding_algorithm="EXPLICIT", **_WINDOW),
    *sweep("pool2d", "counted zeros of an algorithm", X=each(fed(1, 2, 7, 6), fed(1, 2, 8, 5)), pooling_type="avg",
        ksize=each([3, 3], [2, 2]), strides=each([1, 1], [2, 2]), paddings=[1, 1], ceil_mode=each(False, True),
        exclusive=each(False, True), data_format="NCHW", padding_algorithm=each("SAME", "VALID"), **_WINDOW),
    *sweep("pool2d", "channels last", X=fed(1, 7, 6, 2), pooling_type=each("avg", "max"), ksize=[3, 2],
        strides=each([1, 1], [2, 2]), paddings=each([0, 0], [1, 1]), ceil_mode=each(False, True),
        exclusive=each(True, False), data_format="NHWC", padding_algorithm="EXPLICIT", **_WINDOW),
    *sweep("pool2d", "global", X=each(fed(2, 3, 5, 7), fed(1, 2, 1, 1)), pooling_type=each("avg", "max"),
        ksize=each([1, 1], [2, 2]), strides=[1, 1], paddings=[0, 0], ceil_mode=each(False, True),
        exclusive=each(True, False), data_format="NCHW", padding_algorithm="EXPLICIT", global_pooling=True,
        adaptive=False),
    *sweep("pool2d", "adaptive", X=each(fed(1, 2, 12, 6), fed(1, 2, 7, 10)), pooling_type=each("avg", "max"),
        ksize=each([1, 1], [2, 3], [3, 3], [5, 4], [6, 2], [7, 10]), strides=[1, 1], paddings=[0, 0], ceil_mode=False,
        exclusive=each(True, False), data_format="NCHW", padding_algorithm="EXPLICIT", global_pooling=False,
        adaptive=True),
    *sweep("pool2d", "adaptive channels last", X=fed(1, 7, 10, 2), pooling_type=each("avg", "max"),
        ksize=each([1, 1], [3, 3], [7, 5]), strides=[1, 1], paddings=[0, 0], ceil_mode=False, exclusive=True,
        data_format="NHWC", padding_algorithm="EXPLICIT", global_pooling=False, adaptive=True),
    *sweep("pool3d", X=each(fed(1, 2, 5, 7, 6), fed(1, 2, 4, 4, 4)), pooling_type=each("avg", "max"),
        ksize=each([2, 2, 2], [3, 2, 3]), strides=each([1, 1, 1], [2, 2, 2], [2, 1, 3]),
        paddings=each([0, 0, 0], [1, 1, 1], [1, 0, 0, 1, 0, 1]), ceil_mode=each(False, True),
        exclusive=each(True, False), data_format="NCDHW", padding_algorithm=_ALGORITHMS, **_WINDOW),
    *sweep("pool3d", "adaptive", X=fed(1, 2, 4, 7, 6), pooling_type=each("avg", "max"),
        ksize=each([1, 1, 1], [2, 3, 3], [4, 7, 2]), strides=[1, 1, 1], paddings=[0, 0, 0], ceil_mode=False,
        exclusive=True, data_format="NCDHW", padding_algorithm="EXPLICIT", global_pooling=False, adaptive=True),
    *sweep("pool3d", "global", X=fed(1, 2, 4, 7, 6), pooling_type=each("avg", "max"), ksize=[1, 1, 1],
        strides=[1, 1, 1], paddings=[0, 0, 0], ceil_mode=False, exclusive=True, data_format="NCDHW",
        padding_algorithm="EXPLICIT", global_pooling=True, adaptive=False),
    *sweep("max_pool2d_with_index", gives={"Out": 1, "Mask": 1}, X=each(fed(1, 2, 8, 6), fed(1, 2, 7, 9)),
        ksize=each([2, 2], [3, 3]), strides=each([2, 2], [1, 1], [3, 2]), paddings=each([0, 0], [1, 1]),
        global_pooling=each(False, True), adaptive=False),
    *sweep("max_pool2d_with_index", "adaptive", gives={"Out": 1, "Mask": 1}, X=each(fed(1, 2, 8, 6), fed(1, 2, 7, 9)),
        ksize=each([1, 1], [2, 3], [4, 6]), strides=[1, 1], paddings=[0, 0], global_pooling=False, adaptive=True),
    *sweep("max_pool3d_with_index", gives={"Out": 1, "Mask": 1}, X=fed(1, 2, 4, 8, 6), ksize=[2, 2, 2],
        strides=each([2, 2, 2], [1, 1, 1]), paddings=each([0, 0, 0], [1, 1, 1]), global_pooling=False,
        adaptive=False),
    *sweep("max_pool3d_with_index", "adaptive", gives={"Out": 1, "Mask": 1}, X=fed(1, 2, 4, 7, 6),
        ksize=each([2, 3, 3], [2, 7, 2]), strides=[1, 1, 1], paddings=[0, 0, 0], global_pooling=False, adaptive=True),
]  # fmt: skip

_SIZES = each((5, 7), (6, 8), (10, 5), (1, 1), (3, 4))


def _resized(type: str, method: str, **more: object) -> list[Cell]:
    """An interpolation of an image to sizes and by factors."""
    method = {"interp_method": method, "data_layout": "NCHW", "out_d": -1}
    return [
        *sweep(type, "to a size", X=fed(1, 2, 5, 4), out_h=each(10, 7, 3, 5, 1), out_w=each(8, 9, 4, 1),
            align_corners=each(False, True), align_mode=each(0, 1), scale=[], **method),
        *sweep(type, "by a factor", X=each(fed(1, 2, 5, 4), fed(1, 2, 7, 6)),
            scale=each([2.0, 2.0], [0.5, 0.5], [1.5, 2.5], [0.45, 0.7], [3.0, 3.0]), out_h=-1, out_w=-1,
            align_corners=each(False, True), align_mode=each(0, 1), **method),
        *sweep(type, "by tensors", X=fed(1, 2, 5, 4),
            SizeTensor=each([given([7], "int32"), given([6], "int32")], [given([10], "int32"), given([8], "int32")]),
            out_h=-1, out_w=-1, scale=[], align_corners=each(False, True), align_mode=each(0, 1), **method),
        *sweep(type, "channels last", X=fed(1, 5, 4, 2), out_h=7, out_w=8, align_corners=each(False, True),
            align_mode=each(0, 1), scale=[], **(method | {"data_layout": "NHWC"})),
    ]  # fmt: skip


RESIZING: list[Cell] = [
    *_resized("bilinear_interp_v2", "bilinear"),
    *_resized("nearest_interp_v2", "nearest"),
    *_resized("bicubic_interp_v2", "bicubic"),
    *[cell for method in ("bilinear", "nearest") for cell in (
        *sweep(f"{method}_interp", X=fed(1, 2, 5, 4), out_h=each(10, 7, 3), out_w=each(8, 9),
            align_corners=each(False, True), align_mode=each(0, 1), scale=0.0, data_layout="NCHW",
            interp_method=method),
        *sweep(f"{method}_interp", "by a factor", X=fed(1, 2, 5, 4), out_h=-1, out_w=-1,
            align_corners=each(False, True), align_mode=each(0, 1), scale=each(2.0, 0.5, 1.5), data_layout="NCHW",
            interp_method=method),
    )],
    *sweep("linear_interp_v2", X=fed(1, 2, 5), out_w=each(10, 7, 3), out_h=-1, out_d=-1,
        align_corners=each(False, True), align_mode=each(0, 1), scale=[], data_layout="NCHW", interp_method="linear"),
    *sweep("linear_interp_v2", "by a factor", X=fed(1, 2, 5), out_w=-1, out_h=-1, out_d=-1,
        align_corners=each(False, True), align_mode=each(0, 1), scale=each([2.0], [1.5]), data_layout="NCHW",
        interp_method="linear"),
    *sweep("trilinear_interp_v2", X=fed(1, 2, 3, 5, 4), out_d=each(6, 5), out_h=each(10, 7), out_w=8,
        align_corners=each(False, True), align_mode=each(0, 1), scale=[], data_layout="NCHW",
        interp_method="trilinear"),
    *sweep("trilinear_interp_v2", "by a factor", X=fed(1, 2, 3, 5, 4), out_d=-1, out_h=-1, out_w=-1,
        align_corners=each(False, True), align_mode=each(0, 1), scale=each([2.0, 2.0, 2.0], [1.5, 1.5, 0.5]),
        data_layout="NCHW", interp_method="trilinear"),
    *sweep("nearest_interp_v2", "of a volume", X=fed(1, 2, 3, 5, 4), out_d=6, out_h=10, out_w=8,
        align_corners=each(False, True), scale=[], data_layout="NCHW", interp_method="nearest"),
]  # fmt: skip

SAMPLING: list[Cell] = [
    *sweep("grid_sampler", X=fed(1, 2, 5, 4), Grid=each(fed(1, 3, 6, 2, draw="unit"),
        given(np.random.default_rng(1).uniform(-1.8, 1.8, (1, 3, 6, 2)), "float32", held=False)),
        mode=each("bilinear", "nearest"), padding_mode=each("zeros", "border", "reflection"), align_corners=each(True,
        False)),
    *sweep("affine_grid", Theta=fed(1, 2, 3), output_shape=[1, 2, 4, 5], align_corners=each(True, False)),
    *sweep("unfold", X=fed(1, 2, 6, 7), kernel_sizes=each([2, 2], [3, 3], [3, 2]), strides=each([1, 1], [2, 2]),
        paddings=each([0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 2, 1]), dilations=each([1, 1], [2, 2])),
    *sweep("fold", X=fed(1, 8, 12), output_sizes=[4, 5], kernel_sizes=[2, 2], strides=[1, 1], paddings=[0, 0, 0, 0],
        dilations=[1, 1]),
    *sweep("pixel_shuffle", X=fed(2, 8, 3, 4), upscale_factor=2, data_format="NCHW"),
    *sweep("pixel_shuffle", "channels last", X=fed(2, 3, 4, 8), upscale_factor=2, data_format="NHWC"),
    *sweep("pixel_unshuffle", X=fed(2, 3, 4, 6), downscale_factor=2, data_format="NCHW"),
    *sweep("pixel_unshuffle", "channels last", X=fed(2, 4, 6, 3), downscale_factor=2, data_format="NHWC"),
    *sweep("channel_shuffle", X=fed(2, 6, 3, 4), groups=each(2, 3), data_format="NCHW"),
    *sweep("channel_shuffle", "channels last", X=fed(2, 3, 4, 6), groups=each(2, 3), data_format="NHWC"),
    *sweep("shuffle_channel", X=fed(2, 6, 3, 4), group=each(2, 3)),
    *sweep("temporal_shift", X=fed(4, 8, 3, 4), seg_num=each(2, 4), shift_ratio=each(0.25, 0.125),
        data_format="NCHW"),
    *sweep("affine_channel", X=fed(2, 3, 4, 5), Scale=held(3), Bias=held(3), data_layout="NCHW"),
    *sweep("lrn", X=fed(2, 6, 4, 5), n=each(5, 3), k=1.0, alpha=0.1, beta=0.75, data_format="NCHW"),
    *sweep("roi_align", X=fed(1, 2, 8, 9),
        ROIs=given([[0.0, 0.0, 4.0, 5.0], [1.5, 2.0, 7.5, 6.0]], "float32", held=False), RoisNum=given([2], "int32"),
        pooled_height=each(2, 3), pooled_width=2, spatial_scale=each(1.0, 0.5), sampling_ratio=each(-1, 2),
        aligned=each(True, False)),
    *sweep("unpool", X=given([[[[1.0, 2.0], [3.0, 4.0]]]], "float32", held=False),
        Indices=given([[[[0, 3], [9, 14]]]], "int32"), ksize=[2, 2], strides=[2, 2], paddings=[0, 0],
        output_size=[4, 4], unpooling_type="max", data_format="NCHW"),
]  # fmt: skip

PADDING: list[Cell] = [
    *sweep("pad3d", X=each(fed(1, 2, 4, 5, 6), fed(1, 2, 1, 5, 6)),
        paddings=each([1, 2, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 2, 1, 0, 2, 1], [0, 0, 3, 0, 0, 0]),
        mode=each("constant", "reflect", "replicate", "circular"), value=each(0.0, 1.5), data_format="NCDHW"),
    *sweep("pad3d", "channels last", X=fed(1, 4, 5, 6, 2), paddings=each([1, 2, 0, 1, 0, 0], [0, 2, 1, 0, 2, 1]),
        mode=each("constant", "reflect", "replicate", "circular"), value=0.0, data_format="NDHWC"),
    *sweep("pad3d", "by a tensor", X=fed(1, 2, 4, 5, 6), Paddings=given([1, 2, 0, 1, 1, 0], "int32"),
        paddings=[0] * 6, mode=each("constant", "reflect"), value=0.0, data_format="NCDHW"),
    *sweep("pad", X=each(fed(3, 4), fed(2, 3, 4), fed(1, 2, 3, 4)),
        paddings=each([1, 0, 2, 1], [0, 0, 1, 2, 0, 3], [0, 0, 1, 1, 2, 0, 0, 1]), pad_value=each(0.0, 1.5),
        when=lambda c: len(c["paddings"]) == 2 * len(c["X"].shape)),
    *sweep("crop_tensor", X=fed(3, 5, 6), shape=each([2, 3, 4], [-1, 2, 3]), offsets=each([0, 0, 0], [1, 2, 1])),
    *sweep("crop", X=fed(3, 5, 6), shape=[2, 3, 4], offsets=each([0, 0, 0], [1, 2, 1])),
]  # fmt: skip

CELLS = [*CONVOLUTIONS, *POOLING, *RESIZING, *SAMPLING, *PADDING]
