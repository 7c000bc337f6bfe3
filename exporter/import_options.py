"""User options for importing a model: information that its files lack or state wrongly."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from segexport.errors import MissingInputError, OptionError, UnreadableError, one_line
from segexport.spec import Color, Frozen, Lanes, PerChannel, Postprocess, Preprocess, SpatialEmbedding, Tiles


class ImportOptions(Frozen):
    """Information that the files of an export lack or state wrongly.

    Attributes:
        preprocess: The complete preprocessing.
        color, mean, std: Parts that override the export and `preprocess`; one mean and std per channel.
        input_size: (width, height) for dynamic sides of the input.
        mask_output: Output to make the mask from; by default the rule of `mask_output` decides.
        labels: Class names, in the order of the model's classes.
        fallback_labels: The data's class names, for a model with as many classes and no names.
        config: PaddleSeg configuration of a training checkpoint.
        paddleseg: PaddleSeg checkout that builds the network of `config`; None: the toolchain's.
        postprocess: Processing of the outputs: lanes, instances, or scores averaged over sizes. Can also be given for
            an artifact; overrides its manifest.
        tiles: Tiles for larger images. Can also be given for an artifact; overrides its manifest.
    """

    preprocess: Preprocess | None = None
    color: Color | None = None
    mean: PerChannel | None = None
    std: PerChannel | None = None
    labels: tuple[str, ...] | None = None
    fallback_labels: tuple[str, ...] | None = None
    input_size: tuple[int, int] | None = None
    mask_output: str | None = None
    ignore_index: int = 255
    config: Path | None = None
    paddleseg: Path | None = None
    postprocess: Postprocess | None = None
    tiles: Tiles | None = None

    @classmethod
    def from_strings(
        cls,
        input_size: str | None = None,
        labels: Path | None = None,
        preprocess: Path | None = None,
        color: Color | None = None,
        mean: str | None = None,
        std: str | None = None,
        mask_output: str | None = None,
        ignore_index: int = 255,
        config: Path | None = None,
        paddleseg: Path | None = None,
        postprocess: str | None = None,
        tile_size: str | None = None,
        tile_overlap: str | None = None,
        tile_blend: str | None = None,
    ) -> ImportOptions:
        """Parses command-line values: `640x480`, a file of names, a YAML preprocessing file, `0.5,0.5,0.5`."""
        return cls(
            color=color,
            mean=_per_channel(mean, "--mean") if mean else None,
            std=_per_channel(std, "--std") if std else None,
            input_size=_size("--input-size", input_size) if input_size else None,
            labels=_names(labels) if labels else None,
            preprocess=_preprocess(preprocess) if preprocess else None,
            mask_output=mask_output,
            ignore_index=ignore_index,
            config=config,
            paddleseg=paddleseg,
            postprocess=_postprocess(postprocess) if postprocess else None,
            tiles=tiles_from_strings(tile_size, tile_overlap, tile_blend),
        )


def tiles_from_strings(size: str | None, overlap: str | None, blend: str | None) -> Tiles | None:
    """Parses `--tile-size`, `--tile-overlap` and `--tile-blend`. The default overlap is a quarter of a tile.

    Raises:
        InputError: A value is not a size, the overlap is too large, or the size is missing.
    """
    if size is None:
        if overlap is not None or blend is not None:
            option = "--tile-overlap" if overlap is not None else "--tile-blend"
            raise OptionError(f"{option} without --tile-size", hint="--tile-size 512, or WIDTHxHEIGHT, in pixels")
        return None
    sides = _size("--tile-size", size)
    quarter = (sides[0] // 8 * 2, sides[1] // 8 * 2)
    shared = quarter if overlap is None else _size("--tile-overlap", overlap, least=0)
    try:
        return Tiles.model_validate({"size": sides, "overlap": shared, "blend": blend or "center"})
    except ValidationError as error:
        raise OptionError("the tiles cannot be cut", cause=one_line(error)) from None


def _per_channel(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"{option} {text}: not numbers", hint=f"one per channel, for example {option} 0.485,0.456,0.406"
        ) from None


def _size(option: str, text: str, least: int = 1) -> tuple[int, int]:
    """Parses `640x480` to (width, height); for tiles also `512`, for both sides."""
    width, by, height = text.lower().partition("x")
    if not by and option.startswith("--tile"):
        height = width
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= least):
        raise OptionError(f"{option} {text}: not a size", hint="WIDTHxHEIGHT in pixels, for example 512x512")
    return int(width), int(height)


def _names(file: Path) -> tuple[str, ...]:
    from segexport.data.dataset_list import read_labels

    names = read_labels(file)
    if names is None:
        raise MissingInputError(f"{file}: no such file")
    return names


def _preprocess(file: Path) -> Preprocess:
    from segexport.files.yaml_reader import read_yaml

    try:
        return Preprocess.model_validate(read_yaml(file))
    except ValidationError as error:
        raise UnreadableError(f"{file}: not a preprocessing", cause=one_line(error)) from None


def _postprocess(text: str) -> Postprocess:
    """Parses the name of a kind with defaults, or reads a YAML file."""
    from segexport.files.yaml_reader import read_yaml

    if text in ("lanes", "spatial_embedding"):
        return Lanes() if text == "lanes" else SpatialEmbedding()
    file = Path(text)
    if not file.exists():
        raise MissingInputError(
            f"--postprocess {text}: no such file",
            hint="lanes, spatial_embedding, or a YAML file such as {kind: lanes, min_samples: 100}",
        )
    try:
        return TypeAdapter(Postprocess).validate_python(read_yaml(file))
    except ValidationError as error:
        raise UnreadableError(f"{file}: not a postprocess", cause=one_line(error)) from None
