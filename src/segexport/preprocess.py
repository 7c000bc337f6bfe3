"""The preprocessing contract of `spec.Preprocess` in NumPy and OpenCV, and its inverse for masks.

Test vectors in `tests/golden/preprocess` keep the Java version equal to this file. All sizes are computed first, by
rules that need only IEEE doubles and integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segexport.data.images import MAX_PIXELS
from segexport.errors import InputError, ModelSettingsError, TooLargeError
from segexport.spec import (
    Clip,
    Geometry,
    LimitLong,
    LimitShort,
    Pad,
    PadToMultiple,
    PadToRatio,
    Preprocess,
    Resize,
    ResizeLong,
    ResizeShort,
    ResizeToMultiple,
    TensorSpec,
)

Size = tuple[int, int]  # width, height

_INTERPOLATION = {  # without "nearest": OpenCV's shifts the image by half a pixel, or works in 16-bit fixed point
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos4": cv2.INTER_LANCZOS4,
}

_PADDINGS = (Pad, PadToRatio, PadToMultiple)
_SWAPPED = {"bgr": (2, 1, 0), "bgra": (2, 1, 0, 3)}  # index in the image of each of the contract's channels
_AT_ONCE = 4  # most channels that OpenCV resizes together


@dataclass(frozen=True)
class Placement:
    """The position of an image in its tensor: its size before and after each geometry operation.

    Attributes:
        sizes: (width, height) of the decoded image, then after each operation; the last is the tensor's.
        padded: For each operation, whether the image kept its pixels (it was padded, or clipped) or was resized.
    """

    sizes: tuple[Size, ...]
    padded: tuple[bool, ...] = ()

    @property
    def original(self) -> Size:
        """(width, height) of the decoded image."""
        return self.sizes[0]

    @property
    def tensor(self) -> Size:
        """(width, height) of the tensor."""
        return self.sizes[-1]

    @property
    def content(self) -> Size:
        """(width, height) of the image inside the tensor, without the paddings at the end."""
        padded_last = 0
        while padded_last < len(self.padded) and self.padded[-1 - padded_last]:
            padded_last += 1
        return self.sizes[len(self.sizes) - 1 - padded_last]


def place(preprocess: Preprocess, width: int, height: int) -> Placement:
    """Computes the sizes of an image of `width` x `height` after each operation.

    Raises:
        InputError: The image does not fit into a padding, or the tensor would be too large.
    """
    sizes: list[Size] = [(width, height)]
    for op in preprocess.geometry:
        size = _size_after(op, *sizes[-1])
        if size[0] * size[1] > MAX_PIXELS:
            raise TooLargeError(
                f"an image of {width}x{height} would become {size[0]}x{size[1]} by {op.op}",
                cause=f"the limit is {MAX_PIXELS / 1e6:g} million pixels",
            )
        sizes.append(size)
    return Placement(tuple(sizes), tuple(isinstance(op, (*_PADDINGS, Clip)) for op in preprocess.geometry))


def apply(
    preprocess: Preprocess, image: np.ndarray, *, input_spec: TensorSpec | None = None
) -> tuple[np.ndarray, Placement]:
    """Converts an image to the network's input tensor.

    Args:
        preprocess: The contract.
        image: (height, width, channels) as in the contract's `pixels`: colours always in RGB order.
        input_spec: The model's input; the tensor must match its fixed sizes.

    Returns:
        The contiguous tensor, float32 (1, channels, height, width) in the contract's channel order, and the placement.
        An image for tiling is returned itself: `measure.tiled_session` cuts it and returns a mask of its size.

    Raises:
        InputError: The image has another type or shape, the tensor does not match the model's input, or the image does
            not fit into a padding.
    """
    _require_image(preprocess, image)
    if preprocess.tiles is not None and not preprocess.tiles.covers(image.shape[1], image.shape[0]):
        return image, Placement(((image.shape[1], image.shape[0]),))
    placement = place(preprocess, image.shape[1], image.shape[0])
    if input_spec is not None:
        require_fit(placement, input_spec, preprocess.channels)
    return normalize(preprocess, run_geometry(preprocess, image, placement)), placement


def example(
    preprocess: Preprocess, image: np.ndarray, *, input_spec: TensorSpec | None = None
) -> tuple[np.ndarray, Placement]:
    """One network input from an image, as `apply`; for an image with tiles, the tile in its centre."""
    if preprocess.tiles is not None:
        (width, height), (rows, columns) = preprocess.tiles.size, image.shape[:2]
        top, left = max(0, (rows - height) // 2), max(0, (columns - width) // 2)
        image = image[top : top + height, left : left + width]
    return apply(preprocess.of_a_tile, image, input_spec=input_spec)


def feed(inputs: Sequence[TensorSpec], tensor: np.ndarray, placement: Placement) -> list[np.ndarray]:
    """The values of a model's inputs: the image and, for detectors, its size in the tensor and its scale.

    Both are (height, width), float32 (1, 2). The scale of each side includes rounding, so that size / scale is exactly
    the image's size.
    """
    values = {
        "image_size": np.array([placement.content[::-1]], np.float32),
        "scale_factor": np.array(
            [[to / of for to, of in zip(placement.content[::-1], placement.original[::-1], strict=True)]], np.float32
        ),
    }
    return [values.get(spec.semantics, tensor) for spec in inputs]


def run_geometry(preprocess: Preprocess, image: np.ndarray, placement: Placement) -> np.ndarray:
    """Runs step 2 of the contract: (height, width, channels), not normalized, channels in the image's order.

    The result is float32, or the image itself if nothing is interpolated, filled or clipped.
    """
    order = np.argsort(_order(preprocess))
    for op, size in zip(preprocess.geometry, placement.sizes[1:], strict=True):
        here = (image.shape[1], image.shape[0])
        if size == here and not isinstance(op, Clip):
            continue
        if image.dtype != np.float32:
            image = image.astype(np.float32)
        if isinstance(op, Clip):
            image = np.clip(image, np.asarray(op.low, np.float32)[order], np.asarray(op.high, np.float32)[order])
        elif isinstance(op, _PADDINGS):
            padded = np.empty((size[1], size[0], preprocess.channels), np.float32)
            padded[:] = np.asarray(op.value, np.float32)[order]
            padded[: here[1], : here[0]] = image
            image = padded
        elif op.interpolation == "nearest":
            columns, rows = (_nearest(np.arange(to), to, source) for to, source in zip(size, here, strict=True))
            image = image.take(rows, axis=0).take(columns, axis=1)
        else:
            image = resized(image, size, _INTERPOLATION[op.interpolation])
    return image


def _order(preprocess: Preprocess) -> tuple[int, ...]:
    """The index in the image of each of the contract's channels."""
    return _SWAPPED.get(preprocess.color) or tuple(range(preprocess.channels))


def normalize(preprocess: Preprocess, image: np.ndarray) -> np.ndarray:
    """Runs steps 3 and 4 of the contract: (value * scale - mean) / std in float32, in this order, then NCHW.

    Args:
        preprocess: The contract.
        image: (height, width, channels), channels in the image's order, any numeric type.

    Returns:
        float32 (1, channels, height, width) in the contract's channel order.
    """
    tensor = np.empty((1, preprocess.channels, *image.shape[:2]), np.float32)
    scale = np.float32(preprocess.scale)
    for channel, (source, plane) in enumerate(zip(_order(preprocess), tensor[0], strict=True)):
        np.multiply(image[:, :, source], scale, out=plane, dtype=np.float32)
        np.subtract(plane, np.float32(preprocess.mean[channel]), out=plane)
        np.divide(plane, np.float32(preprocess.std[channel]), out=plane)
    return tensor


def grey_of(preprocess: Preprocess, tensor: np.ndarray) -> np.ndarray:
    """The image in a tensor, with its paddings, as grey by the weights of the contract's `gray`.

    Args:
        preprocess: A contract with colours or grey.
        tensor: float32 (1, channels, height, width) that `apply` returned.

    Returns:
        uint8 (height, width).
    """
    planes = [
        (plane * np.float32(std) + np.float32(mean)) / np.float32(preprocess.scale)
        for plane, mean, std in zip(tensor[0], preprocess.mean, preprocess.std, strict=True)
    ]
    weights = (1.0,)
    if len(planes) == 3:
        weights = tuple(weight / 32768 for weight in (9798, 19235, 3735))
        planes = [planes[_order(preprocess)[channel]] for channel in range(3)]
    grey = sum((plane * np.float32(weight) for plane, weight in zip(planes, weights, strict=True)), np.float32(0))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def require_fit(placement: Placement, spec: TensorSpec, channels: int = 3) -> None:
    """Refuses a tensor that does not match a fixed input size.

    Raises:
        InputError: The model's channels, height or width are fixed and the tensor's differ.
    """
    layout = spec.layout or "NCHW"
    if len(spec.shape) != len(layout):
        return
    if "C" in layout and spec.shape[layout.index("C")] not in (-1, channels):
        raise ModelSettingsError(
            f"the preprocessing gives {channels} channels, but the model's input {spec.name!r} takes "
            f"{spec.shape[layout.index('C')]}",
            hint="import it with --preprocess FILE, one mean and one std for each channel",
        )
    size = {"W": placement.tensor[0], "H": placement.tensor[1]}
    if any(axis in size and dim > 0 and dim != size[axis] for axis, dim in zip(layout, spec.shape, strict=True)):
        wanted = dict(zip(layout, spec.shape, strict=True))
        raise ModelSettingsError(
            f"an image of {_text(placement.original)} becomes a tensor of {_text(placement.tensor)}, "
            f"but the model's input {spec.name!r} takes {_side(wanted['W'])}x{_side(wanted['H'])} (width x height)",
            cause="the model was exported with a fixed input size, and its preprocessing does not lead there",
            hint="import it with --preprocess FILE, a preprocessing ending in a resize or pad to that size",
        )


def restore_mask(mask: np.ndarray, placement: Placement) -> np.ndarray:
    """Restores a mask to the size of the decoded image: crops paddings, undoes resizes by nearest neighbour.

    A pixel x of the image reads pixel floor((2 x + 1) * to / (2 * from)) of a resized one (half-pixel centres, in
    integers), so that every language gives the same mask.

    Args:
        mask: (height, width) of any dtype; of the tensor's size, or of a fraction of it (an output stride).
        placement: The placement from `apply`.

    Returns:
        (height, width) of the decoded image, with the mask's dtype.
    """
    width, height = placement.original
    columns, rows = np.arange(width), np.arange(height)
    for before, after, padded in zip(placement.sizes, placement.sizes[1:], placement.padded, strict=False):
        if not padded:
            columns = _nearest(columns, before[0], after[0])
            rows = _nearest(rows, before[1], after[1])
    columns = _nearest(columns, placement.tensor[0], mask.shape[1])
    rows = _nearest(rows, placement.tensor[1], mask.shape[0])
    if mask.shape == (height, width) and _is_identity(columns) and _is_identity(rows):
        return mask
    return mask.take(rows, axis=0).take(columns, axis=1)


def enlarge_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Enlarges a mask with an output stride to `shape` (height, width) by the rule of `restore_mask`."""
    rows = _nearest(np.arange(shape[0]), shape[0], mask.shape[0])
    columns = _nearest(np.arange(shape[1]), shape[1], mask.shape[1])
    return mask.take(rows, axis=0).take(columns, axis=1)


def restore_scores(scores: np.ndarray, placement: Placement) -> np.ndarray:
    """Restores scores to the size of the decoded image: crops paddings, undoes resizes bilinearly.

    Args:
        scores: float32 (height, width, classes), at the tensor's size or a fraction of it.

    Returns:
        float32 (height, width, classes) of the decoded image.
    """
    scores = _resized_scores(scores, placement.tensor)
    back = zip(reversed(placement.sizes[:-1]), reversed(placement.padded), strict=True)
    for (width, height), padded in back:
        scores = scores[:height, :width] if padded else _resized_scores(scores, (width, height))
    return scores


def image_points(points: np.ndarray, placement: Placement, shape: tuple[int, int]) -> np.ndarray:
    """Maps points in a mask to the decoded image, by the half-pixel centres of the resizes.

    Args:
        points: (n, 2) x and y, in pixels of the mask.
        placement: The placement from `apply`.
        shape: (height, width) of the mask.

    Returns:
        (n, 2) float64, in pixels of the image; points in a padding are outside the image.
    """
    here = np.asarray(points, np.float64)
    steps = [(placement.tensor, (shape[1], shape[0]))]
    back = zip(reversed(placement.sizes[:-1]), reversed(placement.sizes[1:]), reversed(placement.padded), strict=True)
    steps += [(before, after) for before, after, padded in back if not padded]
    for before, after in steps:
        here = (here + 0.5) * (np.array(before) / np.array(after)) - 0.5
    return here


def _resized_scores(scores: np.ndarray, size: Size) -> np.ndarray:
    return scores if scores.shape[1::-1] == size else resized(scores, size)


def resized(image: np.ndarray, size: Size, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Resizes (height, width, channels) with any number of channels to `size` (width, height), with OpenCV."""
    parts = [
        cv2.resize(np.ascontiguousarray(image[:, :, start : start + _AT_ONCE]), size, interpolation=interpolation)
        for start in range(0, image.shape[2], _AT_ONCE)
    ]
    parts = [part.reshape(size[1], size[0], -1) for part in parts]  # OpenCV drops the axis of a single channel
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _nearest(index: np.ndarray, size: int, new_size: int) -> np.ndarray:
    """The pixel of a side of `new_size` that contains the centre of pixel `index` of a side of `size`."""
    return index if size == new_size else (2 * index + 1) * new_size // (2 * size)


def _is_identity(index: np.ndarray) -> bool:
    return bool(index[-1] == index.size - 1 and index[0] == 0 and (np.diff(index) == 1).all())


def _size_after(op: Geometry, width: int, height: int) -> Size:
    """(width, height) after one operation; `round` is half to even, as Python's and `Math.rint`."""
    long, short = max(width, height), min(width, height)
    if isinstance(op, Clip):
        return width, height
    if isinstance(op, Resize):
        size = (op.width, op.height)
        if op.keep_ratio:
            size = _scaled(width, height, min(op.width / width, op.height / height))
        return _up_to_multiple(size[0], op.size_divisor), _up_to_multiple(size[1], op.size_divisor)
    if isinstance(op, ResizeShort):
        scale = op.size / short
        if op.max_size is not None and round(long * scale) > op.max_size:
            scale = op.max_size / long
        return _scaled(width, height, scale)
    if isinstance(op, ResizeLong):
        return _scaled(width, height, op.size / long)
    if isinstance(op, LimitLong):
        if op.max_size is not None and long > op.max_size:
            return _scaled(width, height, op.max_size / long)
        if op.min_size is not None and long < op.min_size:
            return _scaled(width, height, op.min_size / long)
        return width, height
    if isinstance(op, LimitShort):
        if op.max_size is not None and short > op.max_size:
            return _scaled(width, height, op.max_size / short)
        if op.min_size is not None and short < op.min_size:
            return _scaled(width, height, op.min_size / short)
        return width, height
    if isinstance(op, ResizeToMultiple):
        return max(op.multiple, width - width % op.multiple), max(op.multiple, height - height % op.multiple)
    if isinstance(op, PadToMultiple):
        return _up_to_multiple(width, op.multiple), _up_to_multiple(height, op.multiple)
    if isinstance(op, PadToRatio):
        if width / height > op.ratio:
            return width, max(height, int(width / op.ratio))
        return max(width, int(height * op.ratio)), height
    if width > op.width or height > op.height:
        raise ModelSettingsError(
            f"an image of {width}x{height} does not fit into a padding to {op.width}x{op.height}",
            cause="the preprocessing pads and does not shrink",
            hint="resize the image before the padding, with keep_ratio or resize_long",
        )
    return op.width, op.height


def _scaled(width: int, height: int, scale: float) -> Size:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _up_to_multiple(side: int, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple


def _side(dim: int) -> str:
    return str(dim) if dim > 0 else "any"


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _require_image(preprocess: Preprocess, image: np.ndarray) -> None:
    types = ("uint8",) if preprocess.depth == "uint8" else ("uint8", "uint16", "float32")
    if image.dtype not in types or image.ndim != 3 or image.shape[2] != preprocess.channels or not image.size:
        raise InputError(
            f"not an image for this model: {image.dtype} {list(image.shape)}",
            cause=f"{' or '.join(types)} (height, width, {preprocess.channels}) is expected",
        )
