"""What a model takes and gives: tensors, labels, and the one preprocessing contract that Python and Android share.

All of it is plain data, frozen, and refuses unknown fields: these classes are the schema of `manifest.json`.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, core_schema


class Frozen(BaseModel):
    """Immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Finite(Frozen):
    """Frozen, and no number in it is NaN or infinite."""

    model_config = ConfigDict(allow_inf_nan=False)


class Format(str):
    """The form of a model's files: `paddle`, or what an installed target makes or an installed runtime runs.

    Attributes:
        PADDLE: .pdmodel and .pdiparams, the legacy program that every exporter reads.
        ONNX: .onnx.
        PADDLE_LITE: .nb.
    """

    PADDLE: ClassVar[Format]
    ONNX: ClassVar[Format]
    PADDLE_LITE: ClassVar[Format]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(cls._known, core_schema.str_schema())

    @classmethod
    def _known(cls, value: str) -> Format:
        from segexport.pipeline.registry import formats

        if value not in (known := formats()):
            *some, last = (repr(str(name)) for name in known)
            raise PydanticCustomError("format", "Input should be {known}", {"known": f"{', '.join(some)} or {last}"})
        return cls(value)


Format.PADDLE, Format.ONNX, Format.PADDLE_LITE = Format("paddle"), Format("onnx"), Format("paddle-lite")


class Precision(str, Enum):
    """Arithmetic that an export asks of its runtime. `w8`: int8 weights in the file, float arithmetic."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    W8 = "w8"


Semantics = Literal[
    "image", "logits", "probability", "class_index", "other",
    # Of models that find objects: the image's size in the tensor and its scale, as inputs; rows of
    # (class, score, left, top, right, bottom), how many there are, and a mask for each, as outputs.
    "image_size", "scale_factor", "boxes", "box_count", "instance_masks",
]  # fmt: skip
Task = Literal["semantic", "instance"]
"""What a model answers: the class of each pixel, or objects, each with its class, box, mask and score."""


# What leaves the network, and as what a mask leaves it; see `exporter.set_head`.
HeadKind = Literal["keep", "logits", "softmax", "argmax", "argmax_small"]
MaskDtype = Literal["int32", "uint8"]


class TensorSpec(Frozen):
    """One input or output. `shape` holds -1 where a dimension is free; `layout` names each axis by a letter."""

    name: str
    dtype: str  # numpy's name: float32, int64, ...
    shape: tuple[int, ...]
    layout: str = ""  # NCHW, NHW, NHWC; empty when unknown
    semantics: Semantics = "other"


class Label(Frozen):
    """A class of the model: its index in the output, its name, its colour in pictures."""

    id: int = Field(ge=0, le=65535)
    name: str
    rgb: tuple[int, int, int]


Interpolation = Literal["nearest", "linear", "cubic", "area", "lanczos4"]


class Resize(Frozen):
    """To `width` x `height` pixels. With `keep_ratio` the image fits inside and is not padded.

    Each side of the result is rounded up to a multiple of `size_divisor`.
    """

    op: Literal["resize"] = "resize"
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    keep_ratio: bool = False
    size_divisor: int = Field(default=1, gt=0)
    interpolation: Interpolation = "linear"


class ResizeShort(Frozen):
    """The shorter side becomes `size` pixels, or less where the longer one would pass `max_size`; the ratio is kept."""

    op: Literal["resize_short"] = "resize_short"
    size: int = Field(gt=0)
    max_size: int | None = Field(default=None, gt=0)
    interpolation: Interpolation = "linear"


class ResizeLong(Frozen):
    """The longer side becomes `size` pixels, the ratio is kept."""

    op: Literal["resize_long"] = "resize_long"
    size: int = Field(gt=0)
    interpolation: Interpolation = "linear"


class LimitLong(Frozen):
    """The longer side is brought into [`min_size`, `max_size`], the ratio is kept."""

    op: Literal["limit_long"] = "limit_long"
    min_size: int | None = None
    max_size: int | None = None
    interpolation: Interpolation = "linear"


class ResizeToMultiple(Frozen):
    """Each side is rounded down to a multiple of `multiple` pixels (at least one multiple)."""

    op: Literal["resize_to_multiple"] = "resize_to_multiple"
    multiple: int = Field(gt=0)
    interpolation: Interpolation = "linear"


class Pad(Finite):
    """Filled with `value` (grey levels, in the contract's colour order) at the right and bottom up to the target."""

    op: Literal["pad"] = "pad"
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    value: tuple[float, float, float] = (127.5, 127.5, 127.5)


class PadToRatio(Finite):
    """Filled with `value`, as in `Pad`, at the right or at the bottom until width / height is `ratio`."""

    op: Literal["pad_to_ratio"] = "pad_to_ratio"
    ratio: float = Field(gt=0)
    value: tuple[float, float, float] = (127.5, 127.5, 127.5)


class PadToMultiple(Finite):
    """Filled with `value`, as in `Pad`, at the right and bottom until each side is a multiple of `multiple` pixels."""

    op: Literal["pad_to_multiple"] = "pad_to_multiple"
    multiple: int = Field(gt=0)
    value: tuple[float, float, float] = (127.5, 127.5, 127.5)


Geometry = Annotated[
    Resize | ResizeShort | ResizeLong | LimitLong | ResizeToMultiple | Pad | PadToRatio | PadToMultiple,
    Field(discriminator="op"),
]


class Preprocess(Finite):
    """From a decoded 8-bit image to the network's input tensor, the same in Python and in Java.

    1. The image is decoded to 3 channels of uint8 (EXIF orientation applied, alpha dropped, grey repeated) and put
       in `color` order.
    2. It becomes float32 and the `geometry` operations run in order. Interpolation happens in float32 with
       half-pixel centres and no rounding, so that two implementations can agree to the last bits.
    3. value = (value * scale - mean) / std, per channel.
    4. HWC becomes NCHW with a batch of 1.
    """

    color: Literal["rgb", "bgr"] = "rgb"
    geometry: tuple[Geometry, ...] = ()
    scale: float = 1.0 / 255.0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @model_validator(mode="after")
    def _std_is_a_divisor(self) -> Preprocess:
        if any(value == 0 for value in self.std):
            raise ValueError(f"std must not be 0: {self.std}")
        return self
