"""Measures a check's cost of using Paddle's plain program for masks and of comparing the optimized one with it.

    python benchmarks/proof_cost.py MODEL ... --data DIR [--limit 32] [--repeats 3] [--graphs ...] [--json FILE]

For each model its fp32 exports to ONNX and Paddle-Lite are checked without timing, the reference run in three ways that
take turns: `optimized` alone (what a check did before 0.2), `plain` alone (what it does with --latency-seconds 0), and
`watched`, both and every mask compared (what it does when it times). Seconds on the clock depend on how busy the
machine is, so the processor seconds of all processes are recorded too; all are medians. The verdicts come from the
watched run and show whether the exports get the right verdict; `optimized` gives those of the other reference.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from stamped import RESULTS, load, save

from segexport.artifact import ModelArtifact
from segexport.check.compare import check
from segexport.check.request import CheckRequest
from segexport.data.dataset import Dataset
from segexport.data.dataset_list import DatasetEntry
from segexport.errors import SegexportError
from segexport.exporter.from_paddle import ImportOptions, fix_input_size, import_model
from segexport.files.store import Store
from segexport.judge.results import Export
from segexport.pipeline.plan import PlanRunner, planned, steps_of
from segexport.pipeline.registry import target_named
from segexport.pipeline.step import StepContext
from segexport.recipe.schema import CheckRecipe
from segexport.references.live import LiveReference
from segexport.report.schema import Report
from segexport.runtimes.base import RunOptions
from segexport.runtimes.watched import with_graph

GRAPHS = ("optimized", "plain", "watched")
TARGETS = ("onnx", "paddle-lite")


def row(model: Path, data: Dataset, repeats: int, graphs: list[str], store: Store) -> dict:
    """The result of one model."""
    data = Dataset(data.root, data.split, tuple(DatasetEntry(entry.image) for entry in data.entries))  # any classes
    options = ImportOptions()
    source = fix_input_size(model, options, import_model(model, options, store), data, store)
    exports = tuple(_export(source, to, data, store) for to in TARGETS)
    clock: dict[str, list[float]] = {graph: [] for graph in graphs}
    processor: dict[str, list[float]] = {graph: [] for graph in graphs}
    found: dict = {"images": len(data), "input": list(source.manifest.image.shape)}
    for _ in range(repeats):
        for graph in graphs:
            with tempfile.TemporaryDirectory() as folder:
                reference = LiveReference(source, with_graph(RunOptions(), graph))
                request = CheckRequest(reference, exports, data, Path(folder), CheckRecipe(latency_seconds=0))
                start, before = time.perf_counter(), _processor_s()
                try:
                    report = check(request)
                except SegexportError as error:
                    found[graph] = {"error": str(error).splitlines()[0]}
                    continue
                clock[graph].append(time.perf_counter() - start)
                processor[graph].append(_processor_s() - before)
                found[graph] = _judged(report)
    for graph in graphs:
        if clock[graph]:
            found[graph] |= {
                "seconds": round(statistics.median(clock[graph]), 1),
                "processor_seconds": round(statistics.median(processor[graph]), 1),
            }
    return found


def _export(source: ModelArtifact, to: str, data: Dataset, store: Store) -> Export:
    recipe = target_named(to).Recipe(to=to)
    try:
        artifact = PlanRunner(store, StepContext(data=data)).build(to, source, planned(steps_of(recipe), source))
    except SegexportError as error:
        return Export(to, recipe.to, recipe.precision, error=error)
    return Export(to, recipe.to, recipe.precision, artifact)


def _judged(report: Report) -> dict:
    exports = {
        export.name: {
            "verdict": export.verdict.value,
            "agreement": export.agreement,
            "agreement_worst": export.agreement_worst,
            "error": export.error and export.error.splitlines()[0],
            "trial": next((c.verdict.value for c in export.checks if c.name == "reference.trial"), None),
        }
        for export in report.exports
    }
    proof = report.reference.proof
    return {"exports": exports} | ({} if proof is None else {"proof": proof.model_dump(mode="json")})


def _processor_s() -> float:
    """Processor seconds of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--graphs", nargs="+", choices=GRAPHS, default=GRAPHS, help="without it all three")
    parser.add_argument("--json", type=Path, default=RESULTS / "proof_cost.json")
    arguments = parser.parse_args()
    rows = load(arguments.json) if arguments.json.is_file() else {}
    data = Dataset.open(arguments.data, "val").at_most(arguments.limit)
    for model in arguments.models:
        name = model.parent.name if model.name.startswith("export") else model.name
        rows[name] = row(model, data, arguments.repeats, arguments.graphs, Store())
        rows[name]["load_average"] = round(os.getloadavg()[0], 1)
        print(name, rows[name], flush=True)
        save(arguments.json, dict(sorted(rows.items())))


if __name__ == "__main__":
    main()
