"""Loaded models with clustered outputs, or scores averaged over sizes, selected by the manifest's `postprocess`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from segexport import preprocess
from segexport.clusters.lane_result import LaneResult
from segexport.clusters.lanes import Lane, fitted, lane_pixels
from segexport.clusters.spatial import instances
from segexport.data.dataset import Dataset, Sample
from segexport.errors import ModelOutputError, OptionError, UnsupportedModelError
from segexport.predict.inputs import Picture, pictures
from segexport.predict.model import Model
from segexport.predict.prediction import SegmentationResult
from segexport.predict.target_size import TargetSize
from segexport.preprocess import Placement
from segexport.runtimes.objects import Objects
from segexport.spec import Label, Lanes, MultiScale, Pad, Preprocess, Resize, SpatialEmbedding, TensorSpec, Tiles
from segexport.task.instance.result import InstanceResult
from segexport.ui.pictures import as_rgb

_MASKS = ("class_index", "probability", "logits")


class LaneModel(Model):
    """A model that finds lanes: `predict` yields a `LaneResult` per image."""

    def predict(
        self,
        input: Any,
        batch_size: int = 1,
        target_size: TargetSize = None,
        *,
        tiles: Tiles | None = None,
        slice_size: int | tuple[int, int] | None = None,
        score_map: bool = True,
    ) -> Iterator[LaneResult]:
        """Finds lanes in images one by one; inputs and sizes as in `Model.predict`.

        Args:
            batch_size, score_map: Accepted, but without effect: images run one at a time, without score map.

        Raises:
            InputError: An input cannot be read, the model does not support its size, or embeddings contain NaN.
        """
        rule = self.artifact.manifest.postprocess
        assert isinstance(rule, Lanes), "the rule chose this class"
        contract = self.contract(target_size)
        _refuse_tiles(tiles or contract.tiles, slice_size)
        binary, embedding = _lane_outputs(self, rule)
        return (self._lanes(one, contract, rule, binary, embedding) for one in pictures(input, contract.pixels))

    def _lanes(self, picture: Picture, contract: Preprocess, rule: Lanes, binary: int, embedding: int) -> LaneResult:
        placed = self._placed(None, picture.image, contract)
        outputs = self._session.outputs([placed.tensor])
        specs = self.artifact.manifest.outputs
        mask = _binary(outputs[binary], specs[binary])
        values = _hwc(outputs[embedding], specs[embedding]).astype(np.float32)
        if values.shape[:2] != mask.shape:
            mask = preprocess.enlarge_mask(mask, (values.shape[0], values.shape[1]))
        if not np.isfinite(values).all():
            raise ModelOutputError(f"{picture.name}: the model's embeddings hold NaN or infinity")
        numbers = lane_pixels(mask, values, rule)
        found = [_lane(numbers == number, placed.placement, rule) for number in range(1, int(numbers.max()) + 1)]
        stored = numbers.astype(np.uint8 if len(found) < 256 else np.uint16)
        restored = preprocess.restore_mask(stored, placed.placement)
        return LaneResult(picture.name, as_rgb(picture.image), restored, found)


class EmbeddingModel(Model):
    """A model with spatial embeddings: `predict` yields an `InstanceResult` per image."""

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] - objects instead of masks
        self,
        input: Any,
        batch_size: int = 1,
        target_size: TargetSize = None,
        *,
        tiles: Tiles | None = None,
        slice_size: int | tuple[int, int] | None = None,
        score_map: bool = True,
        score_threshold: float = 0.0,
    ) -> Iterator[InstanceResult]:
        """Finds objects in images one by one; inputs and sizes as in `Model.predict`.

        Args:
            batch_size, score_map: Accepted, but without effect: images run one at a time, without score map.
            score_threshold: Lowest score of returned objects; the rule's threshold applies first.

        Raises:
            InputError: An input cannot be read, the model does not support its size, or embeddings contain NaN.
        """
        rule = self.artifact.manifest.postprocess
        assert isinstance(rule, SpatialEmbedding), "the rule chose this class"
        contract = self.contract(target_size)
        _refuse_tiles(tiles or contract.tiles, slice_size)
        places = _embedding_outputs(self, rule)
        return (self._objects(one, contract, rule, places, score_threshold) for one in pictures(input, contract.pixels))

    def _objects(
        self,
        picture: Picture,
        contract: Preprocess,
        rule: SpatialEmbedding,
        places: tuple[int, int],
        least: float,
    ) -> InstanceResult:
        placed = self._placed(None, picture.image, contract)
        outputs = self._session.outputs([placed.tensor])
        seeds, offsets, factors = self._fields(outputs, rule, places, picture.name)
        classes: list[int] = []
        scores: list[float] = []
        masks: list[np.ndarray] = []
        labels = _seed_labels(self.artifact.manifest.labels, len(seeds))
        for label, seed in zip(labels, seeds, strict=True):
            for mask, score in instances(seed, offsets, factors, rule, picture.name):
                restored = preprocess.restore_mask(mask, placed.placement)
                if score >= least and restored.any():
                    classes.append(label.id)
                    scores.append(score)
                    masks.append(restored)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        objects = Objects.of(
            [classes[i] for i in order],
            [scores[i] for i in order],
            [_box(masks[i]) for i in order],
            [masks[i] for i in order],
            placed.placement.original,
        )
        every = _by_id(self.artifact.manifest.labels, labels)
        return InstanceResult(picture.name, as_rgb(picture.image), objects, every, least)

    def _fields(
        self, outputs: list[np.ndarray], rule: SpatialEmbedding, places: tuple[int, int], name: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Seeds (classes, h, w), offsets (2, h, w) and bandwidths (1 or 2, h, w), after their activations."""
        specs = self.artifact.manifest.outputs
        field = _chw(outputs[places[1]], specs[places[1]]).astype(np.float64)
        split = 2 + rule.bandwidths
        one_output = places[0] == places[1]
        if len(field) < split + one_output or (len(field) > split and not one_output):
            expected = f"{split} and a seed of each class" if one_output else f"{split}"
            raise ModelOutputError(
                f"{name}: the output {specs[places[1]].name!r} has {len(field)} channels",
                cause=f"{expected} are expected: 2 offsets and {rule.bandwidths} of bandwidth",
                hint="state them: --postprocess FILE with {kind: spatial_embedding, bandwidths: 1}",
            )
        seeds = field[split:] if one_output else _chw(outputs[places[0]], specs[places[0]]).astype(np.float64)
        with np.errstate(over="ignore"):
            if one_output or specs[places[0]].semantics != "probability":
                seeds = 1 / (1 + np.exp(-seeds))
            offsets, factors = field[:2], field[2:split]
            if not rule.activated:
                offsets, factors = np.tanh(offsets), np.exp(np.minimum(10 * factors, 100))
        if seeds.shape[1:] != offsets.shape[1:]:
            raise ModelOutputError(
                f"{name}: seeds of {list(seeds.shape)} and offsets of {list(offsets.shape)} differ in size"
            )
        return seeds, offsets, factors


class MultiScaleModel(Model):
    """A model whose scores are averaged over input sizes and mirrored images, in `predict` and in `evaluate`."""

    def predict(
        self,
        input: Any,
        batch_size: int = 1,
        target_size: TargetSize = None,
        *,
        tiles: Tiles | None = None,
        slice_size: int | tuple[int, int] | None = None,
        score_map: bool = True,
    ) -> Iterator[SegmentationResult]:
        """Segments images one by one; inputs as in `Model.predict`.

        Args:
            batch_size: Accepted, but without effect: images run one at a time.
            target_size: None; the rule determines the sizes.

        Raises:
            InputError: An input cannot be read, or the model does not support a size.
        """
        _refuse_tiles(tiles or self.artifact.manifest.preprocess.tiles, slice_size)
        if target_size is not None:
            raise OptionError("target_size: this model is predicted at the sizes of its postprocess")
        pixels = self.artifact.manifest.preprocess.pixels
        return (self._averaged(one, score_map) for one in pictures(input, pixels))

    def _averaged(self, picture: Picture, score_map: bool) -> SegmentationResult:
        scores = self.average(picture.image)
        mask = scores.argmax(axis=2).astype(np.uint8 if scores.shape[2] <= 256 else np.uint16)
        found = self.probabilities(scores) if score_map else None
        return SegmentationResult(picture.name, as_rgb(picture.image), mask, found, self.artifact.manifest.labels)

    def _masks(self, data: Dataset, limit: int) -> Generator[tuple[Sample, np.ndarray]]:
        for sample in data:
            yield sample, self.average(sample.image).argmax(axis=2)

    def average(self, image: np.ndarray) -> np.ndarray:
        """The mean of the network's scores, (H, W, classes) float32 at the image's size."""
        manifest = self.artifact.manifest
        rule, place = manifest.postprocess, self._scores_output
        assert isinstance(rule, MultiScale), "the rule chose this class"
        if place is None:
            raise UnsupportedModelError(
                f"{self.artifact.path}: classes cannot be averaged", cause="its head is an argmax"
            )
        if any(side > 0 for side in manifest.image.shape[2:]) and len(rule.sizes) > 1:
            height, width = manifest.image.shape[2:]
            raise UnsupportedModelError(
                f"{self.artifact.path}: postprocess multi_scale needs a model with a dynamic input size",
                cause=f"its input is {width}x{height}",
                hint="export the network without a fixed input size",
            )
        total = np.zeros(0, np.float32)
        count = 0
        for size in rule.sizes:
            contract = at_size(manifest.preprocess, size)
            placed = self._placed(None, image, contract)
            for mirrored in (False, True)[: 1 + rule.flip]:
                tensor = np.ascontiguousarray(placed.tensor[..., ::-1]) if mirrored else placed.tensor
                scores = _hwc(self._session.outputs([tensor])[place], manifest.outputs[place]).astype(np.float32)
                if mirrored:
                    scores = np.ascontiguousarray(scores[:, ::-1][..., _swapped(scores.shape[2], rule)])
                whole = preprocess.restore_scores(scores, placed.placement)
                total = whole.copy() if not count else total + whole
                count += 1
        return total / np.float32(count)


def at_size(contract: Preprocess, size: tuple[int, int]) -> Preprocess:
    """Returns the preprocessing with another size in its resize and padding, or with an added resize.

    Raises:
        InputError: It has other operations with sizes.
    """
    width, height = size
    changed = tuple(
        op.model_copy(update={"width": width, "height": height}) if isinstance(op, Resize | Pad) else op
        for op in contract.geometry
    )
    others = [op.op for op in contract.geometry if not isinstance(op, Resize | Pad)]
    if others:
        raise OptionError(
            f"postprocess multi_scale: the preprocessing has {', '.join(others)}",
            cause="its sizes replace those of a resize and a pad",
            hint="import the model with --preprocess FILE that resizes, or resizes and pads",
        )
    return contract.model_copy(update={"geometry": changed or (Resize(width=width, height=height),)})


def _refuse_tiles(tiles: Tiles | None, slice_size: Any) -> None:
    if tiles is not None or slice_size is not None:
        raise OptionError("tiles: the outputs of this model are clustered or averaged over the whole image")


def _lane_outputs(model: Model, rule: Lanes) -> tuple[int, int]:
    """Indices of the outputs with the mask and the embedding."""
    specs = model.artifact.manifest.outputs
    binary = next((i for i, spec in enumerate(specs) if spec.semantics in _MASKS), None)
    others = [i for i, spec in enumerate(specs) if i != binary and _has_channels(spec)]
    embedding = rule.embedding if rule.embedding is not None else (others[0] if len(others) == 1 else None)
    if binary is None or embedding is None or embedding >= len(specs) or embedding == binary:
        raise _no_outputs(model, "lanes", "the mask of lanes, and another output with an embedding")
    return binary, embedding


def _embedding_outputs(model: Model, rule: SpatialEmbedding) -> tuple[int, int]:
    """Indices of the outputs with the seeds and the offsets; equal if there is one output."""
    specs = model.artifact.manifest.outputs
    if len(specs) == 1 and _has_channels(specs[0]):
        return 0, 0
    seeds = next((i for i, spec in enumerate(specs) if spec.semantics in _MASKS and _has_channels(spec)), None)
    others = [i for i, spec in enumerate(specs) if i != seeds and _has_channels(spec)]
    instance = rule.instance if rule.instance is not None else (others[0] if len(others) == 1 else None)
    if seeds is None or instance is None or instance >= len(specs) or instance == seeds:
        raise _no_outputs(model, "spatial_embedding", "seeds, and another output with offsets and bandwidths")
    return seeds, instance


def _no_outputs(model: Model, kind: str, wanted: str) -> UnsupportedModelError:
    specs = model.artifact.manifest.outputs
    return UnsupportedModelError(
        f"{model.artifact.path}: postprocess {kind} needs {wanted}",
        cause="its outputs are " + ", ".join(f"{spec.name} {list(spec.shape)} ({spec.semantics})" for spec in specs),
        hint="name the first one: --mask-output NAME; or the other one by its index: --postprocess FILE with "
        f"{{kind: {kind}, {'embedding' if kind == 'lanes' else 'instance'}: 1}}",
    )


def _has_channels(spec: TensorSpec) -> bool:
    return len(spec.shape) == 4 and spec.dtype.startswith("float")


def _chw(output: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Converts the output of one image to (channels, h, w)."""
    if output.ndim != 4 or output.shape[0] != 1:
        raise ModelOutputError(f"the output {spec.name!r} is {list(output.shape)}, not that of one image")
    return output[0].transpose(2, 0, 1) if spec.layout.endswith("HWC") else output[0]


def _hwc(output: np.ndarray, spec: TensorSpec) -> np.ndarray:
    return _chw(output, spec).transpose(1, 2, 0)


def _binary(output: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """(h, w) bool: the pixels of any class but 0."""
    if spec.semantics == "class_index":
        named = [axis for axis, letter in enumerate(spec.layout) if letter in "HW"]
        return output.reshape([output.shape[axis] for axis in named or (-2, -1)]) > 0
    scores = _chw(output, spec)
    if len(scores) == 1:
        return scores[0] > (0.5 if spec.semantics == "probability" else 0)
    return scores.argmax(axis=0) > 0


def _lane(mask: np.ndarray, placement: Placement, rule: Lanes) -> Lane:
    ys, xs = np.nonzero(mask)
    points = preprocess.image_points(np.stack([xs, ys], axis=1), placement, (mask.shape[0], mask.shape[1]))
    width, height = placement.original
    points = np.clip(points, 0, (width - 1, height - 1))
    return Lane(fitted(points[:, 0], points[:, 1], rule), len(xs))


def _seed_labels(labels: tuple[Label, ...], seeds: int) -> tuple[Label, ...]:
    """The class of each seed channel: the model's, those after the background, or default labels."""
    if len(labels) == seeds:
        return labels
    if len(labels) == seeds + 1:
        return labels[1:]
    return tuple(Label(id=i, name="object" if seeds == 1 else f"class_{i}", rgb=(220, 60, 60)) for i in range(seeds))


def _by_id(labels: tuple[Label, ...], used: tuple[Label, ...]) -> tuple[Label, ...]:
    """Labels in the order of their ids."""
    known = {label.id: label for label in (*labels, *used)}
    return tuple(known[i] for i in sorted(known))


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _swapped(classes: int, rule: MultiScale) -> np.ndarray:
    order = np.arange(classes)
    for one, other in rule.swap:
        if not (0 <= one < classes and 0 <= other < classes):
            raise OptionError(
                f"postprocess multi_scale: swap [{one}, {other}]", cause=f"the model has {classes} classes"
            )
        order[one], order[other] = other, one
    return order


MODELS: dict[str, type[Model]] = {
    "lanes": LaneModel,
    "spatial_embedding": EmbeddingModel,
    "multi_scale": MultiScaleModel,
}
"""Kind of `postprocess` -> class of the model."""
