"""Operators that no network of the zoo has: with their rewrite as in Paddle, without it wrong or refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import SegexportError, UnsupportedModelError
from segexport.exporter import rewrites
from segexport.exporter.inspect import in_the_way, support_for
from segexport.exporter.program import Program
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86, ONNX, Target
from segexport.exporter.rewrites.bicubic import bicubic_matrix

DIMS = (1, 4, 6, 8)
Make = Callable[[Graph, str], str]


def one(type: str, dims: tuple[int, ...] = DIMS, slot: str = "Out", **attrs: object) -> Make:
    return lambda graph, image: graph.op(type, {"X": image}, dims, slot=slot, **attrs)


def normalized(type: str, **attrs: object) -> Make:
    """Without scale and shift."""

    def make(graph: Graph, image: str) -> str:
        statistics = {"Mean": (24,), "Variance": (24,)} if type == "layer_norm" else {}
        return graph.op(type, {"X": image}, {"Y": DIMS, **statistics}, epsilon=1e-5, **attrs)

    return make


def batch_norm(graph: Graph, image: str) -> str:
    statistics = {"Mean": graph.param(np.arange(4) / 4), "Variance": graph.param(np.arange(4) + 0.5)}
    attrs = {"epsilon": 1e-5, "is_test": True, "data_layout": "NCHW", "use_global_stats": True, "momentum": 0.9}
    sizes = {"Y": DIMS, "SavedMean": (4,), "SavedVariance": (4,)}
    out = graph.op("batch_norm", {"X": image, **statistics}, sizes, **attrs)
    graph.last().outputs |= {"MeanOut": [statistics["Mean"]], "VarianceOut": [statistics["Variance"]]}
    return out


def padded(mode: str) -> Make:
    """One pixel to the left, two to the right, three above, none below."""

    def make(graph: Graph, image: str) -> str:
        sizes = {"axes": [2]}
        deep = graph.op("unsqueeze2", {"X": image}, {"Out": (1, 4, 1, 6, 8), "XShape": (0, *DIMS)}, **sizes)
        attrs = {"paddings": [1, 2, 3, 0, 0, 0], "mode": mode, "value": 0.5, "data_format": "NCDHW"}
        wide = graph.op("pad3d", {"X": deep}, (1, 4, 1, 9, 11), **attrs)
        return graph.op("squeeze2", {"X": wide}, {"Out": (1, 4, 9, 11), "XShape": (0, 1, 4, 1, 9, 11)}, **sizes)

    return make


_DTYPES = {"in_dtype": -1, "out_dtype": -1}  # Paddle always writes them


def summed_over_five(graph: Graph, image: str) -> str:
    five = graph.op("reshape2", {"X": image}, {"Out": (1, 2, 2, 6, 8), "XShape": (0, *DIMS)}, shape=[1, 2, 2, 6, 8])
    return graph.op("reduce_sum", {"X": five}, (1, 2, 6, 8), dim=[2], keep_dim=False, reduce_all=False, **_DTYPES)


def same_convolution(graph: Graph, image: str) -> str:
    attrs = {"strides": [1, 1], "paddings": [0, 0], "dilations": [2, 2], "groups": 1, "padding_algorithm": "SAME"}
    inputs = {"Input": image, "Filter": graph.noise(3, 4, 3, 3)}
    return graph.op("conv2d", inputs, (1, 3, 6, 8), slot="Output", data_format="NCHW", **attrs)


def taken(graph: Graph, image: str) -> str:
    index = graph.param(np.random.default_rng(5).integers(0, 4, (1, 2, 6, 8)), "int64")
    return graph.op("take_along_axis", {"Input": image, "Index": index}, (1, 2, 6, 8), slot="Result", Axis=1)


def put(graph: Graph, image: str) -> str:
    index = graph.param(
        np.random.default_rng(5).permuted(np.tile(np.arange(4).reshape(1, 4, 1, 1), (1, 1, 6, 8)), axis=1)[:, :2],
        "int64",
    )
    attrs = {"Axis": 1, "Reduce": "assign"}
    inputs = {"Input": image, "Index": index, "Value": graph.noise(1, 2, 6, 8)}
    return graph.op("put_along_axis", inputs, DIMS, slot="Result", **attrs)


def smallest(slot: str) -> Make:
    def make(graph: Graph, image: str) -> str:
        sizes = {"Out": (1, 2, 6, 8), "Indices": (1, 2, 6, 8)}
        out = graph.op("top_k_v2", {"X": image}, sizes, axis=1, k=2, largest=False, sorted=True)
        return out if slot == "Out" else graph.last().outputs["Indices"][0]

    return make


def magnitude(graph: Graph, image: str) -> str:
    return graph.op(
        "abs", {"X": graph.op("elementwise_mul", {"X": image, "Y": graph.param([2.0])}, DIMS, axis=-1)}, DIMS
    )


def bicubic(**attrs: object) -> Make:
    given = {"interp_method": "bicubic", "data_layout": "NCHW", "out_d": -1, "align_mode": 1} | attrs
    return one("bicubic_interp_v2", (1, 4, given["out_h"], given["out_w"]), typed={"scale": ("FLOATS", [])}, **given)


def above_zero(graph: Graph, image: str) -> str:
    return graph.op("greater_than", {"X": image, "Y": graph.param([0.0])}, DIMS, dtype="bool", axis=-1)


def normalized_behind_computed_filter(graph: Graph, image: str) -> str:
    """The filter is one of parameters that is computed at run time."""
    attrs = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "padding_algorithm": "EXPLICIT"}
    filter = graph.op("erf", {"X": graph.noise(4, 4, 3, 3)}, (4, 4, 3, 3))
    inputs = {"Input": image, "Filter": filter}
    return batch_norm(graph, graph.op("conv2d", inputs, DIMS, slot="Output", data_format="NCHW", **attrs))


def line_and_image(graph: Graph, image: str) -> str:
    """A Conv1D with bias (over the rows as one line) behind a Conv2D with bias, as Paddle writes them."""
    attrs = {"strides": [1, 1], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    inputs = {"Input": image, "Filter": graph.noise(4, 4, 1, 1)}
    found = graph.op("conv2d", inputs, DIMS, slot="Output", paddings=[0, 0], **attrs)
    found = graph.op("elementwise_add", {"X": found, "Y": graph.noise(1, 4, 1, 1)}, DIMS, axis=-1)
    flat = (1, 4, 1, 48)
    line = graph.op("reshape2", {"X": found}, {"Out": flat, "XShape": (0, *DIMS)}, shape=list(flat))
    filter = graph.op(
        "unsqueeze2", {"X": graph.noise(4, 4, 3)}, {"Out": (4, 4, 1, 3), "XShape": (0, 4, 4, 3)}, axes=[-2]
    )
    found = graph.op("conv2d", {"Input": line, "Filter": filter}, flat, slot="Output", paddings=[0, 1], **attrs)
    return graph.op("elementwise_add", {"X": found, "Y": graph.noise(4)}, flat, axis=1)


def depthwise_transposed(graph: Graph, image: str) -> str:
    attrs = {"strides": [2, 2], "paddings": [1, 1], "dilations": [1, 1], "groups": 4, "data_format": "NCHW"}
    attrs |= {"padding_algorithm": "EXPLICIT", "typed": {"output_size": ("INTS", []), "output_padding": ("INTS", [])}}
    inputs = {"Input": image, "Filter": graph.noise(4, 1, 4, 4)}
    return graph.op("depthwise_conv2d_transpose", inputs, (1, 4, 12, 16), slot="Output", **attrs)


def added(graph: Graph, image: str) -> str:
    return graph.op("sum", {"X": [image, graph.noise(*DIMS), image]}, DIMS)


def centred(graph: Graph, image: str) -> str:
    mean = graph.op("mean", {"X": image}, ())
    return graph.op("elementwise_sub", {"X": image, "Y": mean}, DIMS, axis=-1)


def put_where_negative(graph: Graph, image: str) -> str:
    mask = graph.op("less_than", {"X": image, "Y": graph.param([0.0])}, DIMS, dtype="bool", axis=-1)
    inputs = {"x": image, "indices": [mask], "value": graph.param(3.5)}
    return graph.op("index_put", inputs, DIMS, slot="out", accumulate=False)


def set_part(*, tensor: tuple[int, ...] = (), dropped: tuple[int, ...] = (), **bounds: list[int]) -> Make:
    """Writes 0.5, or a tensor of these sizes, between bounds; `dropped`: axes that were indexed by one number."""

    def make(graph: Graph, image: str) -> str:
        typed = {name: ("LONGS", value) for name, value in bounds.items()}
        typed |= {"decrease_axes": ("LONGS", list(dropped)), "none_axes": ("LONGS", []), "shape": ("LONGS", [1])}
        typed |= {"dtype": ("INT", 5)}
        inputs = {"Input": image}
        if tensor:
            inputs["ValueTensor"] = graph.noise(*tensor)
        else:
            typed["values"] = ("SCALARS", [0.5])
        return graph.op("set_value", inputs, DIMS, typed=typed)

    return make


_WINDOW = {"axes": [2, 3], "starts": [1, -6], "ends": [4, -2], "steps": [1, 2]}
_ROW = {"axes": [1, 2], "starts": [1, -1], "ends": [2, 2**31 - 1], "steps": [1, 1]}


def adaptive_maximum(rows: int, columns: int) -> Make:
    dims = (1, 4, rows, columns)

    def make(graph: Graph, image: str) -> str:
        attrs = {"ksize": [rows, columns], "strides": [1, 1], "paddings": [0, 0], "adaptive": True}
        sizes = {"Out": dims, "Mask": dims}
        return graph.op("max_pool2d_with_index", {"X": image}, sizes, global_pooling=False, **attrs)

    return make


def norm(order: float, *, keep: bool = True) -> Make:
    dims = (1, 1, 6, 8) if keep else (1, 6, 8)
    attrs = {"porder": order, "axis": 1, "epsilon": 1e-12, "keepdim": keep, "asvector": False}
    return one("p_norm", dims, **attrs)


def norm_of_all(order: float) -> Make:
    """The image divided by its norm."""

    def make(graph: Graph, image: str) -> str:
        attrs = {"porder": order, "axis": -1, "epsilon": 1e-12, "keepdim": False, "asvector": True}
        length = graph.op("p_norm", {"X": image}, (), **attrs)
        return graph.op("elementwise_div", {"X": image, "Y": length}, DIMS, axis=-1)

    return make


def volume_pool(type: str, out: tuple[int, ...], **attrs: object) -> Make:
    """Over the image as a volume of one channel."""

    def make(graph: Graph, image: str) -> str:
        deep = graph.op("unsqueeze2", {"X": image}, {"Out": (1, 1, *DIMS[1:]), "XShape": (0, *DIMS)}, axes=[1])
        given = {"pooling_type": type, "exclusive": True, "adaptive": False, "global_pooling": False}
        given |= {"padding_algorithm": "EXPLICIT", "data_format": "NCDHW", "ceil_mode": False, **attrs}
        found = graph.op("pool3d", {"X": deep}, (1, 1, *out), **given)
        return graph.op("squeeze2", {"X": found}, {"Out": (1, *out), "XShape": (0, 1, 1, *out)}, axes=[1])

    return make


_PAIRS = {"ksize": [2, 1, 1], "strides": [2, 1, 1], "paddings": [0, 0, 0]}
_WINDOWS = {"ksize": [3, 3, 2], "strides": [2, 1, 2], "paddings": [1, 1, 0]}


POOL = {"strides": [2, 2], "global_pooling": False, "adaptive": False, "padding_algorithm": "EXPLICIT"}


def averaged(dims: tuple[int, ...], **attrs: object) -> Make:
    given = {"pooling_type": "avg", "ksize": [3, 3], "paddings": [1, 1], "ceil_mode": True, "exclusive": False}
    return one("pool2d", dims, **POOL | given | {"data_format": "NCHW"} | attrs)


def upsampled(graph: Graph, image: str) -> str:
    """Paddle takes the padding SAME from the size of the input: 6 + 1 and 8 + 1 rows and columns less."""
    attrs = {"strides": [2, 2], "paddings": [0, 0], "dilations": [2, 2], "groups": 1, "padding_algorithm": "SAME"}
    inputs = {"Input": image, "Filter": graph.noise(4, 3, 4, 4)}
    typed = {name: ("INTS", []) for name in ("output_size", "output_padding")}
    dims = (1, 3, 12, 16)
    return graph.op("conv2d_transpose", inputs, dims, slot="Output", data_format="NCHW", typed=typed, **attrs)


def halves(graph: Graph, image: str) -> str:
    """Every other value is the middle of two integers."""
    wide = graph.op("scale", {"X": image}, DIMS, scale=8.0, bias=0.0, bias_after_scale=True)
    whole = graph.op("floor", {"X": wide}, DIMS)
    half = graph.op("scale", {"X": whole}, DIMS, scale=0.5, bias=0.0, bias_after_scale=True)
    return graph.op("round", {"X": half}, DIMS)


def pair_of_images(type: str, alpha: tuple[int, ...], **attrs: object) -> Make:
    def make(graph: Graph, image: str) -> str:
        two = graph.op("reshape2", {"X": image}, {"Out": (2, 2, 6, 8), "XShape": (0, *DIMS)}, shape=[2, 2, 6, 8])
        return graph.op(type, {"X": two, "Alpha": graph.noise(*alpha)}, (2, 2, 6, 8), **attrs)

    return make


def scaled_behind(activation: str, scale: float, bias: float, **attrs: object) -> Make:
    """A convolution with bias, its activation, a scale."""

    def make(graph: Graph, image: str) -> str:
        window = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
        inputs = {"Input": image, "Filter": graph.noise(4, 4, 3, 3)}
        attrs_ = {"padding_algorithm": "EXPLICIT", "data_format": "NCHW", **window}
        x = graph.op("conv2d", inputs, DIMS, slot="Output", **attrs_)
        x = graph.op("elementwise_add", {"X": x, "Y": graph.noise(4)}, DIMS, axis=1)
        x = graph.op(activation, {"X": x}, DIMS, **attrs)
        return graph.op("scale", {"X": x}, DIMS, scale=scale, bias=bias, bias_after_scale=True)

    return make


def padded_last(graph: Graph, image: str) -> str:
    """Channels last."""
    deep = graph.op("reshape2", {"X": image}, {"Out": (1, 4, 3, 4, 4), "XShape": (0, *DIMS)}, shape=[1, 4, 3, 4, 4])
    attrs = {"paddings": [1, 2, 3, 0, 0, 1], "mode": "constant", "value": 0.5, "data_format": "NDHWC"}
    return graph.op("pad3d", {"X": deep}, (1, 5, 6, 7, 4), **attrs)


def divided_down(graph: Graph, image: str) -> str:
    return graph.op("elementwise_floordiv", {"X": image, "Y": graph.param([0.4])}, DIMS, axis=-1)


def dotted(graph: Graph, image: str) -> str:
    flat = graph.op("reshape2", {"X": image}, {"Out": (24, 8), "XShape": (0, *DIMS)}, shape=[24, 8])
    return graph.op("dot", {"X": flat, "Y": graph.noise(24, 8)}, (24,))


def resized(method: str, height: int, width: int, scale: list[float] | None = None, **attrs: object) -> Make:
    sizes = {"out_d": -1, "out_h": -1 if scale else height, "out_w": -1 if scale else width}
    given = {"interp_method": method, "data_layout": "NCHW", "align_corners": False, "align_mode": 0, **sizes, **attrs}
    return one(f"{method}_interp_v2", (1, 4, height, width), typed={"scale": ("FLOATS", scale or [])}, **given)


def grouped_line(graph: Graph, image: str) -> str:
    sizes = {"Out": (1, 4, 48), "XShape": (0, *DIMS)}
    line = graph.op("reshape2", {"X": image}, sizes, shape=[1, 4, 48])
    inputs = {"X": line, "Scale": graph.noise(4), "Bias": graph.noise(4)}
    dims = {"Y": (1, 4, 48), "Mean": (1, 2), "Variance": (1, 2)}
    return graph.op("group_norm", inputs, dims, groups=2, epsilon=1e-5, data_layout="NCHW")


def cut(dims: tuple[int, ...], **bounds: list[int]) -> Make:
    attrs = {"infer_flags": [1] * len(bounds["axes"]), "typed": {"decrease_axis": ("INTS", [])}}
    return lambda graph, image: graph.op("strided_slice", {"Input": image}, dims, **bounds, **attrs)


def rolled(shifts: list[int], axes: list[int]) -> Make:
    return one("roll", typed={"shifts": ("LONGS", shifts), "axis": ("LONGS", axes)})


def aligned(graph: Graph, image: str, **attrs: object) -> str:
    """The last box is smaller than a pixel."""
    boxes = graph.param([[0.0, 0.0, 8.0, 9.0], [3.0, 4.0, 15.0, 11.0], [2.0, 2.0, 2.4, 2.6]])
    inputs = {"X": image, "ROIs": boxes, "RoisNum": graph.param([3], "int32")}
    given = {"pooled_height": 2, "pooled_width": 3, "spatial_scale": 0.5, "sampling_ratio": 2, "aligned": False}
    return graph.op("roi_align", inputs, (3, 4, 2, 3), **given | attrs)


def far_logsigmoid(graph: Graph, image: str) -> str:
    """To about -300."""
    wide = graph.op("scale", {"X": image}, DIMS, scale=150.0, bias=0.0, bias_after_scale=True)
    return graph.op("logsigmoid", {"X": wide}, DIMS)


def resized_line(graph: Graph, image: str, width: int = 8) -> str:
    """By a factor that gives no whole size: 8 * 1.3 is 10.4."""
    flat = (1, 24, width)
    line = graph.op("reshape2", {"X": image}, {"Out": flat, "XShape": (0, *DIMS)}, shape=list(flat))
    attrs = {"interp_method": "linear", "align_corners": False, "align_mode": 0, "data_layout": "NCHW"}
    attrs |= {"out_d": -1, "out_h": -1, "out_w": -1}
    dims = (1, 24, 10 if width > 0 else -1)
    return graph.op("linear_interp_v2", {"X": line}, dims, typed={"scale": ("FLOATS", [1.3])}, **attrs)


def resized_by_tensor(graph: Graph, image: str) -> str:
    attrs = {"interp_method": "bilinear", "align_corners": False, "align_mode": 0, "data_layout": "NCHW"}
    attrs |= {"out_d": -1, "out_h": -1, "out_w": -1, "typed": {"scale": ("FLOATS", [])}}
    return graph.op("bilinear_interp_v2", {"X": image, "Scale": graph.param([1.5, 2.0])}, (1, 4, 9, 16), **attrs)


def shifted_channels_last(graph: Graph, image: str) -> str:
    frames = graph.op("reshape2", {"X": image}, {"Out": (2, 3, 4, 8), "XShape": (0, *DIMS)}, shape=[2, 3, 4, 8])
    return graph.op("temporal_shift", {"X": frames}, (2, 3, 4, 8), seg_num=2, shift_ratio=0.25, data_format="NHWC")


def scaled_channels_last(graph: Graph, image: str) -> str:
    inputs = {"X": image, "Scale": graph.noise(8), "Bias": graph.noise(8)}
    return graph.op("affine_channel", inputs, DIMS, data_layout="NHWC")


def rows_of(graph: Graph, image: str) -> str:
    return graph.op("reshape2", {"X": image}, {"Out": (24, 8), "XShape": (0, *DIMS)}, shape=[24, 8])


def added_up(ids: list[int]) -> Make:
    """Updates of rows, among which there are zeros."""

    def make(graph: Graph, image: str) -> str:
        updates = graph.param(np.arange(8 * len(ids)).reshape(-1, 8) % 3)
        inputs = {"X": rows_of(graph, image), "Ids": graph.param(ids, "int64"), "Updates": updates}
        return graph.op("scatter", inputs, (24, 8), overwrite=False)

    return make


def maximum_of_all(graph: Graph, image: str) -> str:
    attrs = {"ksize": [2, 2], "strides": [2, 2], "paddings": [0, 0], "adaptive": False, "global_pooling": True}
    sizes = {"Out": (1, 4, 1, 1), "Mask": (1, 4, 1, 1)}
    return graph.op("max_pool2d_with_index", {"X": image}, sizes, **attrs)


def unbound(graph: Graph, image: str) -> str:
    pair = graph.op("reshape2", {"X": image}, {"Out": (2, 12, 8), "XShape": (0, *DIMS)}, shape=[2, 12, 8])
    out = graph.op("unbind", {"X": pair}, (12, 8), axis=-3)
    graph.last().outputs["Out"].append(graph.twin(out))
    return out


def as_scalar(graph: Graph, image: str) -> str:
    """The image over its mean, which goes through a tensor without axes."""
    attrs = {"dim": [0], "keep_dim": True, "reduce_all": True, **_DTYPES}
    mean = graph.op("reduce_mean", {"X": image}, (1, 1, 1, 1), **attrs)
    scalar = graph.op("reshape2", {"X": mean}, {"Out": (), "XShape": (0, 1, 1, 1, 1)}, typed={"shape": ("INTS", [])})
    return graph.op("elementwise_sub", {"X": image, "Y": scalar}, DIMS, axis=-1)


def scaled_whole(graph: Graph, image: str) -> str:
    """Paddle cuts 1.5 to 1 and -2.5 to -2."""
    whole = graph.op("cast", {"X": image}, DIMS, dtype="int32", in_dtype=5, out_dtype=2)
    return graph.op("scale", {"X": whole}, DIMS, dtype="int32", scale=1.5, bias=-2.5, bias_after_scale=True)


def resized_classes(graph: Graph, image: str) -> str:
    wide = (1, 4, 12, 16)
    whole = graph.op("cast", {"X": image}, DIMS, dtype="int32", in_dtype=5, out_dtype=2)
    attrs = {"interp_method": "nearest", "align_corners": False, "data_layout": "NCHW", "out_h": 12, "out_w": 16}
    typed = {"scale": ("FLOATS", [])}
    return graph.op("nearest_interp_v2", {"X": whole}, wide, dtype="int32", typed=typed, out_d=-1, **attrs)


def summed_whole(graph: Graph, image: str) -> str:
    attrs = {"dim": [3], "keep_dim": False, "reduce_all": False, "in_dtype": 5, "out_dtype": 2}
    return graph.op("reduce_sum", {"X": image}, (1, 4, 6), dtype="int32", **attrs)


def finiteness(type: str, below: str = "") -> Make:
    """Which elements of log(x) are finite: those of x below zero are NaN, those of zero, behind a ReLU, infinite."""

    def make(graph: Graph, image: str) -> str:
        logarithm = graph.op("log", {"X": graph.op(below, {"X": image}, DIMS) if below else image}, DIMS)
        is_so = graph.op(type, {"X": logarithm}, DIMS, dtype="bool")
        return graph.op("cast", {"X": is_so}, DIMS, in_dtype=0, out_dtype=5)

    return make


def scaled_then_shifted(graph: Graph, image: str) -> str:
    doubled = scaled_behind("relu", 2.0, 0.0)(graph, image)
    return graph.op("scale", {"X": doubled}, graph.shape(doubled), scale=1.0, bias=-1.0, bias_after_scale=True)


def chosen_by_constant(graph: Graph, image: str) -> str:
    half = graph.op("scale", {"X": image}, DIMS, scale=0.5, bias=0.0, bias_after_scale=True)
    chosen = graph.param(np.arange(192).reshape(DIMS) % 3 > 0, "bool")
    return graph.op("where", {"Condition": chosen, "X": image, "Y": half}, DIMS)


def summed_letters(graph: Graph, image: str) -> str:
    return graph.op("einsum", {"Operands": [image]}, (8, 4), equation="bchw->wc")


def interpolated(graph: Graph, image: str) -> str:
    return graph.op("lerp", {"X": image, "Y": graph.noise(*DIMS), "Weight": graph.param([0.3])}, DIMS)


def angles(graph: Graph, image: str) -> str:
    """Of all quadrants, and of the axes between them."""
    attrs = {"scale": 2.0, "bias": 0.0, "bias_after_scale": True}
    whole = graph.op("floor", {"X": graph.op("scale", {"X": image}, DIMS, **attrs)}, DIMS)
    x = graph.param(np.random.default_rng(6).integers(-1, 2, DIMS))
    return graph.op("atan2", {"X1": whole, "X2": x}, DIMS)


def pasted(size: tuple[int, int], windows: int, **attrs: object) -> Make:
    """So many windows of pixels."""

    def make(graph: Graph, image: str) -> str:
        kernel = attrs["kernel_sizes"]
        taps = kernel[0] * kernel[1]
        shape = [1, 192 // windows, windows]
        columns = graph.op("reshape2", {"X": image}, {"Out": tuple(shape), "XShape": (0, *DIMS)}, shape=shape)
        dims = (1, shape[1] // taps, *size)
        return graph.op("fold", {"X": columns}, {"Y": dims}, output_sizes=list(size), **attrs)

    return make


def affine_grid(has_corners: bool) -> Make:
    def make(graph: Graph, image: str) -> str:
        attrs = {"dim": [2], "keep_dim": False, "reduce_all": False, **_DTYPES}
        rows = graph.op("reduce_mean", {"X": image}, (1, 4, 8), **attrs)
        bounds = {"axes": [1, 2], "starts": [0, 0], "ends": [2, 3], "infer_flags": [1, 1]}
        theta = graph.op("slice", {"Input": rows}, (1, 2, 3), typed={"decrease_axis": ("INTS", [])}, **bounds)
        sizes = {"output_shape": [1, 4, 5, 7], "align_corners": has_corners}
        return graph.op("affine_grid", {"Theta": theta}, (1, 5, 7, 2), slot="Output", **sizes)

    return make


def above(graph: Graph, image: str, limit: float) -> str:
    return graph.op("greater_than", {"X": image, "Y": graph.param([limit])}, DIMS, dtype="bool", axis=-1)


def numbers(graph: Graph, mask: str) -> str:
    return graph.op("cast", {"X": mask}, graph.shape(mask), in_dtype=0, out_dtype=5)


def either(graph: Graph, image: str) -> str:
    masks = {"X": above(graph, image, 1.0), "Y": above(graph, graph.op("abs", {"X": image}, DIMS), 0.5)}
    return numbers(graph, graph.op("bitwise_or", masks, DIMS, dtype="bool"))


def of_masks(type: str) -> Make:
    def make(graph: Graph, image: str) -> str:
        attrs = {"typed": {"dim": ("LONGS", [1])}, "keep_dim": True, "reduce_all": False, **_DTYPES}
        return numbers(graph, graph.op(type, {"X": above(graph, image, -0.5)}, (1, 1, 6, 8), dtype="bool", **attrs))

    return make


def moved_mask(graph: Graph, image: str) -> str:
    sizes = {"Out": (1, 6, 8, 4), "XShape": (0, *DIMS)}
    return numbers(
        graph, graph.op("transpose2", {"X": above(graph, image, 0.0)}, sizes, dtype="bool", axis=[0, 2, 3, 1])
    )


def moved_integers(type: str, **attrs: object) -> Make:
    """Plus one: a cast alone would hide that they are taken for floats."""

    def make(graph: Graph, image: str) -> str:
        whole = graph.op("cast", {"X": image}, DIMS, dtype="int32", in_dtype=5, out_dtype=2)
        moved = graph.op(type, {"X": whole}, DIMS, dtype="int32", **attrs)
        return graph.op("elementwise_add", {"X": moved, "Y": graph.param([1], "int32")}, DIMS, dtype="int32", axis=-1)

    return make


def where_smallest(graph: Graph, image: str) -> str:
    typed = {"axis": ("LONG", 1), "dtype": ("INT", 3)}
    return graph.op("arg_min", {"X": image}, (1, 6, 8), dtype="int64", typed=typed, keepdims=False, flatten=False)


_OPEN = 2**31 - 1
WHOLE = {"asvector": True, "keepdim": True, "epsilon": 1e-12}

# what it is: (rewrite, target, network)
CASES: dict[str, tuple[str, Target, Make]] = {
    "celu": ("activations_to_arithmetic", ONNX, one("celu", alpha=0.7)),
    "selu": ("activations_to_arithmetic", LITE_X86, one("selu", scale=1.05, alpha=1.67)),
    "logsigmoid": ("activations_to_arithmetic", LITE_X86, one("logsigmoid")),
    "softshrink": ("activations_to_arithmetic", LITE_X86, one("softshrink", **{"lambda": 0.3})),
    "tanh_shrink": ("activations_to_arithmetic", LITE_X86, one("tanh_shrink")),
    "steep softplus": ("activations_to_arithmetic", ONNX, one("softplus", beta=2.0, threshold=20.0)),
    "gelu by tanh": ("activations_to_arithmetic", ONNX, one("gelu", approximate=True)),
    "hard_shrink": ("activations_to_arithmetic", LITE_X86, one("hard_shrink", threshold=0.3)),
    "maxout": ("activations_to_arithmetic", ONNX, one("maxout", (1, 2, 6, 8), groups=2, axis=1)),
    "a test for NaN": ("finite_to_comparison", ONNX, finiteness("isnan_v2")),
    "a test for infinity": ("finite_to_comparison", ONNX, finiteness("isinf_v2", "relu")),
    "a test for finite numbers": ("finite_to_comparison", LITE_X86, finiteness("isfinite_v2")),
    "logsumexp": (
        "logsumexp_to_reductions",
        LITE_X86,
        one("logsumexp", (1, 6, 8), axis=[1], keepdim=False, reduce_all=False),
    ),
    "amax": ("amax_to_max", ONNX, one("reduce_amax", (1, 4, 8), dim=[2], keep_dim=False, reduce_all=False)),
    "amin": ("amax_to_max", LITE_X86, one("reduce_amin", (1, 4, 1, 8), dim=[2], keep_dim=True, reduce_all=False)),
    "amax over two axes": (
        "amax_to_max", LITE_X86,
        one("reduce_amax", (1, 4, 1, 1), typed={"dim": ("LONGS", [2, 3])}, keep_dim=True, reduce_all=False),
    ),
    "a choice by a constant": ("boolean_constants", LITE_X86, chosen_by_constant),
    "abs": ("activations_to_arithmetic", LITE_X86, magnitude),
    "swish": ("swish_beta", LITE_X86, one("swish")),
    "batch_norm": ("normalization_defaults", ONNX, batch_norm),
    "layer_norm": ("normalization_defaults", LITE_X86, normalized("layer_norm", begin_norm_axis=1)),
    "instance_norm": ("normalization_defaults", LITE_X86, normalized("instance_norm")),
    "pixel_unshuffle": (
        "channel_order_to_reshape", ONNX, one("pixel_unshuffle", (1, 16, 3, 4), downscale_factor=2, data_format="NCHW"),
    ),
    "channel_shuffle": ("channel_order_to_reshape", LITE_X86, one("channel_shuffle", groups=2, data_format="NCHW")),
    "square": ("power_to_product", LITE_X86, one("pow", factor=2.0)),
    "sum over one of five axes": ("reductions_of_few_axes", LITE_X86, summed_over_five),
    "take_along_axis": ("take_along_axis_to_gather", LITE_X86, taken),
    "put_along_axis": ("put_along_axis_to_scatter", ONNX, put),
    "the two smallest": ("top_k_of_last_axis", LITE_X86, smallest("Out")),
    "bicubic to a size": (
        "bicubic_to_matmul", LITE_X86, bicubic(out_h=13, out_w=9, align_corners=False),
    ),
    "bicubic with corners": ("bicubic_to_matmul", LITE_X86, bicubic(out_h=3, out_w=20, align_corners=True)),
    "constant pad": ("pad_in_two_dimensions", LITE_X86, padded("constant")),
    "reflected pad": ("pad_in_two_dimensions", LITE_X86, padded("reflect")),
    "replicated pad": ("pad_in_two_dimensions", LITE_X86, padded("replicate")),
    "circular pad, Paddle-Lite": ("circular_pad_to_concat", LITE_X86, padded("circular")),
    "circular pad, ONNX": ("circular_pad_to_concat", ONNX, padded("circular")),
    "padding SAME with dilation": ("explicit_padding", ONNX, same_convolution),
    "batch_norm behind a computed filter": ("batch_norm_apart", LITE_X86, normalized_behind_computed_filter),
    "biases in two forms": ("one_form_of_bias", LITE_X86, line_and_image),
    "sign": ("activations_to_arithmetic", LITE_X86, one("sign")),
    "depthwise transposed convolution": ("twin_operators", LITE_X86, depthwise_transposed),
    "a sum of three": ("twin_operators", LITE_X86, added),
    "a mean over all": ("twin_operators", LITE_X86, centred),
    "adaptive maximum": ("adaptive_max_pool_to_windows", ONNX, adaptive_maximum(4, 3)),
    "a number where a mask says so, ONNX": ("index_put_to_where", ONNX, put_where_negative),
    "a number where a mask says so, Paddle-Lite": ("index_put_to_where", LITE_X86, put_where_negative),
    "a part of two axes": ("set_value_of_one_axis", ONNX, set_part(**_WINDOW)),
    "a part of two axes, a tensor": ("set_value_of_one_axis", ONNX, set_part(tensor=(1, 4, 3, 2), **_WINDOW)),
    "a row of one channel": ("set_value_of_one_axis", ONNX, set_part(tensor=(8,), dropped=(1, 2), **_ROW)),
    "the last column": (
        "set_value_of_one_axis", ONNX, set_part(dropped=(3,), axes=[3], starts=[-1], ends=[2**31 - 1], steps=[1]),
    ),
    "a few channels": (
        "set_value_of_one_axis", ONNX, set_part(tensor=(1, 2, 6, 8), axes=[1], starts=[1], ends=[-1], steps=[1]),
    ),
    "the whole": ("set_value_of_one_axis", ONNX, set_part(tensor=DIMS, axes=[], starts=[], ends=[], steps=[])),
    "norm of 1": ("p_norm_to_reduction", LITE_X86, norm(1.0)),
    "norm of 3": ("p_norm_to_reduction", LITE_X86, norm(3.0, keep=False)),
    "infinite norm, ONNX": ("p_norm_to_reduction", ONNX, norm(float("inf"))),
    "infinite norm, Paddle-Lite": ("p_norm_to_reduction", LITE_X86, norm(float("inf"))),
    "smallest magnitude": ("p_norm_to_reduction", ONNX, norm(float("-inf"))),
    "norm of the whole": ("p_norm_to_reduction", LITE_X86, norm_of_all(2.0)),
    "infinite norm of the whole": ("p_norm_to_reduction", ONNX, norm_of_all(float("inf"))),
    "number of non-zeros": ("p_norm_to_reduction", ONNX, norm(0.0, keep=False)),
    "average of pairs of channels": ("pool3d_to_pool2d", LITE_X86, volume_pool("avg", (2, 6, 8), **_PAIRS)),
    "average of volumes": ("pool3d_to_pool2d", LITE_X86, volume_pool("avg", (2, 6, 4), **_WINDOWS)),
    "maximum of volumes": ("pool3d_to_pool2d", LITE_X86, volume_pool("max", (2, 6, 4), **_WINDOWS)),
    "boolean mask": ("boolean_mask", LITE_X86, above_zero),
    "pool of channels last, ONNX": ("channels_first", ONNX, averaged((1, 3, 4, 8), data_format="NHWC")),
    "pool of channels last, Paddle-Lite": ("channels_first", LITE_X86, averaged((1, 3, 4, 8), data_format="NHWC")),
    "pad of channels last": ("channels_first", ONNX, padded_last),
    "average that counts zeros": ("counted_zeros", ONNX, averaged((1, 4, 4, 5))),
    "average that counts uneven zeros": (
        "counted_zeros", ONNX, averaged((1, 4, 3, 4), paddings=[0, 1, 0, 1], ceil_mode=False),
    ),
    "average with padding SAME": ("explicit_padding", ONNX, averaged((1, 4, 3, 4), padding_algorithm="SAME")),
    "transposed convolution with padding SAME": ("explicit_padding", ONNX, upsampled),
    "halves rounded": ("activations_to_arithmetic", ONNX, halves),
    "steep leaky ReLU": ("activations_to_arithmetic", LITE_X86, one("leaky_relu", alpha=1.5)),
    "PReLU of elements": (
        "activations_to_arithmetic", LITE_X86, pair_of_images("prelu", (1, 2, 6, 8), mode="element"),
    ),
    "fifth power": ("power_to_product", LITE_X86, one("pow", factor=5.0)),
    "relu6 behind a convolution, scaled": ("scale_apart", LITE_X86, scaled_behind("relu6", 0.5, 0.0)),
    "ReLU behind a convolution, turned around": ("scale_apart", LITE_X86, scaled_behind("relu", -2.0, 0.0)),
    "leaky ReLU behind a convolution, shifted": (
        "scale_apart", LITE_X86, scaled_behind("leaky_relu", 1.0, 1.5, alpha=0.1),
    ),
    "ReLU behind a convolution, scaled, then shifted": ("scale_apart", LITE_X86, scaled_then_shifted),
    "quotient rounded down": ("floor_division", LITE_X86, divided_down),
    "fractional norm": ("p_norm_to_reduction", LITE_X86, norm(2.5)),
    "resize to a line": ("resize_to_matmul", ONNX, resized("bilinear", 12, 1)),
    "nearest pixel between corners": ("resize_to_matmul", ONNX, resized("nearest", 5, 13, align_corners=True)),
    "resize by a factor": ("resize_to_matmul", LITE_X86, resized("bilinear", 9, 10, scale=[1.5, 1.3])),
    "group_norm of a line": ("group_norm_of_images", LITE_X86, grouped_line),
    "norm of the whole with all axes": (
        "p_norm_to_reduction", ONNX, one("p_norm", (1, 1, 1, 1), porder=1.0, axis=3, **WHOLE),
    ),
    "sum from the end": ("cumsum_to_plain", ONNX, one("cumsum", axis=2, reverse=True, exclusive=True, flatten=False)),
    **{
        f"{what}, {target}": ("strided_slice_forwards", target, make)
        for target in (ONNX, LITE_X86)
        for what, make in {
            "backwards": cut(DIMS, axes=[2], starts=[_OPEN], ends=[-1], strides=[-1]),
            "backwards to an end below the axis": cut(
                (1, 4, 5, 4), axes=[2, 3], starts=[-1, -1], ends=[-7, -_OPEN - 1], strides=[-1, -2]
            ),
            "one axis backwards, one ahead": cut(
                (1, 4, 6, 3), axes=[2, 3], starts=[-1, 1], ends=[-1, -1], strides=[-1, 2]
            ),
        }.items()
    },
    "ahead from below the axis": (
        "strided_slice_forwards", LITE_X86, cut((1, 4, 2, 8), axes=[2], starts=[-9], ends=[3], strides=[2]),
    ),
    "roll by more than the axis": ("roll_within_axis", ONNX, rolled([7], [2])),
    "roll of two axes back": ("roll_within_axis", ONNX, rolled([2, -19], [1, -1])),
    "roll of all by more than there is": ("roll_within_axis", ONNX, rolled([-200], [])),
    "roll of all": ("roll_within_axis", LITE_X86, rolled([3], [])),
    "crop, ONNX": ("crop_to_slice", ONNX, one("crop_tensor", (1, 2, 3, 4), shape=[1, 2, 3, 4], offsets=[0, 1, 2, 1])),
    "crop to the end": (
        "crop_to_slice", LITE_X86, one("crop_tensor", (1, 3, 4, 4), shape=[-1, -1, 4, 4], offsets=[0, 1, 2, 1]),
    ),
    "windows of uneven paddings": (
        "unfold_to_convolution", ONNX,
        one(
            "unfold", (1, 24, 28), slot="Y",
            kernel_sizes=[3, 2], strides=[2, 1], paddings=[1, 0, 2, 1], dilations=[1, 2],
        ),
    ),
    "boxes that are not aligned": ("roi_align_of_shifted_boxes", ONNX, aligned),
    "dot of two lists": ("dot_to_sum", ONNX, dotted),
    "maximum of the whole image": ("max_pool_without_indices", LITE_X86, maximum_of_all),
    "line resized by a factor": ("linear_interp_to_bilinear", LITE_X86, resized_line),
    "logsigmoid of what is far below zero": ("activations_to_arithmetic", ONNX, far_logsigmoid),
    "resize by a tensor of factors": ("constant_arguments", LITE_X86, resized_by_tensor),
    "resize by a factor and to a size": (
        "resize_by_factor", ONNX, resized("bilinear", 12, 16, scale=[2.0, 2.0], out_h=7, out_w=5),
    ),
    "shift of channels that come last": ("channels_first", ONNX, shifted_channels_last),
    "scale of channels that come last": ("channels_first", ONNX, scaled_channels_last),
    "sums of rows, with zeros": ("scatter_of_sums", ONNX, added_up([3, 5, 3])),
    "rows for others, with zeros": ("scatter_of_sums", ONNX, added_up([3, 5])),
    "parts of a list": ("unbind_to_unstack", LITE_X86, unbound),
    "parts of a list, ONNX": ("unbind_to_unstack", ONNX, unbound),
    "a part backwards": (
        "set_value_of_one_axis", ONNX, set_part(axes=[3], starts=[-1], ends=[1], steps=[-2]),
    ),
    "a part backwards, a tensor": (
        "set_value_of_one_axis", ONNX, set_part(tensor=(1, 4, 6, 3), axes=[3], starts=[-1], ends=[1], steps=[-2]),
    ),
    "a channel to a line": (
        "set_value_of_one_axis", ONNX, set_part(tensor=(8,), dropped=(1,), axes=[1], starts=[1], ends=[2], steps=[1]),
    ),
    "einsum of one operand": ("einsum_to_sum", LITE_X86, summed_letters),
    "lerp": ("lerp_to_arithmetic", ONNX, interpolated),
    "lerp, Paddle-Lite": ("lerp_to_arithmetic", LITE_X86, interpolated),
    "atan2": ("atan2_to_atan", ONNX, angles),
    "trunc": ("activations_to_arithmetic", ONNX, one("trunc")),
    "expm1": ("activations_to_arithmetic", LITE_X86, one("expm1")),
    "Frobenius norm": (
        "frobenius_norm_to_reduction", ONNX,
        one("frobenius_norm", (1, 4), dim=[2, 3], keep_dim=False, reduce_all=False, **_DTYPES),
    ),
    "pasted windows": (
        "fold_to_transposed_convolution", ONNX,
        pasted((5, 7), 6, kernel_sizes=[2, 2], strides=[2, 2], paddings=[0] * 4, dilations=[1, 1]),
    ),
    "pasted windows that overlap": (
        "fold_to_transposed_convolution", LITE_X86,
        pasted((3, 9), 16, kernel_sizes=[2, 2], strides=[1, 2], paddings=[1, 0, 1, 0], dilations=[1, 1]),
    ),
    "a grid with corners": ("affine_grid_to_matmul", ONNX, affine_grid(True)),
    "a grid with edges": ("affine_grid_to_matmul", LITE_X86, affine_grid(False)),
    "repeated columns": (
        "repeat_to_concat", LITE_X86, one("repeat_interleave", (1, 4, 6, 24), Repeats=3, dim=3),
    ),
    "one mask or another": ("bitwise_of_masks", LITE_X86, either),
    "any of a mask": ("any_all_to_reduction", LITE_X86, of_masks("reduce_any")),
    "all of a mask": ("any_all_to_reduction", LITE_X86, of_masks("reduce_all")),
    "a mask with its axes in another order": ("moves_of_masks", LITE_X86, moved_mask),
    "integers backwards": ("integers_as_floats", LITE_X86, moved_integers("flip", axis=[1])),
    "integers rolled": (
        "integers_as_floats", LITE_X86,
        moved_integers("roll", typed={"shifts": ("LONGS", [1]), "axis": ("LONGS", [3])}),
    ),
    "a triangle of integers": ("integers_as_floats", LITE_X86, moved_integers("tril_triu", diagonal=0, lower=True)),
    "a triangle of integers, ONNX": ("integers_as_floats", ONNX, moved_integers("tril_triu", diagonal=0, lower=True)),
    "where the smallest is": ("arg_min_to_arg_max", LITE_X86, where_smallest),
    "a tensor without axes": ("zero_dim_constants", LITE_X86, as_scalar),
    "scale of whole numbers": ("scale_of_integers", ONNX, scaled_whole),
    "sum of what is cut to whole numbers": ("cast_before_reduction", ONNX, summed_whole),
}  # fmt: skip
IMAGE = np.random.default_rng(1).normal(size=DIMS).astype(np.float32)


def built(make: Make) -> Program:
    graph = Graph()
    return graph.program(make(graph, graph.feed(*DIMS)))


def difference(program: Program, expected: np.ndarray, target: Target, tools: Toolchain) -> float:
    """Of the export from Paddle, over the largest value."""
    changed, _ = rewrites.rewrite_for(target, program)
    (found,) = (tools.onnx if target == ONNX else tools.lite)(changed, [IMAGE])
    if found.shape != expected.shape:
        return np.inf
    return float(np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).astype(np.float64).max())


@pytest.mark.parametrize("what", CASES)
def test_with_its_rewrite_it_is_what_paddle_gives(what: str, tools: Toolchain) -> None:
    name, target, make = CASES[what]
    program = built(make)
    notes = rewrites.rewrite_for(target, program)[1]
    assert name in {note.split()[0] for note in notes}
    assert difference(program, tools.paddle(program, [IMAGE])[0], target, tools) <= 1e-5


@pytest.mark.parametrize("what", CASES)
def test_without_its_rewrite_it_fails_or_is_wrong(what: str, tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    name, target, make = CASES[what]
    program = built(make)
    expected = tools.paddle(program, [IMAGE])[0]
    monkeypatch.setattr(rewrites, "REWRITES", tuple(one for one in rewrites.REWRITES if one.name != name))
    try:
        found = difference(program, expected, target, tools)
    except SegexportError:
        return
    assert not found <= 1e-5


@pytest.mark.parametrize(("shift", "free"), [([15], [1]), ([-9, 20], [1, 3])])
def test_a_roll_of_a_free_axis_by_more_than_it_has(shift: list[int], free: list[int], tools: Toolchain) -> None:
    graph = Graph()
    image = graph.feed(*(-1 if axis in free else size for axis, size in enumerate(DIMS)))
    typed = {"shifts": ("LONGS", shift), "axis": ("LONGS", free)}
    program = graph.program(graph.op("roll", {"X": image}, graph.shape(image), typed=typed))
    changed, notes = rewrites.rewrite_for(ONNX, program)
    assert notes == ["roll_of_free_axis 1: 1 operator roll of a dynamic axis written as gather"]
    np.testing.assert_array_equal(tools.onnx(changed, [IMAGE])[0], np.roll(IMAGE, shift, free))
    assert not np.array_equal(tools.onnx(program, [IMAGE])[0], np.roll(IMAGE, shift, free))


def whole_backwards(graph: Graph, image: str) -> str:
    bounds = {"axes": [1, 2], "starts": [0, _OPEN], "ends": [3, -1], "strides": [1, -2], "infer_flags": [1, 1]}
    dims = (1, 3, -1, -1)
    return graph.op("strided_slice", {"Input": image}, dims, typed={"decrease_axis": ("INTS", [])}, **bounds)


def summed_over_five_free(graph: Graph, image: str) -> str:
    five = graph.op(
        "unsqueeze2", {"X": image}, {"Out": (1, 1, 4, -1, -1), "XShape": (0, *graph.shape(image))}, axes=[0]
    )
    attrs = {"dim": [2], "keep_dim": True, "reduce_all": False, **_DTYPES}
    return graph.op("reduce_sum", {"X": five}, (1, 1, 1, -1, -1), **attrs)


def over_its_size(graph: Graph, image: str) -> str:
    """Over the number of its elements."""
    many = graph.op("size", {"Input": image}, (), dtype="int64")
    number = graph.op("cast", {"X": many}, (), in_dtype=3, out_dtype=5)
    return graph.op("elementwise_div", {"X": image, "Y": number}, graph.shape(image), axis=-1)


def over_its_sum(graph: Graph, image: str) -> str:
    attrs = {"keep_dim": False, "reduce_all": False, "typed": {"dim": ("INTS", [])}, **_DTYPES}
    total = graph.op("reduce_sum", {"X": graph.op("exp", {"X": image}, graph.shape(image))}, (), **attrs)
    return graph.op("elementwise_div", {"X": image, "Y": total}, graph.shape(image), axis=-1)


FREE: dict[str, tuple[str, Target, Make]] = {
    "a flip": ("flip_of_free_axis", ONNX, one("flip", (1, 4, -1, -1), axis=[1, 3])),
    "a slice backwards, ONNX": ("strided_slice_of_free_axis", ONNX, whole_backwards),
    "a slice backwards, Paddle-Lite": ("strided_slice_of_free_axis", LITE_X86, whole_backwards),
    "a sum over one of five axes": ("reductions_of_few_axes", LITE_X86, summed_over_five_free),
    "the number of elements": ("size_to_product", LITE_X86, over_its_size),
    "a sum of everything": ("reduction_of_everything", ONNX, over_its_sum),
    "a sum of everything, Paddle-Lite": ("reduction_of_everything", LITE_X86, over_its_sum),
}


@pytest.mark.parametrize("what", FREE)
def test_of_free_size(what: str, tools: Toolchain) -> None:
    name, target, make = FREE[what]
    graph = Graph()
    program = graph.program(make(graph, graph.feed(1, 4, -1, -1)))
    changed, notes = rewrites.rewrite_for(target, program)
    assert name in {note.split()[0] for note in notes}
    (found,) = (tools.onnx if target == ONNX else tools.lite)(changed, [IMAGE])
    np.testing.assert_allclose(found, tools.paddle(program, [IMAGE])[0], atol=1e-5)


def test_an_expansion_to_a_size_that_was_fixed(tools: Toolchain) -> None:
    graph = Graph()
    column, image = graph.feed(1, 4, 1, 8), graph.feed(*DIMS)
    typed = {"target_shape": ("INTS", [-1, 4, -1, 8])}
    program = graph.program(graph.op("expand_as_v2", {"X": column, "Y": image}, DIMS, typed=typed))
    changed, notes = rewrites.rewrite_for(ONNX, program)
    assert notes == ["expand_as_to_expand 2: 1 operator expand_as_v2 written as expand_v2"]
    (found,) = tools.onnx(changed, [IMAGE[:, :, :1].copy(), IMAGE])
    np.testing.assert_array_equal(found, IMAGE[:, :, :1].repeat(6, axis=2))


def test_an_expansion_to_a_free_size(tools: Toolchain) -> None:
    graph = Graph()
    column, image = graph.feed(-1, 4, 1, 8), graph.feed(-1, 4, -1, 8)
    inputs = {"X": column, "Y": image}
    typed = {"target_shape": ("INTS", [-1, 4, -1, 8])}
    program = graph.program(graph.op("expand_as_v2", inputs, (-1, 4, -1, 8), typed=typed))
    feed = [IMAGE[:, :, :1].copy(), IMAGE]
    changed, notes = rewrites.rewrite_for(ONNX, program)
    assert notes == ["expand_as_of_free_size 1: 1 operator expand_as_v2 written as expand_v2 of a computed size"]
    np.testing.assert_array_equal(tools.onnx(changed, feed)[0], IMAGE[:, :, :1].repeat(6, axis=2))
    with pytest.raises(SegexportError):
        tools.onnx(program, feed)


def test_a_count_of_steps_that_is_computed(tools: Toolchain) -> None:
    graph = Graph()
    image = graph.feed(1, -1)
    sizes = graph.op("shape", {"Input": image}, (2,), dtype="int32")
    many = graph.op("slice", {"Input": sizes}, (1,), dtype="int32", axes=[0], starts=[1], ends=[2])
    inputs = {"Start": graph.param([-1]), "Stop": graph.param([2]), "Num": many}
    program = graph.program(graph.op("linspace", inputs, (-1,), typed={"dtype": ("INT", 5)}))
    changed, notes = rewrites.rewrite_for(ONNX, program)
    assert notes == ["linspace_to_range 1: 1 operator linspace of a computed count written as range"]
    for count in (1, 2, 7):
        (found,) = tools.onnx(changed, [np.zeros((1, count), np.float32)])
        np.testing.assert_allclose(found, np.linspace(-1, 2, count), atol=1e-6)


def test_places_in_a_large_tensor_are_float32() -> None:
    graph = Graph()
    index = graph.param(np.zeros((2, 1, 1)), "int64")
    inputs = {"Input": graph.feed(2, 300, 300), "Index": index}
    program = graph.program(graph.op("take_along_axis", inputs, (2, 1, 1), slot="Result", Axis=1))
    changed, _ = rewrites.rewrite_for(LITE_X86, program)
    assert {value.dtype.name for value in changed.params.values()} <= {"float32", "int32", "int64"}


def test_axes_of_a_narrower_tensor_of_free_size(tools: Toolchain) -> None:
    graph = Graph()
    image, columns = graph.feed(*DIMS), graph.feed(4, -1)
    program = graph.program(graph.op("elementwise_add", {"X": columns, "Y": image}, (1, 4, -1, 8), axis=1))
    feed = [IMAGE, np.arange(24, dtype=np.float32).reshape(4, 6)]
    changed, notes = rewrites.rewrite_for(ONNX, program)
    assert notes == [
        "axes_behind_the_narrower 1: 1 operator placed by axis given tensors of as many axes",
    ]
    np.testing.assert_array_equal(tools.onnx(changed, feed)[0], IMAGE + feed[1][None, :, :, None])
    with pytest.raises(SegexportError):
        tools.onnx(program, feed)


def test_a_padding_of_free_size_drops_the_dilation(tools: Toolchain) -> None:
    graph = Graph()
    attrs = {"strides": [2, 2], "paddings": [0, 0], "dilations": [2, 2], "groups": 1, "padding_algorithm": "SAME"}
    inputs = {"Input": graph.feed(1, 4, -1, -1), "Filter": graph.noise(3, 4, 3, 3)}
    out = graph.op("conv2d", inputs, (1, 3, -1, -1), slot="Output", data_format="NCHW", **attrs)
    program = graph.program(out)
    changed, _ = rewrites.rewrite_for(ONNX, program)
    np.testing.assert_allclose(tools.onnx(changed, [IMAGE])[0], tools.paddle(program, [IMAGE])[0], atol=1e-5)
    with pytest.raises(SegexportError):
        tools.onnx(program, [IMAGE])


def test_resized_whole_numbers_stay_whole(tools: Toolchain) -> None:
    program = built(resized_classes)
    (expected,) = tools.paddle(program, [IMAGE])
    changed, notes = rewrites.rewrite_for(LITE_X86, program)
    assert "integers_as_floats 3: 1 operator of integers computed as float" in notes
    (found,) = tools.lite(changed, [IMAGE])
    assert found.dtype == expected.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert tools.lite(program, [IMAGE])[0].dtype == np.float32


def test_sizes_that_are_computed_in_64_bits(tools: Toolchain) -> None:
    graph = Graph()
    image, sizes = graph.feed(*DIMS), graph.feed(2, dtype="int64")
    program = graph.program(graph.op("reshape2", {"X": image, "Shape": sizes}, {"Out": (-1, -1), "XShape": (0, *DIMS)}))
    feed = [IMAGE, np.array([16, 12])]
    changed, notes = rewrites.rewrite_for(LITE_X86, program)
    assert notes == ["shape_tensor_int32 1: 1 operator reshape2 given its sizes in 32 bits"]
    np.testing.assert_array_equal(tools.lite(changed, feed)[0], IMAGE.reshape(16, 12))
    with pytest.raises(SegexportError):
        tools.lite(program, feed)


def test_a_phone_takes_what_x86_takes(tools: Toolchain) -> None:
    """All of them in one program: each through its own output."""
    graph = Graph()
    image = graph.feed(*DIMS)
    program = graph.program(*[make(graph, image) for _, target, make in CASES.values() if target == LITE_X86])
    changed, _ = rewrites.rewrite_for(LITE_ARM, program)
    assert tools.opt(changed, "arm").stat().st_size > 0


def test_weights_of_a_bicubic_line() -> None:
    """Keys' kernel at distances 1.25, 0.25, 0.75 and 1.75, by hand; at the edge they add up on the outermost pixel."""
    quarter = [-0.10546875, 0.87890625, 0.26171875, -0.03515625]
    assert bicubic_matrix(8, 16, False)[5] == pytest.approx([0, *quarter, 0, 0, 0])
    assert bicubic_matrix(8, 16, False)[1] == pytest.approx([quarter[0] + quarter[1], *quarter[2:], 0, 0, 0, 0, 0])
    assert bicubic_matrix(5, 9, True)[8] == pytest.approx([0, 0, 0, 0, 1])


def by_tensor(type: str, slot: str, count: int, dims: tuple[int, ...] = (-1,) * 4, **attrs: object) -> Make:
    """An operator whose argument is computed: `count` numbers in one tensor, or a tensor for each (a `...List`)."""

    def make(graph: Graph, image: str) -> str:
        many = slot.endswith("List") or slot == "repeat_times_tensor"
        given = [graph.feed(1, dtype="int32") for _ in range(count)] if many else graph.feed(count, dtype="int32")
        source = "Input" if type == "strided_slice" else "X"
        return graph.op(type, {source: image, slot: given}, dims, **attrs)

    return make


def with_starts(graph: Graph, image: str) -> str:
    """Two axes whose bounds are computed."""
    typed = {name: ("LONGS", value) for name, value in _WINDOW.items()} | {"none_axes": ("LONGS", [])}
    starts = [graph.feed(1, dtype="int64") for _ in range(2)]
    inputs = {"Input": image, "ValueTensor": graph.noise(1, 4, 3, 2), "StartsTensorList": starts}
    return graph.op("set_value", inputs, DIMS, typed=typed)


def indices_of_uneven_bins(graph: Graph, image: str) -> str:
    adaptive_maximum(4, 4)(graph, image)
    return graph.last().outputs["Mask"][0]


def of_free_size(make: Make) -> Make:
    """Of an image with any number of channels."""
    return lambda graph, _: make(graph, graph.feed(1, -1, 6, 8))


def pair_shifted(graph: Graph, image: str) -> str:
    two = graph.op("reshape2", {"X": image}, {"Out": (2, 2, 6, 8), "XShape": (0, *DIMS)}, shape=[2, 2, 6, 8])
    return graph.op("temporal_shift", {"X": two}, (2, 2, 6, 8), seg_num=2, shift_ratio=0.5, data_format="NCHW")


def volume_padded(graph: Graph, image: str) -> str:
    deep = graph.op("unsqueeze2", {"X": image}, {"Out": (1, 1, *DIMS[1:]), "XShape": (0, *DIMS)}, axes=[1])
    return graph.op("pad3d", {"X": deep}, (1, 1, 6, 8, 10), **_EDGE)


def cut_away(graph: Graph, image: str) -> str:
    bounds = {"axes": [2], "starts": [3], "ends": [3], "infer_flags": [1]}
    return graph.op("slice", {"Input": image}, (1, 4, 0, 8), typed={"decrease_axis": ("INTS", [])}, **bounds)


def sampled_volume(graph: Graph, image: str) -> str:
    volume = graph.op("unsqueeze2", {"X": image}, {"Out": (1, 1, *DIMS[1:]), "XShape": (0, *DIMS)}, axes=[1])
    attrs = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": True}
    return graph.op(
        "grid_sampler", {"X": volume, "Grid": graph.noise(1, 2, 3, 4, 3)}, (1, 1, 2, 3, 4), slot="Output", **attrs
    )


def given_mask(graph: Graph, image: str) -> str:
    typed = {"dtype": ("INT", 0), "shape": ("INTS", [4]), "bool_values": ("INTS", [1, 0, 0, 1])}
    return graph.op("assign_value", {}, (4,), dtype="bool", typed=typed)


def boxes_of_two_images(graph: Graph, image: str) -> str:
    pair = graph.op("reshape2", {"X": image}, {"Out": (2, 2, 6, 8), "XShape": (0, *DIMS)}, shape=[2, 2, 6, 8])
    return aligned(graph, pair, aligned=True)


def largest_whole(graph: Graph, image: str) -> str:
    whole = graph.op("cast", {"X": image}, DIMS, dtype="int32", in_dtype=5, out_dtype=2)
    sizes = {"Out": (1, 4, 6, 2), "Indices": (1, 4, 6, 2)}
    return graph.op("top_k_v2", {"X": whole}, sizes, axis=-1, k=2, largest=True, sorted=True)


def mask_set(graph: Graph, image: str) -> str:
    mask = above_zero(graph, image)
    typed = {"axes": ("LONGS", [3]), "starts": ("LONGS", [1]), "ends": ("LONGS", [3]), "steps": ("LONGS", [1])}
    typed |= {"decrease_axes": ("LONGS", []), "none_axes": ("LONGS", []), "shape": ("LONGS", [1])}
    typed |= {"dtype": ("INT", 0), "values": ("SCALARS", [True])}
    return graph.op("set_value", {"Input": mask}, DIMS, dtype="bool", typed=typed)


def with_new_axis(graph: Graph, image: str) -> str:
    out = set_part(tensor=(1, 4, 6, 1, 2), axes=[3], starts=[1], ends=[3], steps=[1])(graph, image)
    graph.last().set_attr("none_axes", [3], "LONGS")
    return out


_PARTS = {"axes": [2], "starts": [0], "ends": [-1], "strides": [2], "infer_flags": [-1]}
_BACK = {"axes": [1], "starts": [3], "ends": [-9], "strides": [-1]}
_EDGE = {"mode": "constant", "value": 1.5, "data_format": "NCDHW", "paddings": [1] * 6}
_EMPTY_WINDOW = {"ksize": [1, 1], "paddings": [0, 0], "ceil_mode": True, "pooling_type": "max", "data_format": "NCHW"}
FAULTS: dict[str, tuple[Target, Make]] = {
    "pool2d": (ONNX, one("pool2d", (1, 4, 3, 3), **POOL | _EMPTY_WINDOW)),
    "hard_swish": (LITE_X86, one("hard_swish", threshold=4.0, scale=6.0, offset=3.0)),
    "swish": (ONNX, one("swish", beta=0.5)),
    "relu6": (ONNX, one("relu6", threshold=3.0)),
    "mish": (ONNX, one("mish", threshold=2.0)),
    "cast": (LITE_X86, one("cast", in_dtype=5, out_dtype=6, dtype="float64")),
    "p_norm": (LITE_X86, one("p_norm", (1, 4, 6), porder=2.0, axis=3, epsilon=0.1, keepdim=False, asvector=False)),
    "unsqueeze2": (ONNX, by_tensor("unsqueeze2", "AxesTensor", 1, (-1,) * 5, axes=[-1])),
    "strided_slice": (LITE_X86, by_tensor("strided_slice", "EndsTensor", 1, **_PARTS)),
    "split": (LITE_X86, by_tensor("split", "SectionsTensorList", 1, axis=2, num=0, sections=[-1])),
    "tile": (ONNX, by_tensor("tile", "repeat_times_tensor", 5, repeat_times=[-1] * 5)),
    "roll": (ONNX, by_tensor("roll", "ShiftsTensor", 1, typed={"axis": ("LONGS", [2])})),
    "softplus": (ONNX, one("softplus", beta=1.0, threshold=2.0)),
    "set_value": (ONNX, with_starts),
    "strided_slice backwards to nothing": (ONNX, cut((1, 0, 6, 8), **_BACK | {"starts": [-9]})),
    "strided_slice to nothing": (LITE_X86, cut((1, 0, 6, 8), **_BACK | {"strides": [1]})),
    "strided_slice backwards to a computed end": (ONNX, by_tensor("strided_slice", "EndsTensor", 1, **_BACK)),
    "strided_slice backwards, of dynamic size": (ONNX, of_free_size(cut((1, -1, 6, 8), **_BACK | {"ends": [-1]}))),
    "strided_slice ahead of a dynamic axis, backwards": (LITE_X86, of_free_size(cut((1, -1, 6, 8), **_BACK))),
    "temporal_shift": (LITE_X86, pair_shifted),
    "pad3d": (LITE_X86, volume_padded),
    "roll of all": (LITE_X86, of_free_size(rolled([3], []))),
    "max_pool2d_with_index": (ONNX, indices_of_uneven_bins),
    "max_pool2d_with_index whose indices are read": (LITE_ARM, indices_of_uneven_bins),
    "linear_interp_v2": (LITE_ARM, lambda graph, image: resized_line(graph, image, width=-1)),
    "cast to few bits": (LITE_X86, one("cast", in_dtype=5, out_dtype=21, dtype="int8")),
    "slice": (LITE_X86, cut_away),
    "strided_slice to nothing of a dynamic axis": (
        LITE_X86, of_free_size(cut((1, -1, 6, 8), axes=[1], starts=[2], ends=[2], strides=[1])),
    ),
    "grid_sampler": (LITE_X86, sampled_volume),
    "assign_value": (LITE_X86, given_mask),
    "roi_align": (ONNX, boxes_of_two_images),
    "top_k_v2": (LITE_X86, largest_whole),
    "set_value of a mask": (LITE_X86, mask_set),
    "set_value of a new axis": (ONNX, with_new_axis),
    "set_value from the end of a dynamic axis": (
        ONNX, of_free_size(set_part(axes=[1], starts=[-2], ends=[2**31 - 1], steps=[1])),
    ),
    "set_value of one channel of any number": (
        ONNX, of_free_size(set_part(tensor=(8,), dropped=(1,), axes=[1], starts=[1], ends=[2], steps=[1])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_what_would_come_out_wrong_is_refused(what: str) -> None:
    target, make = FAULTS[what]
    program, type = built(make), what.split()[0]
    with pytest.raises(
        UnsupportedModelError, match=rf"^{type} \(layer .*(weight|value)(_\d+)?\) cannot be exported to {target}"
    ):
        rewrites.rewrite_for(target, program)
    (obstacle,) = support_for(target, program).obstacles
    assert obstacle.operator == type
    assert f"cannot be exported to {target}" in obstacle.reason


@pytest.mark.parametrize(
    ("target", "make"),
    [
        (ONNX, of_free_size(cut((1, -1, 6, 8), axes=[1], starts=[3], ends=[0], strides=[-1]))),
        (LITE_X86, of_free_size(cut((1, -1, 6, 8), axes=[1], starts=[2], ends=[-1], strides=[1]))),
        (LITE_X86, one("temporal_shift", seg_num=1, shift_ratio=0.25, data_format="NCHW")),
    ],
)
def test_what_comes_out_right_is_not_refused(target: Target, make: Make) -> None:
    assert rewrites.rewrite_for(target, built(make))[1] == []


def test_a_refusal_names_operator_and_layer() -> None:
    refusal = UnsupportedModelError("paddle2onnx cannot convert this program")
    named = in_the_way("onnx", built(one("digamma")), refusal)
    assert named.what == "cannot be exported to onnx: digamma (layer behind weight)"
    assert "has no operator digamma" in named.cause
    assert in_the_way("onnx", built(one("relu")), refusal) is refusal
