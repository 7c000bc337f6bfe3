"""Allowed losses relative to an earlier report."""

from __future__ import annotations

from pydantic import Field, ValidationError

from segexport.errors import OptionError, one_line
from segexport.spec import Frozen


class Tolerances(Frozen):
    """Allowed losses relative to the baseline.

    Masks of one file on one runtime repeat to the last bit, so accuracy needs little room: what other versions of a
    runtime move. Times need more.

    Attributes:
        miou: Loss of mIoU, a fraction of 1.
        agreement: Loss of agreement with the reference, a fraction of 1.
        size: Growth, relative.
        latency: Growth, relative; only on the same device with as many threads.
        instructions: Growth, relative, of one inference; counts repeat to a few millionths.
    """

    miou: float = Field(default=0.001, ge=0, le=1)
    agreement: float = Field(default=0.0005, ge=0, le=1)
    size: float = Field(default=0.01, ge=0)
    latency: float = Field(default=0.10, ge=0)
    instructions: float = Field(default=0.01, ge=0)

    @classmethod
    def from_strings(cls, given: tuple[str, ...]) -> Tolerances:
        """Parses the command line's `miou=0.002`, ...

        Raises:
            InputError: A name is unknown, or a value is not a number in range.
        """
        pairs = {name: value for name, _, value in (text.partition("=") for text in given)}
        try:
            return cls.model_validate(pairs)
        except ValidationError as error:
            known = ", ".join(cls.model_fields)
            raise OptionError(
                f"--tolerance {' '.join(given)}: not understood",
                cause=one_line(error),
                hint=f"NAME=NUMBER, where NAME is one of {known}",
            ) from None
