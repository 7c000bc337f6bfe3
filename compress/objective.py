"""Computes a student's training losses on labels and against a teacher, as weighted by the options.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import numpy as np
import paddle

from segexport.compress import distill, losses
from segexport.compress.batches import Batch
from segexport.compress.live_program import LiveProgram
from segexport.compress.logits import logits_of
from segexport.compress.score_maps import at_size, score_map_of
from segexport.compress.training_options import TrainingOptions, require_class_weight
from segexport.errors import DataError, MismatchError, OptionError
from segexport.exporter.output_semantics import num_classes
from segexport.exporter.program import Program


class Objective:
    """The losses of one training.

    Args:
        student: The program to train.
        teacher: The program to learn from; None to train on labels only.

    Raises:
        InputError: Student and teacher do not match, a loss needs a teacher, or the class weights do not match.
    """

    def __init__(self, student: Program, teacher: Program | None, options: TrainingOptions) -> None:
        where = score_map_of if options.losses_before_enlarging else logits_of
        self._options, self._output = options, logits_of(student)
        heads = len(options.multi_loss_weight)
        if heads > len(student.fetch_names):
            raise MismatchError(
                f"multi_loss_weight has {heads} weights, the model has {len(student.fetch_names)} outputs",
                cause="each output has one weight: the segmentation, then the auxiliary heads",
            )
        self._logits, *self._auxiliary = (where(student, output) for output in range(heads))
        self._teacher: LiveProgram | None = None
        self._teacher_logits = ("", 1)
        self._remembered: dict[int, np.ndarray] = {}
        if options.losses.needs_teacher:
            if teacher is None:
                raise OptionError(
                    "a distillation loss has a weight, and there is no teacher", hint="name a teacher, or set it to 0"
                )
            self._teacher, self._teacher_logits = LiveProgram(teacher), where(teacher)
            self._teacher.eval()
            _require_fit(student, self._logits, teacher, self._teacher_logits)
        self._class_weight = _class_weight(options, num_classes(student))

    def losses(self, student: LiveProgram, batch: Batch) -> dict[str, paddle.Tensor]:
        """Runs the student on a batch; returns each loss by its name in the options.

        Raises:
            InputError: There are neither labels nor a teacher, or the teacher's scores have another size.
        """
        options, wanted = self._options, self._options.losses
        images = paddle.to_tensor(batch.images)
        half = "bfloat16" if options.precision == "bf16" else "float16"
        with paddle.amp.auto_cast(enable=options.precision != "fp32", dtype=half):
            heads = [self._logits, *self._auxiliary]
            own = student.read([images], [*(name for name, _ in heads), *options.features])
        scores = _classes_first(own[self._logits[0]], self._logits[1])
        found: dict[str, paddle.Tensor] = {}
        if wanted.needs_labels and batch.labels is not None:
            for weight, (name, axis) in zip(options.multi_loss_weight, heads, strict=True):
                for kind, value in self._on_labels(_classes_first(own[name], axis), batch.labels).items():
                    found[kind] = found.get(kind, 0.0) + weight * value
        if self._teacher is not None:
            taught, known = self._taught(images, batch)
            found |= self._on_teacher(scores, taught)
            if wanted.attention:
                pairs = [distill.attention(own[name], known[name]) for name in options.features]
                found["attention"] = sum(pairs) / len(pairs)
        if not found:
            raise DataError(
                "no loss can be computed: the images have no labels, and no distillation loss has a weight",
                hint="set losses.kl or losses.cwd, and name a teacher",
            )
        return found

    def scores(self, student: LiveProgram, images: np.ndarray) -> np.ndarray:
        """Returns the student's scores (batch, classes, height, width) in its current mode, without gradients."""
        with paddle.no_grad():
            own = student.read([paddle.to_tensor(images)], [self._output[0]])
        return losses.two_classes(_classes_first(own[self._output[0]], self._output[1])).numpy()

    def _taught(self, images: paddle.Tensor, batch: Batch) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
        """Returns the teacher's scores, and its features if a loss compares them.

        Caches the scores of repeated views as float16. Scores are rounded to float16 from the first use on, per image,
        so that a view's targets do not depend on the cache's state.
        """
        wanted = [self._teacher_logits[0], *self._options.features]
        with paddle.no_grad():
            if batch.views is None or self._options.features:
                known = self._teacher.read([images], wanted)
                return _classes_first(known[wanted[0]], self._teacher_logits[1]), known
            for place, view in enumerate(batch.views):
                if view not in self._remembered:
                    scores = self._teacher.read([images[place : place + 1]], wanted)[wanted[0]]
                    self._remembered[view] = _classes_first(scores, self._teacher_logits[1]).numpy().astype(np.float16)
        again = np.concatenate([self._remembered[view] for view in batch.views]).astype(np.float32)
        return paddle.to_tensor(again), {}

    def _on_labels(self, scores: paddle.Tensor, given: np.ndarray) -> dict[str, paddle.Tensor]:
        wanted, ignored = self._options.losses, self._options.ignore_index
        if self._options.losses_before_enlarging:
            given = at_size(given, *scores.shape[2:])
        labels = paddle.to_tensor(given)
        if scores.shape[2:] != labels.shape[1:]:
            scores = paddle.nn.functional.interpolate(scores, size=labels.shape[1:], mode="bilinear")
        weights = self._class_weight
        if self._options.class_weight == "dynamic":
            weights = losses.dynamic_weights(labels, max(2, scores.shape[1]), ignored)
        found = {}
        if wanted.cross_entropy:
            found["cross_entropy"] = losses.cross_entropy(scores, labels, ignored, weights)
        if wanted.bce:
            found["bce"] = losses.bce(scores, labels, ignored, weights)
        if wanted.dice:
            found["dice"] = losses.dice(scores, labels, ignored)
        if wanted.lovasz:
            found["lovasz"] = losses.lovasz(scores, labels, ignored)
        return found

    def _on_teacher(self, scores: paddle.Tensor, taught: paddle.Tensor) -> dict[str, paddle.Tensor]:
        wanted, temperature = self._options.losses, self._options.temperature
        if scores.shape != taught.shape:
            raise MismatchError(
                f"the student's scores are {scores.shape[1:]}, its teacher's {taught.shape[1:]}",
                hint="choose a teacher with the same classes and the same output size",
            )
        scores, taught = losses.two_classes(scores), losses.two_classes(taught)
        found = {}
        if wanted.kl:
            found["kl"] = distill.pixel_kl(scores, taught, temperature)
        if wanted.cwd:
            found["cwd"] = distill.channel_wise(scores, taught, temperature)
        if wanted.dist:
            found["dist"] = distill.dist(scores, taught, temperature)
        return found


def _classes_first(logits: paddle.Tensor, axis: int) -> paddle.Tensor:
    logits = logits.astype("float32")
    return logits if axis == 1 else paddle.moveaxis(logits, axis, 1)


def _class_weight(options: TrainingOptions, classes: int) -> paddle.Tensor | None:
    """`classes`: 0 if unknown."""
    require_class_weight(options, classes)
    given = options.class_weight
    if given is None or given == "dynamic":
        return None
    return paddle.to_tensor(given, "float32")


def _require_fit(student: Program, own: tuple[str, int], teacher: Program, other: tuple[str, int]) -> None:
    classes, known = student.shape(own[0])[own[1]], teacher.shape(other[0])[other[1]]
    if classes != known:
        raise MismatchError(
            f"the student has {classes} classes, its teacher {known}", hint="choose a teacher with the same classes"
        )
    mine, its = student.shape(student.feed_names[0]), teacher.shape(teacher.feed_names[0])
    if any(a != b and a > 0 and b > 0 for a, b in zip(mine[1:], its[1:], strict=False)):
        raise MismatchError(f"the student takes images of {list(mine)}, its teacher of {list(its)}")
    mine, its = _sides(student, own), _sides(teacher, other)
    if any(a != b and a > 0 and b > 0 for a, b in zip(mine, its, strict=True)):
        raise MismatchError(
            f"the student's scores are {mine[1]}x{mine[0]}, its teacher's {its[1]}x{its[0]}",
            hint="choose a teacher whose output has the same size",
        )


def _sides(program: Program, logits: tuple[str, int]) -> tuple[int, ...]:
    """Returns (height, width) of the scores, -1 if dynamic."""
    return tuple(size for axis, size in enumerate(program.shape(logits[0])) if axis not in (0, logits[1]))
