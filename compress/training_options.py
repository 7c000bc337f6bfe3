"""Training options: plain values, without paddle, for recipes and steps."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import AliasChoices, Field, NonNegativeFloat, model_validator

from segexport.errors import OptionError
from segexport.spec import Frozen

LOG = "training.jsonl"  # one line per step: step, learning rate, losses
EVALUATIONS = "evaluations.jsonl"  # one line per evaluation between epochs


class Losses(Frozen):
    """The weight of each loss; 0 disables it.

    The first four need labels (see `compress.losses`), the others a teacher (see `compress.distill`).
    """

    cross_entropy: float = Field(default=1.0, ge=0)
    bce: float = Field(default=0.0, ge=0)
    dice: float = Field(default=0.0, ge=0)
    lovasz: float = Field(default=0.0, ge=0)
    kl: float = Field(default=0.0, ge=0)
    cwd: float = Field(default=0.0, ge=0)
    dist: float = Field(default=0.0, ge=0)
    attention: float = Field(default=0.0, ge=0)

    @property
    def needs_labels(self) -> bool:
        return any((self.cross_entropy, self.bce, self.dice, self.lovasz))

    @property
    def needs_teacher(self) -> bool:
        return any((self.kl, self.cwd, self.dist, self.attention))


class LearningOptions(Frozen):
    """Training options that do not depend on data and length. Recipes may still use the names of version 0.1.

    Attributes:
        lr_decay: After the warmup, `poly`: (1 - step / steps) ** lr_decay_power; `cosine`: half a cosine wave to 0.
        warmup_steps: Steps with a linearly rising rate.
        class_weight: Weight of a pixel of each class in cross entropy and BCE; `dynamic`: inverse to the class's
            pixels in the batch.
        multi_loss_weight: Weight of the label losses at each output, the segmentation first; the others are auxiliary
            heads, which the training removes at its end.
        features: Variables of student and teacher that `losses.attention` compares.
        temperature: Temperature of the distillation losses.
        ema: Decay of the moving average of the weights, which replaces the last weights; 0: no average.
        save_every: Steps between checkpoints.
        losses_before_enlarging: Compute the losses on the score map before a final upsampling: on a CPU, this makes a
            step up to twice as fast. Labels are resized to the map by nearest neighbour.
        precision: `fp16`, `bf16`: mixed precision (Micikevicius et al., ICLR 2018), on a GPU only.
    """

    optimizer: Literal["adamw", "momentum"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    lr_decay: Literal["poly", "cosine"] = Field(default="poly", validation_alias=AliasChoices("lr_decay", "schedule"))
    lr_decay_power: float = Field(default=0.9, ge=0, validation_alias=AliasChoices("lr_decay_power", "power"))
    warmup_steps: int = Field(default=0, ge=0, validation_alias=AliasChoices("warmup_steps", "warmup"))
    weight_decay: float = Field(default=1e-4, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    losses: Losses = Losses()
    class_weight: Literal["dynamic"] | tuple[NonNegativeFloat, ...] | None = None
    multi_loss_weight: tuple[NonNegativeFloat, ...] = Field(default=(1.0,), min_length=1)
    features: tuple[str, ...] = ()
    temperature: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    save_every: int = Field(default=200, gt=0)
    losses_before_enlarging: bool = False
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _features_where_they_are_compared(self) -> LearningOptions:
        if bool(self.losses.attention) != bool(self.features):
            raise ValueError("the attention loss needs `features`, and the reverse: give both or neither")
        return self


class TrainingOptions(LearningOptions):
    """All options of one training.

    Attributes:
        ignore_index: Label of ignored pixels.
    """

    steps: int = Field(gt=0)
    ignore_index: int = 255
    seed: int = 0


class CourseOptions(Frozen):
    """Options of evaluating, saving and stopping.

    Attributes:
        save_interval_epochs: Epochs between two evaluations.
        early_stop: Stop after `early_stop_patience` evaluations in a row without a better mIoU.
        log_interval_steps: Number of steps averaged to one point of the curves.
    """

    save_interval_epochs: int = Field(default=1, gt=0)
    early_stop: bool = False
    early_stop_patience: int = Field(default=5, gt=0)
    log_interval_steps: int = Field(default=10, gt=0)


def require_class_weight(options: LearningOptions, classes: int) -> None:
    """Checks that `class_weight` has a weight for each class, and one above 0.

    Args:
        classes: Number of the model's classes; 0: unknown.

    Raises:
        OptionError: It does not.
    """
    given = options.class_weight
    if given is None or given == "dynamic" or (any(given) and len(given) == (classes or len(given))):
        return
    what = f"has {len(given)} weights, the model {classes} classes" if any(given) else "is 0 for every class"
    raise OptionError(f"class_weight {what}", hint="one weight for each class in the order of labels.txt, or 'dynamic'")


def learning_rate(options: TrainingOptions, step: int) -> float:
    """Returns the learning rate of a step, counted from 0."""
    warmup = options.warmup_steps
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, options.steps - warmup)
    if options.lr_decay == "poly":
        return options.learning_rate * (1 - done) ** options.lr_decay_power
    return options.learning_rate * (1 + math.cos(math.pi * done)) / 2
