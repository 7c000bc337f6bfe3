"""Trains a detector of PaddleDetection in its toolchain: batches, schedule, and the worker that makes the steps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segexport import preprocess
from segexport.errors import DataError, InputError, WorkerFailed
from segexport.exporter import to_onnx
from segexport.importers.checkpoint import read_checkpoint
from segexport.importers.checkpoint_fit import beginning
from segexport.importers.detection_config import DetectionConfig
from segexport.process.fast_products import fast_products
from segexport.process.worker import Worker
from segexport.spec import Preprocess
from segexport.task.instance.data import InstanceData
from segexport.task.instance.detections import decoded

_WORKER = to_onnx.WORKERS / "paddledet_training_worker.py"
_LONGEST_S = 1800.0  # one step on a slow machine
_LEAST_SIDE = 1.0  # pixels of a box in the tensor: the logarithm of 0 would be its target


@dataclass(frozen=True, kw_only=True)
class DetectorCourse:
    """How a detector is trained.

    Attributes:
        learning_rate: Rate after the warmup, which rises to it from `warmup_start_lr` in `warmup_steps` steps.
        lr_decay_epochs: Epochs after which the rate is multiplied by `lr_decay_gamma`.
        clip_norm: Largest norm of all gradients together.
        flip: Whether images are mirrored with probability 1/2.
        threads: Threads of the training process.
    """

    num_epochs: int
    batch_size: int = 1
    learning_rate: float = 1 / 800
    warmup_steps: int = 500
    warmup_start_lr: float = 1 / 2400
    lr_decay_epochs: tuple[int, ...] = (8, 11)
    lr_decay_gamma: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 35.0
    flip: bool = True
    seed: int = 0
    threads: int = os.cpu_count() or 1

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted from 0."""
        passed = sum(step >= epoch * steps_per_epoch for epoch in self.lr_decay_epochs)
        rate = self.learning_rate * self.lr_decay_gamma**passed
        if step >= self.warmup_steps:
            return rate
        return self.warmup_start_lr + (rate - self.warmup_start_lr) * step / self.warmup_steps


@dataclass(frozen=True)
class Example:
    """An image as the network takes it, and its objects.

    Attributes:
        tensor: (3, height, width) float32.
        size: (height, width) of the image inside the tensor.
        boxes: (objects, 4) float32, left, top, right and bottom in the tensor's pixels.
        classes: (objects, 1) int32.
        masks: (objects, height, width) uint8 of 0 and 1.
    """

    tensor: np.ndarray
    size: tuple[int, int]
    boxes: np.ndarray
    classes: np.ndarray
    masks: np.ndarray

    def mirrored(self) -> Example:
        """The same image, left and right exchanged inside `size`."""
        width = self.size[1]
        tensor, masks, boxes = self.tensor.copy(), self.masks.copy(), self.boxes.copy()
        tensor[..., :width] = tensor[..., :width][..., ::-1]
        masks[..., :width] = masks[..., :width][..., ::-1]
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        return Example(tensor, self.size, boxes, self.classes, masks)


class Examples:
    """The images of a data set that have objects to learn from; crowds and difficult objects are left out.

    Raises:
        DataError: No image has an object, or objects have boxes only.
    """

    def __init__(self, data: InstanceData, contract: Preprocess) -> None:
        if not data.has_masks:
            raise DataError(
                f"{data.source}: objects without a mask",
                cause="a Mask R-CNN learns masks; some objects have a box only",
                hint="annotate polygons or run-length codes: COCO's `segmentation`",
            )
        self._data, self._contract = data, contract
        self._indices = [index for index, entry in enumerate(data.entries) if self._objects(entry.image)]
        if not self._indices:
            raise DataError(f"{data.source}: no object to train on in {len(data.entries)} images")

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, number: int) -> Example:
        index = self._indices[number]
        sample = self._data.read(index)
        tensor, placement = preprocess.apply(self._contract, sample.image)
        width, height = placement.content
        across, down = width / placement.original[0], height / placement.original[1]
        objects = self._objects(self._data.entries[index].image)
        masks = np.zeros((len(objects), *tensor.shape[2:]), np.uint8)
        rows, columns = _source_of(height, placement.original[1]), _source_of(width, placement.original[0])
        boxes = np.empty((len(objects), 4), np.float32)
        for mask, box, one in zip(masks, boxes, objects, strict=True):
            mask[:height, :width] = decoded(one.segmentation, placement.original)[rows][:, columns]
            left, top, wide, high = one.bbox
            wide, high = max(wide * across, _LEAST_SIDE), max(high * down, _LEAST_SIDE)
            box[:] = left * across, top * down, left * across + wide, top * down + high
        classes = np.array([[one.class_id] for one in objects], np.int32)
        return Example(tensor[0], (height, width), boxes, classes, masks)

    def _objects(self, name: str) -> list[Any]:
        return [one for one in self._data.of(name) if not one.crowd and not one.difficult]


def _source_of(to: int, of: int) -> np.ndarray:
    """The pixel of a side of `of` pixels below the centre of each of `to` pixels."""
    return ((np.arange(to) + 0.5) * of / to).astype(int)


def batches(examples: Examples, course: DetectorCourse, epoch: int) -> Iterator[list[Example]]:
    """The batches of an epoch; they depend on nothing but the seed and the epoch. The last may be smaller."""
    random = np.random.default_rng([course.seed, epoch])
    order = random.permutation(len(examples))
    for start in range(0, len(order), course.batch_size):
        chosen = [examples[int(number)] for number in order[start : start + course.batch_size]]
        yield [one.mirrored() if course.flip and random.random() < 0.5 else one for one in chosen]


class DetectorTraining:
    """A network in training, in a separate process. Use it in a `with` block.

    Args:
        config: The network.
        course: Optimizer and schedule.
        pretrained: Checkpoint to begin from; None: random weights.

    Attributes:
        notes: Which of the pretrained weights were taken.

    Raises:
        EnvironmentMissingError: The toolchain `paddledet` is not installed.
        InputError: PaddleDetection cannot build the network, or no weight of `pretrained` fits.
    """

    def __init__(self, config: DetectionConfig, course: DetectorCourse, pretrained: Path | None = None) -> None:
        self._course, self.notes = course, ()
        how = {"threads": course.threads, "environment": fast_products()}
        self._worker = Worker(_WORKER, needs="ppdet", name="PaddleDetection", **how)
        try:
            self._begin(config, pretrained)
        except BaseException:
            self._worker.close()
            raise

    def _begin(self, config: DetectionConfig, pretrained: Path | None) -> None:
        asked = {"architecture": config.architecture, "sections": config.sections}
        try:
            answer, _ = self._worker.call(
                "build", {**asked, "checkout": None, "seed": self._course.seed}, timeout_s=_LONGEST_S
            )
        except WorkerFailed as error:
            raise InputError(error.what, cause=error.cause, hint=error.hint) from error
        taken: Mapping[str, np.ndarray] = {}
        if pretrained is not None:
            network = {name: (dtype, tuple(shape)) for name, (dtype, shape) in answer["weights"].items()}
            found = beginning(pretrained, read_checkpoint(pretrained), network)
            taken, self.notes = found.taken, tuple(found.notes(pretrained.name))
        course = self._course
        options = {
            "names": list(taken),
            "learning_rate": course.learning_rate,
            "momentum": course.momentum,
            "weight_decay": course.weight_decay,
            "clip_norm": course.clip_norm,
        }
        arrays = [np.ascontiguousarray(value) for value in taken.values()]
        self._worker.call("begin", options, arrays, timeout_s=_LONGEST_S)

    def step(self, batch: Sequence[Example], rate: float) -> dict[str, float]:
        """Makes one step; returns PaddleDetection's losses before it, by name, and their sum as `loss`.

        Raises:
            WorkerFailed: The training diverged.
        """
        arrays = [np.stack([one.tensor for one in batch]), np.array([one.size for one in batch], np.float32)]
        for one in batch:
            arrays += [one.boxes, one.classes, one.masks]
        answer, _ = self._worker.call("step", {"learning_rate": rate}, arrays, timeout_s=_LONGEST_S)
        return answer["losses"]

    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name."""
        answer, arrays = self._worker.call("weights", {}, timeout_s=_LONGEST_S)
        return dict(zip(answer["names"], arrays, strict=True))

    def __enter__(self) -> DetectorTraining:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()
