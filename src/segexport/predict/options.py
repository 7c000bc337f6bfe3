"""How images are predicted."""

from __future__ import annotations

from dataclasses import dataclass

from segexport.predict.target_size import TargetSize


@dataclass(frozen=True)
class PredictOptions:
    """Options of `predict`, each for the tasks that have it.

    Attributes:
        target_size: Input size of the network: as `Model.predict`.
        slice_size: Of windows that large images are cut into: as `Model.predict`.
        batch_size: Images of one run; None: from the model or the pipeline.
        score_threshold: Objects below it are left out; None: those that pictures leave out.
    """

    target_size: TargetSize = None
    slice_size: int | tuple[int, int] | None = None
    batch_size: int | None = None
    score_threshold: float | None = None
