"""Records how a reference's masks were made, and whether the runtime's graph optimization gives the same masks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pydantic import Field

from segexport.spec import Frozen

LEAST_AGREEMENT = 0.9995
"""Fraction of an image's pixels or objects: another order of sums changes the rounding, and so a few edge pixels."""
LEAST_IMAGES = 2
"""At least two: a program that caches values of its first input is right on the first image and wrong after it."""


class MaskProof(Frozen):
    """Comparison of the plain program, whose masks are used, with the optimized one on the same inputs.

    Attributes:
        optimized: The runtime's name of the optimized program's provider; empty if that could not be opened.
        images: Number of different inputs of both programs.
        agreement, agreement_worst: Mean and smallest fraction of equal pixels (or objects); None without inputs.
        differing_images: Number of inputs with an agreement below `LEAST_AGREEMENT`.
        fault: Failure of the optimized program; empty if there is none.
    """

    optimized: str = ""
    images: int = Field(default=0, ge=0)
    agreement: float | None = Field(default=None, ge=0, le=1)
    agreement_worst: float | None = Field(default=None, ge=0, le=1)
    differing_images: int = Field(default=0, ge=0)
    fault: str = ""

    @classmethod
    def of(cls, optimized: str, agreements: Sequence[float], fault: str = "") -> MaskProof:
        """Builds the proof from the agreement on each different input."""
        return cls(
            optimized=optimized,
            images=len(agreements),
            agreement=math.fsum(agreements) / len(agreements) if agreements else None,
            agreement_worst=min(agreements, default=None),
            differing_images=sum(value < LEAST_AGREEMENT for value in agreements),
            fault=fault,
        )

    @property
    def holds(self) -> bool:
        """Whether the optimized program may be timed instead of the plain one."""
        return not self.fault and self.images >= LEAST_IMAGES and not self.differing_images

    @property
    def note(self) -> str:
        """One sentence for reports."""
        made = "masks are those of plain Paddle, without graph optimization"
        slow = "so times are the plain program's too, and no latency ratio is taken to them"
        name = self.optimized or "the optimized program"
        if self.fault:
            return f"{made}; {name} failed ({self.fault}), {slow}"
        if self.images < LEAST_IMAGES or self.agreement_worst is None:
            return f"{made}; {self.images or 'no'} image cannot show whether {name} gives the same, {slow}"
        worst = f"{math.floor(self.agreement_worst * 1e6) / 1e4:.4f}".rstrip("0").rstrip(".")
        if self.differing_images:
            found = f"{self.differing_images} of {self.images} images (as little as {worst} % the same)"
            return f"{made}; {name} gives others on {found}, {slow}"
        least = "in every pixel" if self.agreement_worst == 1 else f"{worst} % or more of each"
        return f"{made}; {name} gave the same on all {self.images} images ({least}), and times are its"


class TwinRecord(Frozen):
    """The runs of the plain and the optimized program on equal inputs.

    Attributes:
        optimized, fault: As in `MaskProof`.
        agreements: Digest of an input -> smallest agreement.
    """

    optimized: str = ""
    fault: str = ""
    agreements: dict[int, float] = Field(default_factory=dict)

    @property
    def proof(self) -> MaskProof:
        return MaskProof.of(self.optimized, list(self.agreements.values()), self.fault)

    @classmethod
    def joined(cls, records: Iterable[TwinRecord]) -> TwinRecord:
        """The record of one session on all inputs, in this order; it gives up its twin at the first fault."""
        optimized, fault, agreements = "", "", {}
        for record in records:
            optimized = optimized or record.optimized
            for digest, agreement in record.agreements.items():
                agreements[digest] = min(agreement, agreements.get(digest, 1.0))
            if record.fault:
                fault = record.fault
                break
        return cls(optimized=optimized, fault=fault, agreements=agreements)
