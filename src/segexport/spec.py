"""Data classes for a model's inputs and outputs: tensors, labels, and the preprocessing shared by Python and Android.

The classes are immutable and refuse unknown fields; they are the schema of `manifest.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from segexport.files.model_format import Format as Format


class Frozen(BaseModel):
    """An immutable model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Finite(Frozen):
    """A `Frozen` that refuses NaN and infinity."""

    model_config = ConfigDict(allow_inf_nan=False)


class Precision(str, Enum):
    """The precision of an export.

    `w8`, `w4`: weights of 8 bits, or most of 4, in the file; float arithmetic. `w4a8`: as `w4`, with int8 arithmetic.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    W8 = "w8"
    W4 = "w4"
    W4A8 = "w4a8"

    @property
    def arithmetic(self) -> str:
        """The precision of the arithmetic."""
        return {"w8": "fp32", "w4": "fp32", "w4a8": "int8"}.get(self.value, self.value)


Semantics = Literal[
    "image", "logits", "probability", "class_index", "other",
    # Instance segmentation: the image's size in the tensor and its scale, as inputs; rows of
    # (class, score, left, top, right, bottom), their number, and a mask for each, as outputs.
    "image_size", "scale_factor", "boxes", "box_count", "instance_masks",
]  # fmt: skip
TaskName = Literal["semantic", "instance"]
"""The output of a model: the class of each pixel, or objects with class, box, mask and score."""


# The network's output, and the element type of a mask; see `exporter.set_head`.
HeadKind = Literal["keep", "logits", "softmax", "argmax", "argmax_small"]
MaskDtype = Literal["int32", "uint8"]


class TensorSpec(Frozen):
    """An input or output. `shape` has -1 for dynamic dimensions; `layout` has one letter per axis."""

    name: str
    dtype: str  # numpy's name: float32, int64, ...
    shape: tuple[int, ...]
    layout: str = ""  # NCHW, NHW, NHWC; empty when unknown
    semantics: Semantics = "other"

    @property
    def channels_first(self) -> TensorSpec:
        """Changes NHWC to the contract's order, NCHW; keeps other layouts."""
        return self._ordered("NHWC", "NCHW")

    @property
    def channels_last(self) -> TensorSpec:
        """Changes NCHW to NHWC, for runtimes with channels last; keeps other layouts."""
        return self._ordered("NCHW", "NHWC")

    def _ordered(self, before: str, after: str) -> TensorSpec:
        if self.layout != before:
            return self
        sizes = dict(zip(before, self.shape, strict=True))
        return self.model_copy(update={"shape": tuple(sizes[axis] for axis in after), "layout": after})

    def in_32_bits(self) -> TensorSpec:
        """Changes the element type for runtimes without int64 and bool."""
        return self.model_copy(update={"dtype": "int32"}) if self.dtype in ("int64", "bool") else self


def score_output(specs: Sequence[TensorSpec]) -> int | None:
    """Index of the segmentation output if it contains scores; None if it contains only classes."""
    for index, spec in enumerate(specs):
        if spec.semantics in ("logits", "probability", "class_index"):
            return None if spec.semantics == "class_index" else index
    return None


class Label(Frozen):
    """A class of the model: index in the output, name, colour in pictures."""

    id: int = Field(ge=0, le=65535)
    name: str
    rgb: tuple[int, int, int]


Interpolation = Literal["nearest", "linear", "cubic", "area", "lanczos4"]


class Resize(Frozen):
    """Resizes to `width` x `height` pixels. With `keep_ratio` the image fits inside and is not padded.

    Each side of the result is rounded up to a multiple of `size_divisor`.
    """

    op: Literal["resize"] = "resize"
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    keep_ratio: bool = False
    size_divisor: int = Field(default=1, gt=0)
    interpolation: Interpolation = "linear"


class ResizeShort(Frozen):
    """Resizes the shorter side to `size` pixels, or less if the longer one would exceed `max_size`; keeps the ratio."""

    op: Literal["resize_short"] = "resize_short"
    size: int = Field(gt=0)
    max_size: int | None = Field(default=None, gt=0)
    interpolation: Interpolation = "linear"


class ResizeLong(Frozen):
    """Resizes the longer side to `size` pixels and keeps the ratio."""

    op: Literal["resize_long"] = "resize_long"
    size: int = Field(gt=0)
    interpolation: Interpolation = "linear"


class LimitLong(Frozen):
    """Resizes the longer side into [`min_size`, `max_size`] and keeps the ratio."""

    op: Literal["limit_long"] = "limit_long"
    min_size: int | None = None
    max_size: int | None = None
    interpolation: Interpolation = "linear"


class LimitShort(Frozen):
    """Resizes the shorter side into [`min_size`, `max_size`] and keeps the ratio."""

    op: Literal["limit_short"] = "limit_short"
    min_size: int | None = None
    max_size: int | None = None
    interpolation: Interpolation = "linear"


class ResizeToMultiple(Frozen):
    """Resizes each side down to a multiple of `multiple` pixels, at least one."""

    op: Literal["resize_to_multiple"] = "resize_to_multiple"
    multiple: int = Field(gt=0)
    interpolation: Interpolation = "linear"


PerChannel = Annotated[tuple[float, ...], Field(min_length=1)]


class Pad(Finite):
    """Pads with `value` (per channel, in the contract's order) at the right and bottom to `width` x `height`."""

    op: Literal["pad"] = "pad"
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    value: PerChannel = (127.5, 127.5, 127.5)


class PadToRatio(Finite):
    """Pads with `value`, as in `Pad`, at the right or at the bottom until width / height is `ratio`."""

    op: Literal["pad_to_ratio"] = "pad_to_ratio"
    ratio: float = Field(gt=0)
    value: PerChannel = (127.5, 127.5, 127.5)


class PadToMultiple(Finite):
    """Pads with `value`, as in `Pad`, at the right and bottom until each side is a multiple of `multiple` pixels."""

    op: Literal["pad_to_multiple"] = "pad_to_multiple"
    multiple: int = Field(gt=0)
    value: PerChannel = (127.5, 127.5, 127.5)


class Clip(Finite):
    """Clips values to `low` and `high` (per channel, in the contract's order)."""

    op: Literal["clip"] = "clip"
    low: PerChannel
    high: PerChannel

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Clip:
        if len(self.low) != len(self.high) or any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"clip from {self.low} to {self.high}: a low and a high of each channel")
        return self


Geometry = Annotated[
    Resize
    | ResizeShort
    | ResizeLong
    | LimitLong
    | LimitShort
    | ResizeToMultiple
    | Pad
    | PadToRatio
    | PadToMultiple
    | Clip,
    Field(discriminator="op"),
]


Color = Literal["rgb", "bgr", "gray", "bgra", "channels"]
Depth = Literal["uint8", "stored"]
_CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1, "bgra": 4}
_STORED_AS: dict[Color, Literal["rgb", "gray", "channels"]] = {
    "rgb": "rgb",
    "bgr": "rgb",
    "gray": "gray",
    "bgra": "channels",
    "channels": "channels",
}


class Tiles(Frozen):
    """Options for cutting images into tiles and joining their results.

    Each tile is preprocessed and run separately; an image that is not larger than a tile is run whole.

    Attributes:
        size: (width, height) of a tile, in pixels of the decoded image.
        overlap: (width, height) of the overlap of neighbouring tiles, in the same pixels.
        blend: `center`: each tile gives the result for its inner part, without half an overlap at its edges; outside
            the image, pixels are mirrored. PaddleX's `overlap_tile_predict` with tile_size = size - overlap and
            pad_size = overlap / 2. `average`: tiles stay inside the image, and scores are averaged where tiles overlap.
            PaddleSeg's `slide_inference` with crop_size = size and stride = size - overlap.

    Example:
        >>> tiles = segexport.Tiles(size=(1024, 768), overlap=(128, 96))
        >>> tiles.covers(800, 600)
        True
    """

    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    overlap: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 0)
    blend: Literal["center", "average"] = "center"

    @model_validator(mode="after")
    def _overlap_is_a_part(self) -> Tiles:
        for size, overlap in zip(self.size, self.overlap, strict=True):
            if overlap >= size:
                raise ValueError(f"tiles of {size} pixels cannot overlap by {overlap}")
            if self.blend == "center" and overlap % 2:
                raise ValueError(f"an overlap of {overlap} pixels has no half; center needs an even one")
        return self

    def covers(self, width: int, height: int) -> bool:
        """Whether an image is not larger than a tile."""
        return width <= self.size[0] and height <= self.size[1]


class Pixels(Frozen):
    """The form of a decoded image, (height, width, channels).

    Attributes:
        color: `rgb` and `gray`: colours and grey are converted to each other, alpha is dropped. `channels`: the file's
            channels in its order; it has to have this number.
        depth: `uint8`: the upper 8 of 16 bits. `stored`: the file's values; 8 and 16 bits stay uint8 and uint16, other
            types become float32.
        in_tiles: Whether the image is run in tiles; a larger size is allowed then.
    """

    color: Literal["rgb", "gray", "channels"] = "rgb"
    channels: int = 3
    depth: Depth = "uint8"
    in_tiles: bool = False


class Preprocess(Finite):
    """The preprocessing contract: from an image file to the network's input tensor, equal in Python and Java.

    1. The image is decoded (with its EXIF orientation) by `color` and `depth`; see `Pixels`. `rgb`, `bgr`: 3
       channels, alpha dropped, grey repeated. `gray`: 1 channel; colours: (9798 R + 19235 G + 3735 B + 16384) / 2^15,
       rounded down. `channels`: any number, in the file's order. `bgra`: 4 channels, the first and third swapped.
    2. It becomes float32 and the `geometry` operations run in order. Interpolation happens in float32 with
       half-pixel centres and no rounding, so that two implementations can agree to the last bits.
    3. value = (value * scale - mean) / std, per channel. There are as many channels as there are means.
    4. HWC becomes NCHW with a batch of 1.

    With `tiles`, steps 2 to 4 apply to each tile.
    """

    color: Color = "rgb"
    depth: Depth = "uint8"
    geometry: tuple[Geometry, ...] = ()
    scale: float = 1.0 / 255.0
    mean: PerChannel = (0.5, 0.5, 0.5)
    std: PerChannel = (0.5, 0.5, 0.5)
    tiles: Tiles | None = None

    @property
    def channels(self) -> int:
        """Number of input channels of the network."""
        return len(self.mean)

    @property
    def takes_bitmaps(self) -> bool:
        """Whether 8-bit colours are enough: a phone decodes nothing else."""
        return self.color in ("rgb", "bgr", "gray") and self.depth == "uint8"

    @property
    def pixels(self) -> Pixels:
        """The required form of a decoded image."""
        return Pixels(
            color=_STORED_AS[self.color],
            channels=self.channels,
            depth=self.depth,
            in_tiles=self.tiles is not None,
        )

    @property
    def of_a_tile(self) -> Preprocess:
        """The contract of one tile, without `tiles`."""
        return self.with_tiles(None)

    def with_tiles(self, tiles: Tiles | None) -> Preprocess:
        """A copy with other tiles."""
        return self if tiles == self.tiles else self.model_copy(update={"tiles": tiles})

    @model_validator(mode="after")
    def _std_is_a_divisor(self) -> Preprocess:
        if any(value == 0 for value in self.std):
            raise ValueError(f"std must not be 0: {self.std}")
        return self

    @model_validator(mode="after")
    def _all_are_of_one_number_of_channels(self) -> Preprocess:
        channels = self.channels
        if len(self.std) != channels:
            raise ValueError(f"{channels} means and {len(self.std)} standard deviations: one of each per channel")
        if _CHANNELS.get(self.color, channels) != channels:
            raise ValueError(f"color {self.color} has {_CHANNELS[self.color]} channels, there are {channels} means")
        for op in self.geometry:
            for key in ("value", "low", "high"):
                if len(value := getattr(op, key, self.mean)) != channels:
                    raise ValueError(f"{op.op} is of {len(value)} channels, there are {channels}")
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omits the defaults of `depth` and `tiles`, so that manifests written before these fields stay equal."""
        content = handler(self)
        if self.depth == "uint8":
            content.pop("depth", None)  # `exclude_defaults` and `exclude_none` have removed it already
        if self.tiles is None:
            content.pop("tiles", None)
        return content


class ImageStatistics(Finite):
    """Statistics of preprocessed images, to tell whether others are of the same kind.

    Attributes:
        images: Number of images.
        mean, sd: Mean and standard deviation over the images of each statistic: the mean of each channel, the standard
            deviation of each channel, the mean absolute difference of neighbouring pixels, and the difference of the
            first and the last channel's means.
    """

    images: int = Field(gt=0)
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @model_validator(mode="after")
    def _one_each(self) -> ImageStatistics:
        if len(self.mean) != len(self.sd) or len(self.mean) < 4:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.sd)} standard deviations: one of each per statistic"
            )
        return self


class Lanes(Finite):
    """Computes lanes from a binary segmentation and an embedding in which the pixels of a lane are close together.

    The defaults are those of PaddleSeg's lane detection (`contrib/LaneNet/utils/lanenet_postprocess.py`) for 512x256.

    Attributes:
        embedding: Index of the output with the embeddings; None: the only other output with several channels.
        closing: Diameter of the ellipse that closes holes of the binary mask, in pixels; 0: none.
        min_area: Connected parts with at most this number of pixels are dropped.
        eps: DBSCAN's radius in the standardized embedding.
        min_samples: Number of pixels within DBSCAN's radius of a core pixel.
        one_lane: Standard deviation of the embedding, over all dimensions, up to which all pixels are one lane.
            Training pulls a lane's pixels to 0.5 around their mean and pushes lanes 3 apart.
        degree: Degree of the polynomial x(y) that is fitted to a lane.
        step: Distance of a lane's points, in rows of the image.
    """

    kind: Literal["lanes"] = "lanes"
    embedding: int | None = Field(default=None, ge=0)
    closing: int = Field(default=5, ge=0, le=99)
    min_area: int = Field(default=100, ge=0)
    eps: float = Field(default=0.4, gt=0)
    min_samples: int = Field(default=500, ge=1)
    one_lane: float = Field(default=0.7, ge=0)
    degree: int = Field(default=2, ge=1, le=5)
    step: int = Field(default=10, ge=1)


class SpatialEmbedding(Finite):
    """Computes instances from offsets to their centres, bandwidths, and seeds.

    The defaults are those of PaddleSeg's `contrib/SpatialEmbeddings` (`config.py`, `utils/data_util.py`).

    Attributes:
        instance: Index of the output with offsets and bandwidths; None: the only output besides the seeds. A single
            output contains (2 offsets, bandwidths, seeds of each class).
        bandwidths: Number of bandwidth channels: 1, or 2 for x and y.
        activated: Whether the network already applies tanh to offsets and exp(10 s) to bandwidths. Seeds are
            probabilities if the graph ends with a sigmoid.
        threshold: Smallest probability of a seed that starts an instance.
        min_pixels: Instances with at most this number of pixels are dropped.
        unit_px: Size of one unit of the offsets, (x, y) in pixels.
    """

    kind: Literal["spatial_embedding"] = "spatial_embedding"
    instance: int | None = Field(default=None, ge=0)
    bandwidths: Literal[1, 2] = 2
    activated: bool = False
    threshold: float = Field(default=0.94, gt=0, lt=1)
    min_pixels: int = Field(default=160, ge=0)
    unit_px: tuple[PositiveFloat, PositiveFloat] = (1023.5, 1023.0)


class MultiScale(Frozen):
    """Averages the scores over several input sizes and the mirrored image; `contrib/ACE2P/reader.py` of PaddleSeg.

    Attributes:
        sizes: Input sizes, (width, height).
        flip: Whether to predict the mirrored image too, at each size.
        swap: Pairs of class ids to exchange in a mirrored image: left and right of the same part.
    """

    kind: Literal["multi_scale"] = "multi_scale"
    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(min_length=1, max_length=16)
    flip: bool = False
    swap: tuple[tuple[int, int], ...] = ()


Postprocess = Annotated[Lanes | SpatialEmbedding | MultiScale, Field(discriminator="kind")]
"""The processing of the outputs, if a prediction is more than the class of each pixel."""
