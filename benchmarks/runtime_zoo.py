"""Converts every graph of the zoo in fp32 to four targets, and tests whether `inspect` predicts failures.

    python benchmarks/runtime_zoo.py GRAPH.pdmodel ... --work DIR [--side 128] [--to NAME ...] [--again] [-o FILE]

Graphs come without weights; `tests/exporter/zoo.py` fills them. If their size can be changed, they are converted at a
small size, so that each comparison is fast. A conversion succeeds if its outputs agree with the ONNX model's
(`exporter.same_as_source`, for OpenVINO here). Existing rows are kept; `--merge FILE` adds those of another machine.
docs/coverage.md shows the rows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from free_size import SizeIsFixed, free_size
from stamped import REPOSITORY, RESULTS, load, save

sys.path.insert(0, str(REPOSITORY / "tests" / "exporter"))
import zoo

from segexport.artifact import ModelArtifact
from segexport.errors import SegexportError
from segexport.exporter import program as programs
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.output_semantics import num_classes
from segexport.exporter.program import Program, read_graph
from segexport.exporter.same_as_source import require_same
from segexport.exporter.shapes import fix_input_shape
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, planned
from segexport.pipeline.registry import runtime_for, target_named
from segexport.pipeline.step import StepContext
from segexport.spec import Preprocess, Resize

RESULT = RESULTS / "runtime_zoo.json"
TARGETS = ("openvino", "mnn", "ncnn", "litert")
TIMEOUT_S = 240.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True, help="filled graphs, kept between runs")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--to", nargs="+", default=list(TARGETS))
    parser.add_argument("--again", action="store_true", help="measure rows that are there already")
    parser.add_argument("--inspect", action="store_true", help="only ask `inspect` again, for the rows that are there")
    parser.add_argument("--merge", type=Path, action="append", default=[], help="a file whose new rows are added")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    given = parser.parse_args()
    rows: dict[str, dict] = {}
    for file in (*given.merge, given.output):
        rows |= load(file)["rows"] if file.is_file() else {}
    for graph in given.graphs:
        if given.inspect:
            for name in given.to:
                if row := rows.get(f"{graph.stem} {name}"):
                    row["foreseen"] = foreseen(name, read_graph(graph))
            save(given.output, {"summary": summary(rows), "rows": dict(sorted(rows.items()))})
            continue
        todo = [name for name in given.to if given.again or f"{graph.stem} {name}" not in rows]
        if not todo:
            continue
        with tempfile.TemporaryDirectory(dir=given.work) as scratch:
            store = Store(Path(scratch))
            source, side = filled(graph, given.work, given.side, store)
            for name in todo:
                row = {"side": side, **measured(name, source, store)}
                rows[f"{graph.stem} {name}"] = row
                save(given.output, {"summary": summary(rows), "rows": dict(sorted(rows.items()))})
                print(graph.stem, name, row, flush=True)
    print(summary(rows))


def filled(graph: Path, work: Path, side: int, store: Store) -> tuple[ModelArtifact, int]:
    """Returns the graph with weights, at size `side` if it can be changed, and its side."""
    folder = work / graph.stem
    folder.mkdir(parents=True, exist_ok=True)
    for tried in (side, 2 * side, 0):
        try:
            small = folder / f"graph{tried}.pdmodel"
            program = read_graph(graph)
            small.write_bytes((smaller(program, tried) if tried else program).to_bytes())
            ready = zoo.fill(small, folder / f"filled{tried}")
            break
        except RuntimeError:  # the size is part of the network, in an operator that `free_size` does not know
            if not tried:
                raise
    image = next(one for one in ready.feed if one.ndim == 4)
    height, width = image.shape[2:]
    contract = Preprocess(geometry=(Resize(width=width, height=height),))
    classes = num_classes(read_graph(ready.model)) or 2
    # A detector, whose inputs are several, holds its number of classes.
    labels = tuple(f"class_{index}" for index in range(classes)) if len(ready.feed) == 1 else None
    options = ImportOptions(preprocess=contract, labels=labels, mask_output="")
    return import_model(ready.model.parent, options, store), max(height, width)


def smaller(program: Program, side: int) -> Program:
    """Returns the network for smaller images; unchanged if the size is part of the network."""
    try:
        freed = free_size(program)
        (name,) = freed.feed_names
        return fix_input_shape(freed, {name: (1, freed.shape(name)[1], side, side)})
    except (SizeIsFixed, SegexportError, ValueError):
        return program


def measured(name: str, source: ModelArtifact, store: Store) -> dict[str, Any]:
    """The prediction of `inspect`, and the result of the conversion."""
    target, start = target_named(name), time.monotonic()
    program = programs.read(source.file("model"), source.file("params"))
    row: dict[str, Any] = {"foreseen": foreseen(name, program)}
    context = StepContext(timeout_s=TIMEOUT_S)
    runner = PlanRunner(store, context)
    steps = target.steps(target.Recipe(to=name))
    try:
        made = runner.build(name, source, planned(steps, source))
        if name == "openvino":  # the other steps compare the results themselves
            onnx = runner.build("onnx", source, planned(steps[:-1], source))
            row["note"] = require_same(
                onnx, made, runtime_for(made.manifest.format), context, lambda _cut, _folder: made.manifest
            )
        else:
            row["note"] = made.manifest.lineage[-1].notes[-1]
        row["result"] = "converted"
    except SegexportError as error:
        row |= {"result": "failed", "error": type(error).__name__, "what": error.what, "cause": error.cause}
    return {**row, "seconds": round(time.monotonic() - start, 1)}


def foreseen(name: str, program: Program) -> dict[str, str]:
    """Types of the operators that `inspect` names as obstacles, and the first reason of each."""
    found = target_named(name).verdict_before(program)
    obstacles = sorted((one.operator, one.number, one.reason) for verdict in found for one in verdict.obstacles)
    return {operator: reason for operator, _, reason in reversed(obstacles)}


def summary(rows: dict[str, dict]) -> dict[str, dict[str, Any]]:
    """Target, and `all` -> numbers of graphs that converted, that failed, and that failed as predicted.

    `share_foreseen`: of the failures; None without any. `wrongly`: converted although `inspect` named an obstacle.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, row in sorted(rows.items()):
        for name in ("all", key.split()[1]):
            counts = found.setdefault(
                name, {"graphs": 0, "converted": 0, "failed": 0, "foreseen": 0, "wrongly": 0, "share_foreseen": None}
            )
            counts["graphs"] += 1
            counts[row["result"]] += 1
            counts["foreseen"] += row["result"] == "failed" and bool(row["foreseen"])
            counts["wrongly"] += row["result"] == "converted" and bool(row["foreseen"])
            counts["share_foreseen"] = counts["foreseen"] / counts["failed"] if counts["failed"] else None
    return found


if __name__ == "__main__":
    main()
