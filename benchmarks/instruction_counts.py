"""Counts the instructions of one inference by processor, several times: ratios by precision, and repeatability.

    python benchmarks/instruction_counts.py EXPORT... [--times 3] [-o FILE]

Counts are not speeds; `segexport bench --count` does the same. Needs `android_demo/ci/fetch_tools.sh count`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stamped import save

from segexport.artifact import read_artifact
from segexport.measure.instructions import count_instructions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--times", type=int, default=3, help="Counts of each export.")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    results: dict[str, dict] = {}
    for path in given.exports:
        artifact = read_artifact(path)
        row = {"model": artifact.manifest.name, "precision": artifact.manifest.target.precision.value, "counts": {}}
        for _ in range(given.times):
            found = count_instructions(artifact)
            for processor, count in found.counts.items():
                row["counts"].setdefault(processor, []).append(count.instructions)
            row["counted_by"] = {processor: count.counted_by for processor, count in found.counts.items()}
            row["skipped"] = found.skipped
        row["spread"] = {processor: max(all_) / min(all_) - 1 for processor, all_ in row["counts"].items()}
        results[path.name] = row
        print(table(results), flush=True)
        if given.output:
            save(given.output, results)


def table(results: dict[str, dict]) -> str:
    """Formats as Markdown: millions of instructions, ratio to the model's first row, largest relative spread."""
    processors = list(dict.fromkeys(name for row in results.values() for name in row["counts"]))
    lines = ["| Export | " + " | ".join(processors) + " | spread |", "|---|" + "---:|" * (len(processors) + 1)]
    for name, row in results.items():
        first = next(other for other in results.values() if other["model"] == row["model"])
        cells = [
            f"{all_[0] / 1e6:.1f} M ({all_[0] / first['counts'][processor][0]:.2f})"
            for processor, all_ in row["counts"].items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {max(row['spread'].values(), default=0):.1e} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
