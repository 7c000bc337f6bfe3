"""How a reference's masks were made, and whether the runtime's own graph optimization gives the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from segexport.spec import Frozen

LEAST_AGREEMENT = 0.9995
"""Of one image's pixels or objects: other sums round otherwise, and that moves a few pixels at edges."""
LEAST_IMAGES = 2
"""A program that keeps something of its first input is right on that one, and wrong from the second on."""


class MaskProof(Frozen):
    """The plain program gave the masks; the optimized one ran beside it on the same inputs and was compared.

    Attributes:
        optimized: What the runtime calls its optimized program's provider; empty where that could not be opened.
        images: How many different inputs both ran on.
        agreement, agreement_worst: Mean and least part of the pixels (or objects) that are the same; None without any.
        differing_images: Inputs on which less than `LEAST_AGREEMENT` is the same.
        fault: How the optimized program failed; empty where it did not.
    """

    optimized: str = ""
    images: int = Field(default=0, ge=0)
    agreement: float | None = Field(default=None, ge=0, le=1)
    agreement_worst: float | None = Field(default=None, ge=0, le=1)
    differing_images: int = Field(default=0, ge=0)
    fault: str = ""

    @classmethod
    def of(cls, optimized: str, agreements: Sequence[float], fault: str = "") -> MaskProof:
        """From the agreement on each of the different inputs."""
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
        """Whether the optimized program may be timed in place of the plain one."""
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
