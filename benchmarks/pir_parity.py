"""Compares Paddle 3's `.json` programs, run in Paddle 3, with their translation in Paddle 2.6.2 and its exports.

    python benchmarks/pir_parity.py GRAPH.json ... --work DIR --paddle3 PYTHON [--exports] [--json FILE]

Graphs come without weights: `tests/exporter/zoo.py` fills the translated ones, and as the file of parameters is the
same for both forms, Paddle 3 reads what it wrote. With --exports, ONNX and Paddle-Lite as in `zoo_coverage`. What is
there already in DIR is not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from stamped import save

from segexport.errors import SegexportError
from segexport.exporter import pir
from segexport.exporter import program as programs

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "tests" / "exporter"), str(REPOSITORY / "benchmarks")]
import zoo  # noqa: E402
import zoo_coverage  # noqa: E402


def compare(graph: Path, work: Path, paddle3: Path) -> dict:
    """One row: the largest difference over the largest value, and the argmax agreement of the first output."""
    folder, translated = work / graph.stem, work / "graphs" / f"{graph.stem}.pdmodel"
    translated.parent.mkdir(parents=True, exist_ok=True)
    program = pir.read_graph(graph)
    translated.write_bytes(program.to_bytes())
    filled = zoo.fill(translated, folder)
    shutil.copyfile(graph, folder / "model.json")
    found = pir.read_program(folder / "model.json", filled.params)
    if found.to_bytes() != programs.read(filled.model, filled.params).to_bytes():
        raise SystemExit(f"{graph}: the translation is not the program that was filled")
    if not (folder / "paddle3.npz").is_file():
        np.savez(folder / "inputs.npz", **dict(zip(program.feed_names, filled.feed, strict=True)))
        command = [str(paddle3), "-W", "ignore", str(REPOSITORY / "benchmarks" / "paddle3_outputs.py"), str(folder)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if ended.returncode:
            return {"error": f"Paddle 3 ended with {ended.returncode}: {ended.stderr.strip().splitlines()[-1:]}"}
    with np.load(folder / "paddle3.npz") as arrays:
        reference = [arrays[name] for name in program.fetch_names]
    found = zoo_coverage.compare(filled.outputs, reference)
    images = [(a, b) for a, b in zip(filled.outputs, reference, strict=True) if b.ndim == 4]
    if images and "error" not in found:  # every pixel counts here, even with nearly equal scores
        found["agreement"] = min(float((a.argmax(1) == b.argmax(1)).mean()) for a, b in images)
    return found


def row(graph: Path, options: argparse.Namespace, workers: zoo_coverage.Workers) -> dict:
    """The comparison of one graph, and the exports if requested."""
    try:
        made = {"graph": graph.stem, "paddle 3": compare(graph, options.work, options.paddle3)}
    except SegexportError as error:
        return {"graph": graph.stem, "paddle 3": {"error": str(error)}}
    if options.exports:
        translated = options.work / "graphs" / f"{graph.stem}.pdmodel"
        exported = zoo_coverage.cover(translated, options.work, workers, list(zoo_coverage.TARGETS))
        made |= {"operators": exported["operators"], **{target: exported[target] for target in zoo_coverage.TARGETS}}
    return made


def markdown(rows: list[dict]) -> str:
    """Formats the rows as a table."""
    targets = ["paddle 3", "onnx", "paddle-lite x86"]
    lines = [
        "| graph | Paddle 3: agreement | difference | ONNX: agreement | difference | Lite x86: agreement | difference |"
        " Lite arm64 |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for made in rows:
        cells = [made["graph"]]
        for target in targets:
            found = made.get(target, {})
            if "agreement" in found:
                cells += [f"{found['agreement'] * 100:.4f} %", f"{found['relative']:.1e}"]
            else:
                cells += [found.get("error", "").splitlines()[0].replace("|", "/") if found else "", ""]
        arm = made.get("paddle-lite arm", {})
        cells.append(f"{arm['size_bytes'] / 1e6:.1f} MB" if "size_bytes" in arm else arm.get("error", "")[:80])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--paddle3", type=Path, required=True, help="an interpreter that has Paddle 3")
    parser.add_argument("--exports", action="store_true", help="ONNX and Paddle-Lite too")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    workers, rows = zoo_coverage.Workers(threads=1, timeout_s=300), []
    try:
        for graph in sorted(options.graphs):
            rows.append(row(graph, options, workers))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        workers.close()
    if options.json:
        save(options.json, rows)
    if options.markdown:
        options.markdown.write_text(markdown(rows))


if __name__ == "__main__":
    main()
