"""Purposes of exports. A target lists its precisions for each purpose (`ExportTarget.fits`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Purpose:
    """A use of an export.

    Attributes:
        name: Name on the command line.
        title: Name in sentences: `an Android phone`.
        cost: Criterion for the choice among candidates with equal results: time on this machine, or size of the files.
        remark: Reason for this criterion.
    """

    name: str
    title: str
    cost: Literal["time", "size"]
    remark: str


PURPOSES = {
    purpose.name: purpose
    for purpose in (
        Purpose(
            "android",
            "an Android app",
            "size",
            "Size decides, because times on this machine say little about a phone; --device adb measures on one.",
        ),
        Purpose("server", "a server", "time", "The fastest on this machine's CPU is best."),
    )
}
