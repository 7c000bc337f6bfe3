"""A pruning as it travels to the process that does it: plain values, without paddle."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segexport.compress.channel_cost import Cost
from segexport.compress.prune import Criterion
from segexport.compress.training_job import DatasetSpec
from segexport.spec import Frozen, Preprocess

Widths = Literal["uniform", "global"]


class PruneOptions(Frozen):
    """How to choose channels and what to do for those that stay.

    Attributes:
        criterion: What a channel is worth, see `segexport.compress.prune.prune`.
        widths: `uniform`: every group loses the same fraction. `global`: those groups lose most whose channels cost
            much and matter little; by `fisher`.
        least_kept: Of `global`: no group comes down to less than this fraction.
        align: Channels that stay are a multiple of this.
        stages: The budgets are approached in so many cuts, each by the same factor, with the channels' worth measured
            anew in between.
        reconstruct: Weights that make up for what was cut, by least squares.
        images: So many are looked at for a criterion, and again for the reconstruction.
    """

    criterion: Criterion = "l1"
    widths: Widths = "uniform"
    least_kept: float = Field(default=0.4, ge=0, le=1)
    align: int = Field(default=8, ge=1)
    stages: int = Field(default=1, ge=1)
    reconstruct: bool = False
    images: int = Field(default=32, ge=1)


class PruneJob(Frozen):
    """All that a process needs to prune from data.

    Attributes:
        model: Paths of `model` and `params`.
        classes: Of the model, where the data has labels of these classes; None: the images alone are used.
    """

    model: dict[str, str]
    options: PruneOptions
    classes: int | None = None
    preprocess: Preprocess
    data: DatasetSpec
    seed: int = 0


Budgets = dict[Cost, float]
"""Cost -> the fraction of it that may stay."""
