"""What there is to choose from for one model on one target: plain data, found out before the search begins."""

from __future__ import annotations

import itertools

from segexport.exporter.targets.layers import QuantizableLayer
from segexport.recipe.schema import AnyExport
from segexport.search.candidate import Candidate
from segexport.spec import Frozen


class Training(Frozen):
    """How to train a pruned or quantized model, where there is something to learn from.

    Attributes:
        teacher: The original, as the step's parameter names it.
        labelled: Whether the training images have labels.
        steps: Of a short training, which shows whether a long one is worth its time.
        step_seconds: About what one step takes.
    """

    teacher: str
    labelled: bool
    steps: int = 150
    batch_size: int = 8
    step_seconds: float = 1.0


class Space(Frozen):
    """The choices.

    Attributes:
        precisions: Exports of the target without any setting, fp32 first.
        more: Candidates of the first stage that need a step of their own.
        methods: Ways to choose activation ranges.
        switches: Settings of the calibration that are off by default.
        operators: Operator types besides products that the exporter turns into int8, and that may stay float.
        layers: In the graph's order.
        groups: Layers that are judged together, where single ones would be too many.
        kept_macs: Shares of the cost that pruning may leave; none where the model cannot be pruned.
        training: None where nothing can be trained.
        qat: Whether quantization-aware training is there.
    """

    precisions: tuple[AnyExport, ...]
    more: tuple[Candidate, ...] = ()
    methods: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    layers: tuple[QuantizableLayer, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    kept_macs: tuple[float, ...] = ()
    training: Training | None = None
    qat: bool = False

    @property
    def baseline(self) -> Candidate:
        return Candidate(export=self.precisions[0])

    @property
    def target(self) -> str:
        return self.precisions[0].to


def grouped(layers: tuple[QuantizableLayer, ...], most: int) -> tuple[tuple[str, ...], ...]:
    """At most `most` runs of neighbouring layers, as equal in number as can be."""
    count = min(most, len(layers))
    edges = [round(index * len(layers) / count) for index in range(count + 1)] if count else []
    return tuple(tuple(layer.name for layer in layers[a:b]) for a, b in itertools.pairwise(edges))
