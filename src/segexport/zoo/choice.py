"""Chooses a measured network: filters the rows, and takes the cheapest of the most accurate ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segexport.exporter.targets.purpose import PURPOSES
from segexport.pipeline.entry_points import require_known
from segexport.pipeline.registry import targets
from segexport.report import numbers
from segexport.zoo.measurements import Row, ZooTable

ABOUT_EQUAL = 0.01  # mIoU; a short training repeated with another seed differs by as much


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the network has to fulfil.

    Attributes:
        purpose: `android` or `server`: only targets and precisions that fit; None: all.
        target: Names of targets; empty: all.
        runtime: Names of runtimes; empty: all.
        max_size_bytes: Largest files.
        max_ms: Longest time of an image, in milliseconds, on the device of the table.
        min_miou: Smallest mIoU on the data of the table.
    """

    purpose: str | None = None
    target: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()
    max_size_bytes: int | None = None
    max_ms: float | None = None
    min_miou: float | None = None


@dataclass(frozen=True)
class Choice:
    """The rows that fulfil the wishes, and the recommended one.

    Attributes:
        rows: The most accurate first.
        front: Rows that no other one beats in accuracy and cost.
        recommended: None if no row fulfils the wishes.
        cost: `size` or `time`: what decides among networks of about equal accuracy.
        left_out: Reason -> number of rows.
    """

    rows: tuple[Row, ...]
    front: tuple[Row, ...]
    recommended: Row | None
    cost: str
    left_out: dict[str, int]

    @property
    def why(self) -> str:
        """The reason, as one paragraph."""
        best = self.recommended
        reasons = "; ".join(f"{reason}: {count}" for reason, count in self.left_out.items())
        left = f" Left out: {reasons}." if reasons else ""
        if best is None:
            return f"No measured network fulfils this.{left}"
        words = {"size": "smallest", "time": "fastest"}
        return (
            f"{best.network} as {best.export} is recommended: mIoU {numbers.fraction(best.miou)}, "
            f"{numbers.size(best.size_bytes)}, {numbers.milliseconds(best.ms)} ms. Of the exports that fit "
            f"({len(self.rows)}), those whose mIoU is at most {ABOUT_EQUAL:g} below the best count as equal, and it is "
            f"the {words[self.cost]} of them.{left}"
        )


def choose(measured: ZooTable, wishes: Wishes) -> Choice:
    """Recommends a row.

    Raises:
        OptionError: A purpose or a target is unknown.
    """
    if wishes.purpose is not None:
        require_known("purpose", wishes.purpose, PURPOSES)
    for name in wishes.target:
        require_known("target", name, targets())
    kept, left_out = [], Counter[str]()
    checks = _checks(wishes)
    for row in measured.rows:
        reason = next((reason for reason, holds in checks if not holds(row)), None)
        if reason is None:
            kept.append(row)
        else:
            left_out[reason] += 1
    cost = "time" if wishes.purpose is None else PURPOSES[wishes.purpose].cost
    if any(_cost(row, cost) is None for row in kept):
        cost = "size"
    rows = sorted(kept, key=lambda row: (-(row.miou or 0.0), _cost(row, cost) or 0.0))
    order = sorted(set(left_out), key=[reason for reason, _ in checks].index)
    return Choice(
        rows=tuple(rows),
        front=tuple(front(rows, cost)),
        recommended=_best(rows, cost),
        cost=cost,
        left_out={reason: left_out[reason] for reason in order},
    )


def front(rows: Sequence[Row], cost: str) -> list[Row]:
    """The rows that no other one beats in accuracy and cost, the cheapest first."""
    found: list[Row] = []
    timed = [row for row in rows if row.miou is not None and _cost(row, cost) is not None]
    for row in sorted(timed, key=lambda row: (_cost(row, cost) or 0.0, -(row.miou or 0.0))):
        if not found or (row.miou or 0.0) > (found[-1].miou or 0.0):
            found.append(row)
    return found


def _best(rows: Sequence[Row], cost: str) -> Row | None:
    if not rows:
        return None
    near = [row for row in rows if (row.miou or 0.0) >= (rows[0].miou or 0.0) - ABOUT_EQUAL]
    return min(near, key=lambda row: (_cost(row, cost) or 0.0, -(row.miou or 0.0)))


def _cost(row: Row, cost: str) -> float | None:
    return row.ms if cost == "time" else row.size_bytes


def _checks(wishes: Wishes) -> list[tuple[str, Callable[[Row], bool]]]:
    """Reason to leave a row out, and whether a row passes."""
    size, ms, miou = wishes.max_size_bytes, wishes.max_ms, wishes.min_miou
    checks: list[tuple[str, Callable[[Row], bool]]] = [
        ("did not pass the check", lambda row: row.verdict == "PASS"),
        ("have no mIoU or size", lambda row: row.miou is not None and row.size_bytes is not None),
    ]
    if (purpose := wishes.purpose) is not None:
        fits = {name: {p.value for p in target.fits.get(purpose, ())} for name, target in targets().items()}
        checks.append((f"do not fit {PURPOSES[purpose].title}", lambda row: row.precision in fits.get(row.target, ())))
    if wishes.target:
        checks.append(("are of other targets", lambda row: row.target in wishes.target))
    if wishes.runtime:
        checks.append(("ran in other runtimes", lambda row: row.runtime.partition(" ")[0] in wishes.runtime))
    if size is not None:
        checks.append((f"are larger than {numbers.size(size)}", lambda row: (row.size_bytes or 0) <= size))
    if ms is not None:
        checks.append((f"are slower than {ms:g} ms, or not timed", lambda row: row.ms is not None and row.ms <= ms))
    if miou is not None:
        checks.append((f"have a mIoU below {miou:g}", lambda row: (row.miou or 0.0) >= miou))
    return checks
