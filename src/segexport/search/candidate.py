"""Data classes of the search: candidates (steps and an export, as in a recipe), attempts and trials."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segexport.artifact import digest_of
from segexport.recipe.calibration import Calibration
from segexport.recipe.schema import AnyExport, StepRecipe
from segexport.spec import Frozen, Precision

Fidelity = Literal["glance", "screen", "full"]
"""Measurement fidelity: first how far the scores are from the original's, on a few images and without labels; then mIoU
and time, on more images; then on all of them for promising candidates."""

AttemptId = tuple[str, Fidelity, int]

TRAINING_STEPS = ("finetune", "qat")


class Candidate(Frozen):
    """A way to make an export. Candidates with equal keys produce equal bytes."""

    steps: tuple[StepRecipe, ...] = ()
    export: AnyExport

    @property
    def key(self) -> str:
        """Returns a key of everything that determines the bytes; names and limits of exports do not."""
        return digest_of(self.model_dump(mode="json", exclude={"export": {"name", "limits", "without"}}))[:16]

    @property
    def precision(self) -> Precision:
        return self.export.precision

    @property
    def trained(self) -> bool:
        """Whether its weights differ from the original's."""
        return any(step.step in TRAINING_STEPS or step.step == "prune" for step in self.steps)

    @property
    def calibration(self) -> Calibration | None:
        """The calibration settings, if the target has them."""
        return getattr(self.export, "calibration", None)

    @property
    def calibrated_by(self) -> Calibration:
        """`calibration` of a candidate that must have one."""
        assert self.calibration is not None, f"{self.export.to} has no calibration"
        return self.calibration

    @property
    def float_nodes(self) -> tuple[str, ...]:
        return () if self.calibration is None else self.calibration.float_nodes

    def calibrated(self, **changes: object) -> Candidate:
        """Returns a copy with changed calibration settings; the candidate must have a calibration."""
        calibration = self.calibrated_by.model_copy(update=changes)
        return self.model_copy(update={"export": self.export.model_copy(update={"calibration": calibration})})


class Attempt(Frozen):
    """A candidate to measure.

    Attributes:
        stage: The stage of the search that proposed it.
        idea: Short description for the table.
        images: Of a glance, the number of images.
        timed: Whether to measure latency; a glance does not.
        subject: Subject of the attempt for the stage that reads its result: a layer's name, a setting.
        against: Key of the best candidate so far, which is timed alternately with this one.
    """

    candidate: Candidate
    stage: str
    idea: str
    rung: Fidelity = "screen"
    images: int = 0
    timed: bool = True
    subject: str = ""
    against: str = ""

    @property
    def id(self) -> AttemptId:
        return self.candidate.key, self.rung, self.images

    def glance(self, images: int) -> Attempt:
        """The same candidate at a glance."""
        return self.model_copy(update={"rung": "glance", "images": images, "timed": False})

    def screening(self) -> Attempt:
        """The same candidate with mIoU and times on a few images."""
        return self.model_copy(update={"rung": "screen", "images": 0, "timed": True})


class Trial(Frozen):
    """The result of an attempt, or the reason why it failed. One line of the journal.

    Attributes:
        images: Number of images measured on.
        distance: Of a glance: how far the scores are from the original's, as `score_distance.distance`.
        miou_delta: mIoU minus the original's on the same images, with its 95 % interval.
        agreement: Fraction of pixels with the original's class.
        latency_ratio: Median time over the fp32 export's, timed alternately, with its 95 % interval.
        against_ratio: The same ratio to the best candidate at that time (`attempt.against`).
        macs: Multiply-accumulates of one run.
        seconds: Time spent on the attempt.
        making_seconds: The part for making the export; nearly 0 if it was made before.
        original_seconds: The part for running the original on new images.
        timing_seconds: The part for measuring latency; the rest is for running the export on the images.
    """

    attempt: Attempt
    images: int = 0
    distance: float | None = None
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
    making_seconds: float = Field(default=0.0, ge=0)
    original_seconds: float = Field(default=0.0, ge=0)
    timing_seconds: float = Field(default=0.0, ge=0)
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def key(self) -> str:
        return self.attempt.candidate.key

    @property
    def candidate(self) -> Candidate:
        return self.attempt.candidate
