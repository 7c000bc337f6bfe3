"""Converts lists of transforms of PaddleSeg, PaddleX and PaddleDetection to the preprocessing contract."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from segexport.artifact import warning
from segexport.errors import InputError, ModelSettingsError, one_line
from segexport.importers import detection_transforms
from segexport.importers.deploy_params import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    OWN_HINT,
    PADDLEDETECTION,
    PADDLESEG,
    PADDLEX_1,
    PADDLEX_2,
    PADDLEX_3,
    RANDOM_CAUSE,
    RANDOM_HINT,
    Dialect,
    Params,
    Values,
)
from segexport.importers.preprocess_builder import PreprocessBuilder
from segexport.spec import (
    Clip,
    Color,
    Depth,
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
)

_GREY = 127.5


def to_preprocess(
    transforms: list[tuple[str, dict[str, Any]]],
    dialect: Dialect,
    where: str,
    color: Color | None = None,
    channels: int = 3,
) -> tuple[Preprocess, tuple[str, ...]]:
    """Converts transforms, in order, to the contract.

    Args:
        transforms: Name and parameters of each.
        dialect: The system that wrote them.
        where: The file, for messages.
        color: Order of three channels, if the file gives it.
        channels: Number of input channels of the network.

    Returns:
        The contract, and notes; differences from the transforms are warnings.

    Raises:
        InputError: A transform or a parameter is unknown, random, or not expressible in the contract.
    """
    state = PreprocessBuilder(dialect, color or dialect.color, channels)
    for position, (name, params) in enumerate(transforms, start=1):
        what = f"{where}: transform {position}, {name}"
        handler = (_OF_DETECTORS.get(name) if dialect is PADDLEDETECTION else None) or _HANDLERS.get(name)
        if handler is None:
            raise _unknown(what, name)
        reader = Params(what, name, dialect, params, channels)
        try:
            handler(state, reader)
        except ValidationError as error:
            raise ModelSettingsError(f"{what}: {one_line(error)}") from error
        reader.finish()
    if not state.normalized:
        state.notes.append(warning("no Normalize: the model gets grey levels from 0 to 255"))
    order, depth = _as_read(state)
    contract = Preprocess(
        color=order, depth=depth, geometry=tuple(state.geometry), scale=state.scale, mean=state.mean, std=state.std
    )
    return contract, tuple(state.notes)


def _as_read(state: PreprocessBuilder) -> tuple[Color, Depth]:
    """Color and depth of the network's input; adds a warning if the system does not define them."""
    if state.channels == 3:
        return state.color, state.depth
    if state.dialect.reads_channels:
        if state.channels == 4:
            state.notes.append(
                warning(
                    f"4 channels in the file's order: {state.dialect.name} reads those of a PNG as blue, green, red "
                    "and alpha, and those of a TIFF in their order; --color bgra for the first"
                )
            )
        return "channels", "stored"
    if state.channels == 1:
        return "gray", state.depth
    state.notes.append(
        warning(
            f"{state.dialect.name} does not say how images of {state.channels} channels are read: the file's own "
            "channels are taken, in its order, with the values that it stores"
        )
    )
    return "channels", "stored"


def _resize(state: PreprocessBuilder, params: Params) -> None:
    dialect = state.dialect
    value = params.take("target_size", [512, 512] if dialect is PADDLESEG else None)
    keep_ratio = params.flag("keep_ratio", dialect.keep_ratio)
    divisor = params.optional_positive("size_divisor", dialect.size_divisor)
    interpolation = params.interpolation("interp")
    params.take("backend")
    if dialect is PADDLEX_3 and value in (None, -1, [-1, -1]):
        return  # PaddleX 3 keeps the image's size
    width, height = params.size("target_size", value)
    _note_nearest(state, interpolation)
    if keep_ratio and width != height and dialect is not PADDLEX_2:
        state.notes.append(
            warning(
                f"Resize with keep_ratio to {width}x{height}: {dialect.name} turns the target by 90 degrees for images "
                "whose longer side is the target's shorter one; here every image fits into the target without it"
            )
        )
    state.geometry.append(
        Resize(
            width=width, height=height, keep_ratio=keep_ratio, size_divisor=divisor or 1, interpolation=interpolation
        )
    )


def _resize_image(state: PreprocessBuilder, params: Params) -> None:
    """Converts `ResizeImage` of PaddleX 3: to `size`, or the shorter side to `resize_short`."""
    short = params.optional_positive("resize_short")
    size = params.take("size")
    interpolation = params.interpolation("interpolation")
    params.take("backend")
    _note_nearest(state, interpolation)
    if short is not None:
        state.geometry.append(ResizeShort(size=short, interpolation=interpolation))
        return
    width, height = params.size("size", size)
    state.geometry.append(Resize(width=width, height=height, interpolation=interpolation))


def _resize_by_short(state: PreprocessBuilder, params: Params) -> None:
    dialect = state.dialect
    size = params.positive("short_size", dialect.short_size)
    max_size = params.optional_positive("max_size", dialect.short_max_size)
    interpolation = params.interpolation("interp", dialect.short_interp)
    _note_nearest(state, interpolation)
    state.geometry.append(ResizeShort(size=size, max_size=max_size, interpolation=interpolation))


def _resize_by_long(state: PreprocessBuilder, params: Params) -> None:
    size = params.positive("long_size", 256 if state.dialect is PADDLEX_2 else None)
    interpolation = params.interpolation("interp")
    _note_nearest(state, interpolation)
    state.geometry.append(ResizeLong(size=size, interpolation=interpolation))


def _limit_long(state: PreprocessBuilder, params: Params) -> None:
    low, high = params.optional_positive("min_long"), params.optional_positive("max_long")
    if low is not None and high is not None and low > high:
        raise ModelSettingsError(f"{params.what}: min_long {low} is above max_long {high}")
    state.geometry.append(LimitLong(min_size=low, max_size=high))


def _limit_short(state: PreprocessBuilder, params: Params) -> None:
    """Converts a transform of PaddleSeg's matting."""
    low, high = params.optional_positive("min_short"), params.optional_positive("max_short")
    if low is not None and high is not None and low > high:
        raise ModelSettingsError(f"{params.what}: min_short {low} is above max_short {high}")
    state.geometry.append(LimitShort(min_size=low, max_size=high))


def _resize_range_scaling(state: PreprocessBuilder, params: Params) -> None:
    low, high = params.positive("min_value", 400), params.positive("max_value", 600)
    if low != high:
        raise ModelSettingsError(
            f"{params.what}: a random size from {low} to {high}", cause=RANDOM_CAUSE, hint=RANDOM_HINT
        )
    state.geometry.append(ResizeLong(size=low))


def _resize_step_scaling(state: PreprocessBuilder, params: Params) -> None:
    low, high = params.take("min_scale_factor", 0.75), params.take("max_scale_factor", 1.25)
    params.take("scale_step_size")
    if low != high:
        raise ModelSettingsError(
            f"{params.what}: a random scale from {low} to {high}", cause=RANDOM_CAUSE, hint=RANDOM_HINT
        )
    if low != 1:
        raise ModelSettingsError(
            f"{params.what}: a scale of {low}", cause="the contract resizes to a size, not by a factor", hint=OWN_HINT
        )


def _to_multiple(state: PreprocessBuilder, params: Params) -> None:
    multiple = params.take("mult_int", 32)
    state.geometry.append(ResizeToMultiple(multiple=multiple))


def _padding(state: PreprocessBuilder, params: Params) -> None:
    size = params.take("target_size")
    value = params.per_channel("im_padding_value", _GREY)
    params.take("label_padding_value")
    divisor = params.take("size_divisor")
    mode = params.take("pad_mode", 0)
    offsets = params.take("offsets")
    if mode != 0 or offsets:
        raise ModelSettingsError(
            f"{params.what}: pad_mode {mode}", cause="the contract pads at the right and the bottom only (pad_mode 0)"
        )
    if size is None and state.dialect is PADDLEX_2:
        state.geometry.append(PadToMultiple(multiple=divisor or 32, value=state.grey_levels(value)))
        return
    width, height = params.size("target_size", size)
    state.geometry.append(Pad(width=width, height=height, value=state.grey_levels(value)))


def _padding_by_ratio(state: PreprocessBuilder, params: Params) -> None:
    ratio = params.take("aspect_ratio", 1)
    value = params.per_channel("im_padding_value", _GREY)
    params.take("label_padding_value")
    state.geometry.append(PadToRatio(ratio=ratio, value=state.grey_levels(value)))


def _normalize(state: PreprocessBuilder, params: Params) -> None:
    dialect = state.dialect
    mean, std = params.per_channel("mean", dialect.mean), params.per_channel("std", dialect.std)
    _require_divisor(params, "std", std)
    if dialect not in (PADDLEX_1, PADDLEX_2):
        state.normalize(1 / 255, mean, std)
        return
    low, high = params.per_channel("min_val", 0), params.per_channel("max_val", 255.0)
    if max(high) > 255:
        state.depth = "stored"
    if not params.flag("is_scale", True):
        state.normalize(1.0, mean, std)
        return
    spans = tuple(b - a for a, b in zip(low, high, strict=True))
    _require_divisor(params, "max_val - min_val", spans)
    if len(set(spans)) == 1:  # ((v - low) / span - mean) / std
        scale = 1 / spans[0]
        state.normalize(scale, tuple(m + a * scale for m, a in zip(mean, low, strict=True)), std)
        return
    state.normalize(
        1.0,
        tuple(a + m * span for a, m, span in zip(low, mean, spans, strict=True)),
        tuple(s * span for s, span in zip(std, spans, strict=True)),
    )


def _normalize_image(state: PreprocessBuilder, params: Params) -> None:
    """Converts `NormalizeImage` of PaddleX 3; its `scale` may be the text `1./255.`."""
    mean, std = params.per_channel("mean", IMAGENET_MEAN), params.per_channel("std", IMAGENET_STD)
    _require_divisor(params, "std", std)
    scale = params.take("scale", 1 / 255)
    params.take("order")
    if (count := params.take("channel_num", params.channels)) != params.channels:
        raise ModelSettingsError(
            f"{params.what}: channel_num is {count!r}, the network takes {params.channels} channels"
        )
    if isinstance(scale, str):
        above, _, below = scale.partition("/")
        try:
            scale = float(above) / float(below or 1)
        except (ValueError, ZeroDivisionError):
            raise params.wrong("scale", scale, "a number such as 1./255.") from None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale or not math.isfinite(scale):
        raise params.wrong("scale", scale, "a number such as 1./255.")
    state.normalize(float(scale), mean, std)


def _clip(state: PreprocessBuilder, params: Params) -> None:
    """Converts a transform of PaddleX 1's remote sensing."""
    low, high = params.per_channel("min_val", 0), params.per_channel("max_val", 255.0)
    if max(high) > 255:
        state.depth = "stored"
    state.geometry.append(Clip(low=state.grey_levels(low), high=state.grey_levels(high)))


def _load_images(state: PreprocessBuilder, params: Params) -> None:
    if params.given("to_rgb"):
        state.color = "rgb" if params.flag("to_rgb", True) else "bgr"


def _decode_image(state: PreprocessBuilder, params: Params) -> None:
    mode = params.take("img_mode", "RGB")
    for key in ("channel_first", "with_mixup"):
        params.take(key)
    if params.given("to_rgb"):  # PaddleX's first releases
        state.color = "rgb" if params.flag("to_rgb", True) else "bgr"
        return
    if mode == "GRAY" and params.channels == 1:
        return
    if mode not in ("RGB", "BGR"):
        raise params.wrong("img_mode", mode, "RGB or BGR")
    state.color = "rgb" if mode == "RGB" else "bgr"


def _nothing(state: PreprocessBuilder, params: Params) -> None:
    """Accepts a transform that changes containers, axis order or labels, but no pixel of the image."""
    params.ignore_all()


def _require_divisor(params: Params, key: str, values: Values) -> None:
    if not all(values):
        raise ModelSettingsError(f"{params.what}: {key} contains a 0, which is a divisor: {list(values)}")


def _note_nearest(state: PreprocessBuilder, interpolation: str) -> None:
    if interpolation == "nearest":
        state.notes.append(
            warning("nearest interpolation takes the pixel under the centre; OpenCV's is shifted by half a pixel")
        )


_HANDLERS: dict[str, Callable[[PreprocessBuilder, Params], None]] = {
    "Resize": _resize,
    "ResizeImage": _resize_image,
    "ResizeByShort": _resize_by_short,
    "ResizeByLong": _resize_by_long,
    "LimitLong": _limit_long,
    "LimitShort": _limit_short,
    "ResizeRangeScaling": _resize_range_scaling,
    "ResizeStepScaling": _resize_step_scaling,
    "ResizeToMultiple": _to_multiple,
    "ResizeToIntMult": _to_multiple,
    "Padding": _padding,
    "PaddingByAspectRatio": _padding_by_ratio,
    "BatchPadding": detection_transforms.pad_stride,
    "Clip": _clip,
    "Normalize": _normalize,
    "NormalizeImage": _normalize_image,
    "LoadImages": _load_images,
    "DecodeImage": _decode_image,
    **dict.fromkeys(
        (
            "ToTensor",
            "ToCHWImage",
            "ToBatch",
            "Permute",
            "KeepKeys",
            "ReadImage",
            "ArrangeSegmenter",
            "AddEdgeLabel",
            "GenerateInstanceTargets",
            "AddMultiLabelAuxiliaryCategory",
        ),
        _nothing,
    ),
}

_OF_DETECTORS: dict[str, Callable[[PreprocessBuilder, Params], None]] = {
    "Resize": detection_transforms.resize,
    "NormalizeImage": detection_transforms.normalize_image,
    "PadStride": detection_transforms.pad_stride,
    "Pad": detection_transforms.pad,
}

_BEYOND = {
    "LetterBoxResize": "it pads around the centre",
    "WarpAffine": "it turns and moves the image",
    "ScalePadding": "it pads around the centre",
    "CenterCrop": "it cuts pixels off, which then have no class",
    "CropImage": "it cuts pixels off, which then have no class",
    "ResizeByLongShort": "its size depends on both sides",
}


def _unknown(what: str, name: str) -> InputError:
    known = ", ".join(sorted(_HANDLERS))
    if name.startswith("Random") or name in ("MixupImage", "Mixup", "CutMix"):
        return ModelSettingsError(f"{what}: a random transform", cause=RANDOM_CAUSE, hint=RANDOM_HINT)
    if name in _BEYOND:
        return ModelSettingsError(
            f"{what}: not expressible in the preprocessing contract", cause=_BEYOND[name], hint=OWN_HINT
        )
    near = difflib.get_close_matches(name, _HANDLERS, n=1)
    return ModelSettingsError(
        f"{what}: unknown transform" + (f", perhaps {near[0]}" if near else ""),
        cause=f"the known ones are {known}",
        hint=OWN_HINT,
    )
