"""Verdicts of checks, and the verdict of a whole run."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from pydantic import Field

from segexport.spec import Frozen


class Verdict(str, Enum):
    """PASS, FAIL: decided. INCONCLUSIVE: too few data. ERROR: the check could not run. SKIPPED: not requested."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


class Check(Frozen):
    """The result of one check of an export.

    Attributes:
        name: Stable dotted name: `tripwire.finite`, `agreement.pixels`, `miou.delta`, `latency.ratio`, ...
        value: The measured value, in the unit of the name (fractions of 1, ratios, bytes).
        interval: 95 % interval of `value`, if it is an estimate.
        limit: Limit of `value`; None if the check only reports.
        message: One readable sentence with the numbers.
        gated: Whether the verdict counts for the export's verdict.
    """

    name: str
    verdict: Verdict
    message: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None
    gated: bool = True
    details: dict[str, Any] = Field(default_factory=dict)


_WORST_FIRST = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of the verdicts, without SKIPPED ones; ERROR if nothing was checked."""
    found = set(verdicts) - {Verdict.SKIPPED}
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.ERROR)


def exit_code(verdict: Verdict) -> int:
    """The exit code: 0: everything passed. 1: a gate failed or could not be decided. 2: an error occurred."""
    return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 1}.get(verdict, 2)
