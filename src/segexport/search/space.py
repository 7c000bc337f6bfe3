"""The search space of one model on one target: plain data, determined before the search."""

from __future__ import annotations

import itertools

from segexport.exporter.targets.layers import QuantizableLayer
from segexport.recipe.schema import AnyExport
from segexport.search.candidate import Candidate
from segexport.spec import Frozen


class Training(Frozen):
    """The training of pruned or quantized models, if there is training data.

    Attributes:
        teacher: The original, as given in the step's parameter.
        labelled: Whether the training images have labels.
        steps: Steps of a short training, which shows whether a long one is worth its time.
        step_seconds: Estimated time of one step.
    """

    teacher: str
    labelled: bool
    steps: int = 150
    batch_size: int = 8
    step_seconds: float = 1.0


class Space(Frozen):
    """The search space.

    Attributes:
        precisions: Exports of the target with default settings, fp32 first.
        more: Candidates of the first stage besides those, whose layers are not chosen one by one.
        methods: Calibration methods.
        switches: Calibration settings that are off by default.
        roundings: Ways to round weights.
        operators: Operator types besides products that the exporter quantizes and that may stay float.
        layers: Layers in graph order.
        groups: Layers that are tried together if there are too many single ones.
        kept_macs: Cost fractions for pruning; empty if the model cannot be pruned.
        training: None if nothing can be trained.
        qat: Whether quantization-aware training is available.
        made: Keys of the candidates whose exports were made to look at their layers.
        quantization_seconds: Time to make the int8 export among them.
        seconds: Time to determine all this.
    """

    precisions: tuple[AnyExport, ...]
    more: tuple[Candidate, ...] = ()
    methods: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    roundings: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    layers: tuple[QuantizableLayer, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    kept_macs: tuple[float, ...] = ()
    training: Training | None = None
    qat: bool = False
    made: tuple[str, ...] = ()
    quantization_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def baseline(self) -> Candidate:
        return Candidate(export=self.precisions[0])

    @property
    def target(self) -> str:
        return self.precisions[0].to


def grouped(layers: tuple[QuantizableLayer, ...], most: int) -> tuple[tuple[str, ...], ...]:
    """Splits the layers into at most `most` runs of neighbours of nearly equal length."""
    count = min(most, len(layers))
    edges = [round(index * len(layers) / count) for index in range(count + 1)] if count else []
    return tuple(tuple(layer.name for layer in layers[a:b]) for a, b in itertools.pairwise(edges))
