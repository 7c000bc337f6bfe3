"""Converts transforms that are specific to PaddleDetection's exports (`infer_cfg.yml`).

Names, defaults and orders follow its deployment code: `Resize` with `keep_ratio` scales the shorter side to the
target's shorter side, or less if the longer side would exceed the target's longer side; `PadStride` pads with zeros
after the normalization, at the right and the bottom.
"""

from __future__ import annotations

from segexport.errors import ModelSettingsError
from segexport.importers.deploy_params import Params
from segexport.importers.preprocess_builder import PreprocessBuilder
from segexport.spec import Pad, PadToMultiple, Resize, ResizeShort


def resize(state: PreprocessBuilder, params: Params) -> None:
    width, height = params.size("target_size", params.take("target_size"))
    interpolation = params.interpolation("interp")
    if params.flag("keep_ratio", True):
        op = ResizeShort(size=min(width, height), max_size=max(width, height), interpolation=interpolation)
    else:
        op = Resize(width=width, height=height, interpolation=interpolation)
    state.geometry.append(op)


def normalize_image(state: PreprocessBuilder, params: Params) -> None:
    mean, std = params.per_channel("mean", params.dialect.mean), params.per_channel("std", params.dialect.std)
    scale = 1 / 255 if params.flag("is_scale", True) else 1.0
    kind = params.take("norm_type", "mean_std")
    if kind not in ("mean_std", "none"):
        raise params.wrong("norm_type", kind, "mean_std or none")
    if kind == "none":
        mean, std = (0.0,) * params.channels, (1.0,) * params.channels
    if not all(std):
        raise ModelSettingsError(f"{params.what}: std contains a 0, which is a divisor: {list(std)}")
    state.normalize(scale, mean, std)


def pad_stride(state: PreprocessBuilder, params: Params) -> None:
    """Converts `PadStride`, and PaddleX 2's `BatchPadding`, whose parameter is `pad_to_stride`."""
    stride = params.take("stride", params.take("pad_to_stride", 0))
    if isinstance(stride, bool) or not isinstance(stride, int):
        raise params.wrong("stride", stride, "a number of pixels")
    if stride > 1:
        state.geometry.append(PadToMultiple(multiple=stride, value=state.grey_levels((0.0,) * state.channels)))


def pad(state: PreprocessBuilder, params: Params) -> None:
    width, height = params.size("size", params.take("size"))
    value = params.per_channel("fill_value", 114.0)
    state.geometry.append(Pad(width=width, height=height, value=state.grey_levels(value)))
