"""The measurements of a run, before verdicts. Plain data: `check` fills it, `conclude` decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from segexport.artifact import ModelArtifact
from segexport.errors import SegexportError
from segexport.judge.base import Judge
from segexport.measure import latency
from segexport.measure.instructions import Instructions
from segexport.measure.mask_proof import MaskProof, TwinRecord
from segexport.measure.parity import Comparison, Counts
from segexport.pipeline.registry import target_of
from segexport.recipe.limits import Limits, limits_for
from segexport.recipe.schema import LatencyPolicy
from segexport.report.schema import DatasetInfo, Latency, Recorded, ShownImage
from segexport.runtimes.base import SessionInfo
from segexport.spec import Format, Label, Precision
from segexport.verdict import Check

REFERENCE = "reference"


@dataclass(frozen=True)
class Export:
    """An export to check: the artifact, or the error that prevented it.

    Attributes:
        limits: The recipe's changes to the precision's limits.
        runtime: Name of its runtime; empty: the format's first runtime.
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
        """The artifact of an export without an error."""
        if self.artifact is None:
            raise ValueError(f"{self.name} was not made")
        return self.artifact

    @property
    def effective_limits(self) -> Limits:
        """The limits of its precision, or for trained weights, with the recipe's changes."""
        trained = self.artifact is not None and self.artifact.manifest.is_trained
        target = target_of(self.format)
        own = None if target is None else target.limits.get(self.precision)
        return limits_for(self.precision, trained=trained, overrides=own).overridden(self.limits)

    def latency_decides(self, policy: LatencyPolicy | None) -> bool:
        """Whether latency is gated: by the policy or, without one, if its limits contain a latency limit."""
        if policy is not None:
            return policy == "gate"
        return self.limits is not None and self.limits.latency_ratio_max is not None


@dataclass
class Measured:
    """The measurements of one export.

    Attributes:
        info: Runtime and device; None if it could not be opened.
        instructions: None if they were not to be counted.
        shown: Images of the report, drawn: the worst, the best, and a random sample; one may be in all of these.
        operators: Precision -> operator -> count.
        more: Checks besides those from the counts and the times.
        twin: The record of a watched session on some of the images; `info` is then without the note on it.
    """

    export: Export
    info: SessionInfo | None = None
    counts: Counts | None = None
    timing: latency.Timing | None = None
    instructions: Instructions | None = None
    shown: tuple[ShownImage, ...] = ()
    operators: dict[str, dict[str, int]] = field(default_factory=dict)
    more: list[Check] = field(default_factory=list)
    twin: TwinRecord | None = None
    error: SegexportError | None = None


@dataclass(frozen=True)
class ReferenceRun:
    """The origin of the reference's masks.

    Attributes:
        artifact: The model; for a recording, only its manifest.
        times: The times for the report.
        timing: Raw times for ratios, if measured alternately with the exports or on the same device.
        recorded: Facts about the recording; None if the reference ran in this check.
        proof: Origin of the masks; None if the runtime has only one program, or the programs were not compared.
        twin: As in `Measured`.
    """

    artifact: ModelArtifact
    info: SessionInfo
    is_gpu: bool
    times: Latency | None = None
    timing: latency.Timing | None = None
    recorded: Recorded | None = None
    notes: tuple[str, ...] = ()
    proof: MaskProof | None = None
    twin: TwinRecord | None = None

    @property
    def unoptimized(self) -> bool:
        """Whether its time is that of an unoptimized program, which is no baseline for ratios."""
        return self.proof is not None and not self.proof.holds


@dataclass(frozen=True)
class Measurement:
    """The measurements of a whole run, before verdicts.

    Attributes:
        judge: Compares the measurements with limits.
        latency: The latency policy, if given.
        groups: The group of each image, if images of a group are not independent; None: all images are independent.
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
