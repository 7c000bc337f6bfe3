"""Prunes every graph of the zoo by one ratio and runs it in Paddle, ONNX Runtime and Paddle-Lite.

    python benchmarks/prune_zoo.py GRAPH.pdmodel ... --work DIR [--ratio 0.5] [--slim FILE] [--json FILE]
        [--markdown FILE]

Graphs come without weights; `tests/exporter/zoo.py` fills them. Costs are multiply-accumulates of convolutions and
matrix products. `masked`: the largest difference to the unpruned program whose cut channels are zeros, over the largest
output; nets that take a mean or a norm over channels differ by nature. ONNX and Lite are compared with Paddle on the
pruned program (argmax agreement). `--slim` adds what `benchmarks/prune_zoo_slim.py` found.
Graphs that are in the JSON file already are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))
import zoo_coverage as coverage  # noqa: E402
from stamped import load, save  # noqa: E402
from zoo_coverage import zoo  # noqa: E402

from segexport.compress.channel_analysis import analyze  # noqa: E402
from segexport.compress.channel_cut import mask  # noqa: E402
from segexport.compress.prune import prune  # noqa: E402
from segexport.errors import SegexportError  # noqa: E402
from segexport.exporter import program as programs  # noqa: E402
from segexport.exporter.program import Program, read_graph  # noqa: E402

coverage.WORKERS["paddle"] = REPOSITORY / "runtimes/workers/paddle_worker.py"


def row_of(graph: Path, work: Path, ratio: float, workers: coverage.Workers, costs_only: bool) -> dict:
    if costs_only:
        program = read_graph(graph)
        program.params = zoo.seeded_params(program, 7)
    else:
        filled = zoo.fill(graph, work / graph.stem)
        program = programs.read(filled.model, filled.params)
    start = time.perf_counter()
    channels = analyze(program)
    pruned = prune(program, ratio, graph=channels)
    row: dict = {
        "graph": graph.stem,
        "macs": pruned.macs_before,
        "macs_cut_ratio": round(pruned.macs_cut_ratio, 4),
        "parameters": pruned.parameters_before,
        "parameters_cut_ratio": round(1 - pruned.parameters_after / pruned.parameters_before, 4),
        "groups": len(pruned.widths),
        "frozen_because": pruned.frozen_because,
        "seconds": round(time.perf_counter() - start, 2),
    }
    if costs_only:
        return row
    folder = work.parent / "pruned" / graph.stem
    try:
        outputs = paddle(pruned.program, filled.feed, folder / "pruned", workers)
        row["paddle"] = {"finite": bool(all(np.isfinite(output).all() for output in outputs))}
        expected = paddle(mask(channels, pruned.removed), filled.feed, folder / "masked", workers)
        row["masked"] = coverage.compare(outputs, expected)
    except SegexportError as error:
        row["paddle"] = {"error": str(error)}
        return row
    reference = dataclasses.replace(filled, outputs=outputs)
    for target in ("onnx", "paddle-lite x86"):
        try:
            row[target] = coverage.TARGETS[target](pruned.program, reference, folder, workers)
        except SegexportError as error:
            row[target] = {"error": str(error)}
    return row


def paddle(program: Program, feed: list[np.ndarray], folder: Path, workers: coverage.Workers) -> list[np.ndarray]:
    model, params = program.write(folder)
    outputs = [{"name": name} for name in program.fetch_names]
    files = {"model": str(model), "params": str(params)}
    arguments = {"files": files, "device": "cpu", "threads": 1, "outputs": outputs, "options": {}}
    workers.call("paddle", "open", arguments)
    return workers.call("paddle", "outputs", {}, feed)


HEAD = """\
# Every graph of the zoo, pruned by a uniform ratio of 0.5

`benchmarks/prune_zoo.py` (and `prune_zoo_slim.py` for PaddleSlim's static pruner, cut as PaddleSlim counts it).
Random weights, no training: the table says what is cut, and that the cut program computes what the masked one does
and runs in three runtimes. `masked` is the largest difference, over the largest output, to the program at full width
with zeros in place of what was cut; means, norms and attention statistics over channels count those zeros, so that
PP-LiteSeg and nets with layer norm differ there by nature. `not run` and an empty PaddleSlim cell: not measured.
Costs are multiply-accumulates of convolutions and matrix products.
"""


def markdown(rows: list[dict], slim: dict[str, dict]) -> str:
    lines = [
        *HEAD.splitlines(),
        "",
        "| graph | GMAC | cut | PaddleSlim | parameters | cut | masked | ONNX agrees | Lite x86 agrees | frozen |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        found = slim.get(row["graph"], {})
        other = f"{found['cut_ratio']:.1%}" if "cut_ratio" in found else found.get("error", "")
        cells = [
            row["graph"], f"{row['macs'] / 1e9:.2f}", f"{row['macs_cut_ratio']:.1%}", other,
            f"{row['parameters'] / 1e6:.2f} M", f"{row['parameters_cut_ratio']:.1%}",
        ]  # fmt: skip
        for target, key in (("masked", "relative"), ("onnx", "agreement"), ("paddle-lite x86", "agreement")):
            value = row.get(target, row.get("paddle", {"error": "not run"}))
            text = value.get("error", "").splitlines()[:1] or [
                f"{value[key]:.1e}" if key == "relative" else f"{value[key]:.3%}"
            ]
            cells.append(text[0].replace("|", "/"))
        reasons = {reason: names for reason, names in row["frozen_because"].items() if "output of" not in reason}
        cells.append("; ".join(f"{reason} ({len(names)})" for reason, names in reasons.items()))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--costs-only", action="store_true", help="prune, run nothing")
    parser.add_argument("--slim", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    rows = load(options.json) if options.json and options.json.is_file() else []
    slim = load(options.slim) if options.slim else {}
    workers = coverage.Workers(threads=1, timeout_s=300)
    try:
        for graph in options.graphs:
            if graph.stem in {row["graph"] for row in rows}:
                continue
            rows = sorted(
                [*rows, row_of(graph, options.work, options.ratio, workers, options.costs_only)],
                key=lambda row: row["graph"],
            )
            print(f"{len(rows)}/{len(options.graphs)} {graph.stem}", file=sys.stderr, flush=True)
            if options.json:
                save(options.json, rows)
    finally:
        workers.close()
    if options.markdown:
        options.markdown.write_text(markdown(rows, slim))


if __name__ == "__main__":
    main()
