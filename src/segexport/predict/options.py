"""Options of prediction."""

from __future__ import annotations

from dataclasses import dataclass

from segexport.predict.target_size import TargetSize


@dataclass(frozen=True)
class PredictOptions:
    """Options of `predict`; some apply to one task only.

    Attributes:
        target_size: Input size of the network, as in `Model.predict`.
        slice_size: Size of the windows into which large images are cut, as in `Model.predict`.
        batch_size: Images per run; None: from the model or the pipeline.
        score_threshold: Objects with a lower score are left out; None: the threshold of pictures.
    """

    target_size: TargetSize = None
    slice_size: int | tuple[int, int] | None = None
    batch_size: int | None = None
    score_threshold: float | None = None
