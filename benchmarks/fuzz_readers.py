"""Tests every reader of foreign files with thousands of damaged files, and counts those read and refused.

    python benchmarks/fuzz_readers.py [--inputs N] [--number N] [--only NAME ...] [--json FILE]

Each reader runs in a separate process with a memory limit. A process without output for a minute hangs, one that is
ended by a signal crashed; both are counted, and the next series continues. The last input of such a process is stored
in --keep.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from stamped import RESULTS, save

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "fuzz"))

from fuzzer import fuzz
from readers import READERS

SILENCE_S = 60.0
MEMORY_BYTES = 6 << 30


@dataclass
class Row:
    """Counts of one reader."""

    reader: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    tracebacks: int = 0
    hangs: int = 0
    crashes: int = 0
    slowest_s: float = 0.0
    peak_memory_mb: int = 0
    findings: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="of all readers together")
    parser.add_argument("--number", type=int, default=0, help="of the series: another one gives other inputs")
    parser.add_argument("--only", nargs="*", help="names of readers")
    parser.add_argument("--keep", type=Path, help="folder for inputs that led to a hang or a crash")
    parser.add_argument("--json", type=Path, default=RESULTS / "fuzz_readers.json")
    arguments = parser.parse_args()
    readers = [place for place, reader in enumerate(READERS) if not arguments.only or reader.name in arguments.only]
    each = -(-arguments.inputs // len(readers))
    rows = []
    for place in readers:
        rows.append(_row(place, each, arguments.number, arguments.keep))
        row = rows[-1]
        print(
            f"{row.reader:24} {row.inputs:6} inputs {row.read:6} read {row.refused:6} refused {row.tracebacks:3} "
            f"tracebacks {row.hangs:3} hangs {row.crashes:3} crashes {row.slowest_s:6.2f} s {row.peak_memory_mb:5} MB",
            flush=True,
        )
        for finding in row.findings:
            print(finding)
    names = ("inputs", "read", "refused", "tracebacks", "hangs", "crashes")
    total = {name: sum(getattr(row, name) for row in rows) for name in names}
    print(total)
    save(arguments.json, {"total": total, "readers": [asdict(row) for row in rows]})
    sys.exit(1 if total["tracebacks"] or total["hangs"] or total["crashes"] else 0)


def _row(place: int, count: int, number: int, keep: Path | None) -> Row:
    """Tests all inputs of one reader, in as many processes as necessary."""
    row = Row(READERS[place].name)
    context = multiprocessing.get_context("spawn")
    while row.inputs < count:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(place, count - row.inputs, number + row.hangs + row.crashes, theirs)
        )
        process.start()
        theirs.close()
        begun = 0
        answer, last = None, b""
        while answer is None:
            if not ours.poll(SILENCE_S):
                answer = Row(row.reader, hangs=1, findings=["hang"])
                process.kill()
            else:
                try:
                    said = ours.recv()
                except EOFError:
                    process.join()
                    answer = Row(row.reader, crashes=1, findings=[f"exit {process.exitcode}"])
                else:
                    answer, last = (said, last) if isinstance(said, Row) else (None, said)
                    begun += answer is None
        process.join()
        answer.inputs = max(begun, 1)
        _add(row, answer)
        if keep is not None and answer.findings:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{row.reader}-{len(row.findings)}").write_bytes(last)
    return row


def _work(place: int, count: int, number: int, answers: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    found = fuzz(READERS[place], count, number=number, before=answers.send)
    row = Row(
        READERS[place].name,
        found.inputs,
        found.read,
        found.refused,
        len(found.tracebacks),
        len(found.slow),
        slowest_s=round(found.slowest_s, 3),
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        findings=list(found.tracebacks),
    )
    answers.send(row)


def _add(row: Row, more: Row) -> None:
    for name in ("inputs", "read", "refused", "tracebacks", "hangs", "crashes"):
        setattr(row, name, getattr(row, name) + getattr(more, name))
    row.slowest_s = max(row.slowest_s, more.slowest_s)
    row.peak_memory_mb = max(row.peak_memory_mb, more.peak_memory_mb)
    row.findings += more.findings


if __name__ == "__main__":
    main()
