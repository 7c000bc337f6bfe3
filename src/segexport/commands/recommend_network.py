"""`segexport recommend`: which trained network fits a device, by rows that were measured."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from segexport.files.atomic import write_file
from segexport.files.json_writer import to_json
from segexport.report import numbers
from segexport.spec import Frozen
from segexport.ui.text_table import table
from segexport.zoo.choice import Choice, Wishes, choose
from segexport.zoo.measurements import Row, ZooTable, measurements

_DEFAULT_SIZE = (512, 256)


class MeasuredHow(Frozen):
    """Where the rows come from; see `ZooTable`."""

    data: str = ""
    image_size: tuple[int, int] | None = None
    processor: str = ""
    threads: int = 1
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str = ""


class NetworkDocument(Frozen):
    """The recommended network, and all rows that fulfil the wishes.

    Attributes:
        recommended: Null if none fulfils them, exit code 1.
        next_steps: Commands that train and export it.
        left_out: Reason -> number of rows.
        front: Network and export of the rows that no other one beats in accuracy and cost.
        rows: The most accurate first.
    """

    recommended: Row | None
    why: str
    next_steps: tuple[str, ...]
    measured: MeasuredHow
    left_out: dict[str, int]
    front: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class NetworkChoice:
    """The chosen network, and how to make it.

    Attributes:
        purpose: That of the wishes; None: any.
    """

    measured: ZooTable
    choice: Choice
    purpose: str | None = None

    @property
    def next_steps(self) -> tuple[str, ...]:
        """Commands that train and export the recommended network."""
        best = self.choice.recommended
        if best is None:
            return ()
        words = self.measured.train.get(best.network)
        if words is None:
            return ()
        width, height = self.measured.image_size or _DEFAULT_SIZE
        training = ["segexport", "train", *words, "--image-size", f"{width}x{height}", "--num-epochs", "100"]
        export = ["segexport", "export", "trained", "--to", best.target, "--precision", best.precision]
        if best.precision in ("int8", "w4a8"):
            export += ["--calibration", "DATA"]
        if self.purpose is not None:
            export = ["segexport", "export", "trained", "--for", self.purpose, "--data", "DATA"]
        return (
            shlex.join([*training, "--data", "DATA", "-o", "trained"]),
            shlex.join([*export, "-o", f"trained-{self.purpose or best.export}"]),
        )

    @property
    def measured_how(self) -> str:
        """What the figures mean, in two sentences."""
        found = self.measured
        size = f" at {found.image_size[0]}x{found.image_size[1]}" if found.image_size else ""
        threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
        accuracy = (
            f"mIoU is that of short trainings from random weights on {found.data}{size}: it compares these rows only."
        )
        if not found.data:
            accuracy = "The table does not name its data: compare mIoU only between networks of the same data."
        return (
            f"{accuracy} Times are of {threads} of {found.processor or 'an unnamed processor'}, taken in separate "
            "runs; on another device measure again: segexport bench."
        )

    @property
    def document(self) -> NetworkDocument:
        """What `--format json` prints."""
        found = self.choice
        return NetworkDocument(
            recommended=found.recommended,
            why=found.why,
            next_steps=self.next_steps,
            measured=MeasuredHow(**self.measured.model_dump(include=set(MeasuredHow.model_fields))),
            left_out=found.left_out,
            front=tuple(f"{row.network} {row.export}" for row in found.front),
            rows=found.rows,
        )

    def render(self, form: str, *, color: bool, width: int) -> str:
        """Formats the rows as a table or as JSON."""
        if form == "json":
            return to_json(self.document)
        parts = []
        if self.choice.rows:
            head = ("network", "export", "runtime", "mIoU", "Δ mIoU", "size", "ms", "")
            cells = [self._cells(row) for row in self.choice.rows]
            parts.append(table(head, cells, title="Measured networks", color=color, width=width))
        parts.append(self.choice.why)
        parts += [f"next: {step}" for step in self.next_steps]
        return "\n".join((*parts, self.measured_how))

    def _cells(self, row: Row) -> tuple[str, ...]:
        mark = "recommended" if row == self.choice.recommended else "on the front" if row in self.choice.front else ""
        return (
            row.network,
            row.export,
            row.runtime,
            numbers.fraction(row.miou),
            numbers.delta(row.miou_delta),
            numbers.size(row.size_bytes),
            numbers.milliseconds(row.ms),
            mark,
        )


def recommend_network(wishes: Wishes, rows: Path | None = None, page: Path | None = None) -> NetworkChoice:
    """Recommends a measured network.

    Args:
        rows: A table of measured rows; None: those that this version ships.
        page: HTML file with the table and plots of accuracy against size and time.

    Raises:
        SegexportError: The table is missing, damaged or empty, a wish names something unknown, or `page` is in the way.
    """
    measured = measurements(rows)
    found = NetworkChoice(measured, choose(measured, wishes), wishes.purpose)
    if page is not None:
        from segexport.zoo.page import render

        asked = {name: value for name, value in asdict(wishes).items() if value not in (None, ())}
        write_file(page, render(measured, found.choice, asked, found.measured_how, found.next_steps), replace=True)
    return found
