"""What was measured of a run, before anybody judged it. Plain data: `check` fills it in, `conclude` judges it."""

from __future__ import annotations

from dataclasses import dataclass, field

from segexport.artifact import ModelArtifact
from segexport.errors import SegexportError
from segexport.judge.base import Judge
from segexport.measure import latency
from segexport.measure.instructions import Instructions
from segexport.measure.mask_proof import MaskProof
from segexport.measure.parity import Comparison, Counts
from segexport.pipeline.registry import target_of
from segexport.recipe.limits import Limits, limits_for
from segexport.recipe.schema import LatencyPolicy
from segexport.report.schema import DatasetInfo, Latency, Recorded, WorstImage
from segexport.runtimes.base import SessionInfo
from segexport.spec import Format, Label, Precision
from segexport.verdict import Check

REFERENCE = "reference"


@dataclass(frozen=True)
class Export:
    """An export that is to be checked: the artifact, or the error that kept it from being made.

    Attributes:
        limits: The recipe's changes to those of the precision.
        runtime: Who runs it, by name; empty: the format's first runtime.
    """

    name: str
    format: Format
    precision: Precision
    artifact: ModelArtifact | None = None
    error: SegexportError | None = None
    limits: Limits | None = None
    runtime: str = ""

    @property
    def made(self) -> ModelArtifact:
        """The artifact, of an export that could be made."""
        if self.artifact is None:
            raise ValueError(f"{self.name} was not made")
        return self.artifact

    @property
    def effective_limits(self) -> Limits:
        """The limits of its precision, or of trained weights, with the recipe's changes."""
        trained = self.artifact is not None and self.artifact.manifest.is_trained
        target = target_of(self.format)
        own = None if target is None else target.limits.get(self.precision)
        return limits_for(self.precision, trained=trained, overrides=own).overridden(self.limits)

    def latency_decides(self, policy: LatencyPolicy | None) -> bool:
        """Whether latency is gated: by the policy or, without one, because its own limits name a latency limit."""
        if policy is not None:
            return policy == "gate"
        return self.limits is not None and self.limits.latency_ratio_max is not None


@dataclass
class Measured:
    """What was measured of one export.

    Attributes:
        info: What ran it; None where nothing could be opened.
        instructions: None where they were not to be counted.
        worst: The images on which it agrees least, drawn.
        operators: Precision -> operator -> how many ran so.
        more: Checks beyond those that follow from the counts and the times.
    """

    export: Export
    info: SessionInfo | None = None
    counts: Counts | None = None
    timing: latency.Timing | None = None
    instructions: Instructions | None = None
    worst: tuple[WorstImage, ...] = ()
    operators: dict[str, dict[str, int]] = field(default_factory=dict)
    more: list[Check] = field(default_factory=list)
    error: SegexportError | None = None


@dataclass(frozen=True)
class ReferenceRun:
    """How the reference's masks came about.

    Attributes:
        artifact: The model; of a recording, its manifest alone.
        times: As the report shows them.
        timing: For ratios, where the times were taken in turn with the exports', or on the same device.
        recorded: What is known of the recording; None where the reference ran just now.
        proof: How the masks were made; None if the runtime has one program only, or it was not examined.
    """

    artifact: ModelArtifact
    info: SessionInfo
    is_gpu: bool
    times: Latency | None = None
    timing: latency.Timing | None = None
    recorded: Recorded | None = None
    notes: tuple[str, ...] = ()
    proof: MaskProof | None = None

    @property
    def unoptimized(self) -> bool:
        """Whether its time is that of a program that its runtime could not optimize: no baseline for ratios."""
        return self.proof is not None and not self.proof.holds


@dataclass(frozen=True)
class Measurement:
    """A whole run, before anybody judged it.

    Attributes:
        judge: Holds the comparison against limits.
        latency: Whether latency is gated, if that was given.
        groups: The group of each image, where images of a group are not independent; None where every image is.
    """

    title: str
    reference: ReferenceRun
    exports: list[Measured]
    comparison: Comparison[Counts]
    judge: Judge
    labels: tuple[Label, ...]
    dataset: DatasetInfo
    environment: dict[str, object]
    notes: tuple[str, ...] = ()
    latency: LatencyPolicy | None = None
    groups: tuple[str, ...] | None = None
