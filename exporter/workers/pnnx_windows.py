"""Replaces windows (pools, resizes, transposed convolutions) that pnnx or ncnn lacks, or places differently."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx_rule import Arrays, Others, Shapes, values_of


def _resize_by_corners(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Replaces a linear resize whose grid is `asymmetric`, which ncnn computes as if it were `half_pixel`.

    Output pixel i of n reads the input at i * m / n, m its size. With one more pixel at the end of both, the last
    one repeated, that is the grid of aligned corners; the pixel is cut off again.
    """
    values = values_of(node)
    value, made = node.input[0], node.output[0]
    before, after = shapes.get(value, []), shapes.get(made, [])
    sized = len(before) == len(after) == 4 and 0 not in (*before, *after)
    asymmetric = values.get("coordinate_transformation_mode") == b"asymmetric"
    if values.get("mode") != b"linear" or not asymmetric or not sized:
        return None
    one, last = [*after[:2], after[2] + 1, after[3] + 1], [0, 0, 0, 0, 0, 0, 1, 1]
    arrays = {"pads": last, "sizes": one, "starts": [0, 0], "ends": after[2:], "axes": [2, 3]}
    for name, array in arrays.items():
        graph.initializer.append(numpy_helper.from_array(np.array(array, np.int64), f"{made}.{name}"))
    more, corners = f"{made}.padded", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    cut = [f"{made}.{name}" for name in ("starts", "ends", "axes")]
    return [
        helper.make_node("Pad", [value, f"{made}.pads"], [more], more, mode="edge"),
        helper.make_node("Resize", [more, "", "", f"{made}.sizes"], [f"{made}.corners"], node.name, **corners),
        helper.make_node("Slice", [f"{made}.corners", *cut], [made], f"{made}.cut"),
    ]


def _pool_padded(graph: onnx.GraphProto, node: NodeProto, shapes: Shapes, _constants: Arrays) -> Others:
    """Pads the image before an `AveragePool` of uneven pads, which pnnx does not convert.

    Where padding does not count, the mean of all elements is multiplied by their number through the number of those
    that count.
    """
    values = values_of(node)
    pads, kernel = values.get("pads", []), values.get("kernel_shape", [])
    before, after = shapes.get(node.input[0], []), shapes.get(node.output[0], [])
    uneven = len(pads) == 4 and pads[:2] != pads[2:]
    if not uneven or values.get("ceil_mode") or len(before) != 4 or 0 in (*before, *after):
        return None
    made, strides = node.output[0], values.get("strides", [1, 1])
    named = {f"{made}.pads": np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)}
    named[f"{made}.zero"] = np.float32(0)
    share = np.ones(1, np.float32)
    if not values.get("count_include_pad"):
        counts = [_counts(after[2 + i], before[2 + i], kernel[i], strides[i], pads[i]) for i in (0, 1)]
        share = (np.prod(kernel) / np.outer(*counts)).astype(np.float32)
    whole = made if (share == 1).all() else f"{made}.mean"
    sizes = {"kernel_shape": kernel, "strides": strides}
    nodes = [
        helper.make_node("Pad", [node.input[0], *named], [f"{made}.padded"], f"{made}.padded", mode="constant"),
        helper.make_node("AveragePool", [f"{made}.padded"], [whole], node.name, **sizes),
    ]
    if whole != made:
        named[f"{made}.share"] = np.broadcast_to(share, (1, before[1], *share.shape))
        nodes.append(helper.make_node("Mul", [whole, f"{made}.share"], [made], f"{made}.counted"))
    graph.initializer.extend(numpy_helper.from_array(np.array(v), k) for k, v in named.items())
    return nodes


def _counts(made: int, size: int, kernel: int, step: int, pad: int) -> np.ndarray:
    """The number of elements, without padding, of each window along one axis."""
    starts = np.arange(made) * step - pad
    return np.minimum(starts + kernel, size) - np.maximum(starts, 0)


def _pads_by_output(_graph: onnx.GraphProto, node: NodeProto, _shapes: Shapes, _constants: Arrays) -> Others:
    """Gives a `ConvTranspose` that cuts less at the end even pads and `output_padding`: pnnx takes no uneven pads."""
    values = values_of(node)
    pads, added = values.get("pads", []), values.get("output_padding", [0, 0])
    if len(pads) != 4 or pads[:2] == pads[2:]:
        return None
    more = [begin - end for begin, end in zip(pads[:2], pads[2:], strict=True)]
    added = [old + new for old, new in zip(added, more, strict=True)]
    strides = values.get("strides", [1, 1])
    if min(more) < 0 or any(size >= step for size, step in zip(added, strides, strict=True)):
        return None
    values |= {"pads": pads[:2] * 2, "output_padding": added}
    return [helper.make_node(node.op_type, node.input, node.output, node.name, **values)]


def drop_idle(node: NodeProto) -> None:
    """Removes the attributes of a resize that its mode does not use; with them, pnnx does not convert it."""
    values = values_of(node)
    mode, grid = values.get("mode", b"nearest"), values.get("coordinate_transformation_mode", b"half_pixel")
    idle = set() if mode == b"nearest" else {"nearest_mode"}
    idle |= set() if mode == b"cubic" else {"cubic_coeff_a", "exclude_outside"}
    idle |= set() if grid == b"tf_crop_and_resize" else {"extrapolation_value"}
    kept = [attribute for attribute in node.attribute if attribute.name not in idle]
    del node.attribute[:]
    node.attribute.extend(kept)


RULES = {
    "Resize": _resize_by_corners,
    "AveragePool": _pool_padded,
    "ConvTranspose": _pads_by_output,
}
