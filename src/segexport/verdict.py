"""Verdicts: what a check found, and what the whole run comes to."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from pydantic import Field

from segexport.spec import Frozen


class Verdict(str, Enum):
    """PASS, FAIL: decided. INCONCLUSIVE: the data cannot decide. ERROR: the check could not run. SKIPPED: not asked."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


class Check(Frozen):
    """One question that was put to an export, and its answer.

    Attributes:
        name: Dotted and stable, for machines: `tripwire.finite`, `agreement.pixels`, `miou.delta`, `latency.ratio`, ...
        value: What was measured, in the unit that the name implies (fractions of 1, ratios, bytes).
        interval: A 95 % interval of `value`, where it is an estimate.
        limit: What `value` was compared with; None where the check only reports.
        message: One sentence for a person, with the numbers.
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
    """The worst of the verdicts, SKIPPED ones left out; nothing checked is an ERROR, never a pass."""
    found = set(verdicts) - {Verdict.SKIPPED}
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.ERROR)


def exit_code(verdict: Verdict) -> int:
    """0: everything passed. 1: a gate failed or could not be decided. 2: the tool could not do its job."""
    return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 1}.get(verdict, 2)
