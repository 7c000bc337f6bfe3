"""A candidate: a chain of steps and an export, exactly as in a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segexport.artifact import digest_of
from segexport.recipe.calibration import Calibration
from segexport.recipe.schema import AnyExport, StepRecipe
from segexport.spec import Frozen, Precision

Fidelity = Literal["screen", "full"]
"""How carefully something is measured: on a few images first, on all of them when that was worth it."""

TRAINING_STEPS = ("finetune", "qat")


class Candidate(Frozen):
    """One way to make an export. Two candidates with the same key give the same bytes."""

    steps: tuple[StepRecipe, ...] = ()
    export: AnyExport

    @property
    def key(self) -> str:
        """What decides the bytes, and nothing else: names and limits of exports are for the report."""
        return digest_of(self.model_dump(mode="json", exclude={"export": {"name", "limits", "without"}}))[:16]

    @property
    def precision(self) -> Precision:
        return self.export.precision

    @property
    def trained(self) -> bool:
        """Whether its weights are others than the original's."""
        return any(step.step in TRAINING_STEPS or step.step == "prune" for step in self.steps)

    @property
    def calibration(self) -> Calibration | None:
        """How its ranges are chosen, where its target has such options."""
        return getattr(self.export, "calibration", None)

    @property
    def calibrated_by(self) -> Calibration:
        """`calibration`, of a candidate that has to have one."""
        assert self.calibration is not None, f"{self.export.to} has no calibration"
        return self.calibration

    @property
    def float_nodes(self) -> tuple[str, ...]:
        return () if self.calibration is None else self.calibration.float_nodes

    def calibrated(self, **changes: object) -> Candidate:
        """This one with other settings of its calibration, which it has to have."""
        calibration = self.calibrated_by.model_copy(update=changes)
        return self.model_copy(update={"export": self.export.model_copy(update={"calibration": calibration})})


class Attempt(Frozen):
    """A candidate that is to be measured.

    Attributes:
        stage: The stage of the search that proposed it.
        idea: What is tried, in a few words for the table.
        timed: Whether its latency matters yet; a layer's sensitivity needs none.
        subject: What the try is about, for the stage that reads its result: a layer's name, a setting.
        against: The key of the best candidate so far, which it is timed in turn with.
    """

    candidate: Candidate
    stage: str
    idea: str
    rung: Fidelity = "screen"
    timed: bool = True
    subject: str = ""
    against: str = ""

    @property
    def id(self) -> tuple[str, Fidelity]:
        return self.candidate.key, self.rung


class Trial(Frozen):
    """A try that was measured, or the reason why it could not be. A line of the journal.

    Attributes:
        images: How many it was measured on.
        miou_delta: Against the original on the same images; with its 95 % interval.
        agreement: Share of pixels with the original's class.
        latency_ratio: Median over that of the fp32 export, timed in turn; with its 95 % interval.
        against_ratio: The same over the best candidate of that time (`attempt.against`).
        macs: Multiply-accumulates of one run.
        seconds: What measuring it has cost.
    """

    attempt: Attempt
    images: int = 0
    miou: float | None = None
    miou_delta: float | None = None
    miou_interval: tuple[float, float] | None = None
    agreement: float | None = None
    latency_ms: float | None = None
    latency_ratio: float | None = None
    latency_interval: tuple[float, float] | None = None
    against_ratio: float | None = None
    against_interval: tuple[float, float] | None = None
    size_bytes: int | None = None
    macs: int | None = None
    seconds: float = Field(default=0.0, ge=0)
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def key(self) -> str:
        return self.attempt.candidate.key

    @property
    def candidate(self) -> Candidate:
        return self.attempt.candidate
