"""`segexport bench --count`: counts the instructions of one inference of each export, by processor; takes no times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segexport.commands.bench import exports_named
from segexport.errors import OptionError
from segexport.files.json_writer import to_json
from segexport.measure.environment import describe_machine
from segexport.measure.instructions import NO_SPEED, count_instructions
from segexport.progress import SILENCE, Feedback
from segexport.spec import Frozen


@dataclass(frozen=True)
class CountRow:
    """The count of one export on one processor.

    Attributes:
        instructions: Instructions of one inference on one thread, in user mode; None if `skipped`.
        ratio: Ratio to the first export on the same processor.
        counted_by: The runtime and the counter, with versions.
        skipped: The reason why it was not counted.
    """

    name: str
    processor: str
    instructions: int | None = None
    ratio: float | None = None
    counted_by: str = ""
    skipped: str = ""


class CountDocument(Frozen):
    """The instructions of one inference of exports; `environment`: the machine and its packages."""

    environment: dict[str, Any]
    counts: tuple[CountRow, ...]

    @classmethod
    def of(cls, rows: Sequence[CountRow]) -> CountDocument:
        return cls(environment=describe_machine(), counts=tuple(rows))


def require_usual(*, threads: tuple[int, ...], device: str, runtime: tuple[str, ...], all_runtimes: bool, **_: object):
    """Raises InputError for options of `bench` that have no meaning for counts."""
    wrong = {"--threads": threads != (1,), "--device": device != "cpu", "--runtime": runtime}
    for option, given in {**wrong, "--all-runtimes": all_runtimes}.items():
        if given:
            raise OptionError(
                f"--count and {option} cannot be combined",
                cause="instructions are counted in ONNX Runtime on one thread, on named processors",
            )


def bench_count(paths: Sequence[Path], *, feedback: Feedback = SILENCE) -> list[CountRow]:
    """Counts all ONNX exports; the rows of others give the reason why they were skipped.

    Args:
        paths: Exports, or folders of exports.

    Raises:
        InputError: Two exports have the same folder name.
        SegexportError: An export fails while it is counted.
    """
    artifacts = exports_named(paths)
    rows: list[CountRow] = []
    first: dict[str, int] = {}
    with feedback.progress("counting instructions", len(artifacts)) as bar:
        for name, artifact in artifacts.items():
            found = count_instructions(artifact)
            for processor, count in found.counts.items():
                base = first.setdefault(processor, count.instructions)
                ratio = count.instructions / base if base else None
                rows.append(CountRow(name, processor, count.instructions, ratio, count.counted_by))
            rows += [CountRow(name, processor, skipped=why) for processor, why in found.skipped.items()]
            bar.advance()
    return rows


def render(rows: Sequence[CountRow], form: str, *, color: bool, width: int) -> str:
    """Formats the rows as a table or as JSON."""
    if form == "json":
        return to_json(CountDocument.of(rows))
    from segexport.report.numbers import NOTHING
    from segexport.ui.text_table import table

    title = f"instructions of one inference on one thread: {NO_SPEED}; ratios are to the first export"
    for why, processors in _reasons(rows).items():
        title += f"\nSKIPPED on {', '.join(processors)}: {why}"
    head = ("Export", "processor", "instructions", "ratio")
    body = [
        (
            row.name,
            row.processor,
            "SKIPPED" if row.instructions is None else f"{row.instructions:,}",
            NOTHING if row.ratio is None else f"{row.ratio:.4f}x",
        )
        for row in rows
    ]
    return table(head, body, title=title, color=color, width=width)


def _reasons(rows: Sequence[CountRow]) -> dict[str, list[str]]:
    """Reason -> processors."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.skipped and row.processor not in found.setdefault(row.skipped, []):
            found[row.skipped].append(row.processor)
    return found
