"""The serializable description of a pruning for the worker process: plain values, without paddle."""

from __future__ import annotations

from pydantic import Field

from segexport.compress.channel_cost import Cost
from segexport.compress.prune import Criterion, Widths
from segexport.compress.training_job import DatasetSpec
from segexport.spec import Frozen, Preprocess


class PruneOptions(Frozen):
    """Options of choosing channels and of adjusting the remaining ones.

    Attributes:
        criterion: Importance criterion, see `segexport.compress.prune.prune`.
        widths: `uniform`: every group loses the same fraction. `global`: groups with costly, unimportant channels lose
            most; needs a loss-based criterion. `isomorphic`: every class of isomorphic groups loses the same fraction.
        least_kept: For `global` and `isomorphic`: smallest fraction that a group keeps.
        align: The remaining channels are a multiple of this.
        stages: Number of cuts in which the budgets are reached, each by the same factor; importance is measured again
            before each cut.
        reconstruct: Whether to fit the remaining weights to the original outputs by least squares.
        images: Number of images for a criterion, and again for the reconstruction.
    """

    criterion: Criterion = "l1"
    widths: Widths = "uniform"
    least_kept: float = Field(default=0.4, ge=0, le=1)
    align: int = Field(default=8, ge=1)
    stages: int = Field(default=1, ge=1)
    reconstruct: bool = False
    images: int = Field(default=32, ge=1)


class PruneJob(Frozen):
    """The worker's input for pruning from data.

    Attributes:
        model: Paths of `model` and `params`.
        classes: The model's classes if the data is labelled with them; None: use only the images.
    """

    model: dict[str, str]
    options: PruneOptions
    classes: int | None = None
    preprocess: Preprocess
    data: DatasetSpec
    seed: int = 0


Budgets = dict[Cost, float]
"""Cost -> fraction that may remain."""
