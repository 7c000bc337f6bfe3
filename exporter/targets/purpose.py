"""What an export is for. A target states which of its precisions fit a purpose (`ExportTarget.fits`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Purpose:
    """A use of an export.

    Attributes:
        name: On the command line.
        title: In sentences: `an Android phone`.
        cost: What makes a candidate better, of those that compute the same: its time here, or the size of its files.
        remark: Why it is that.
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
