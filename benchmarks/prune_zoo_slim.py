"""Prunes the same graphs with PaddleSlim's static pruner at the same ratio, and tests whether the result runs.

    python benchmarks/prune_zoo_slim.py GRAPH.pdmodel ... --work DIR [--ratio 0.5] --json FILE

Needs paddleslim 2.6.0 (with requests and decorator). Every convolution is named for pruning; those that PaddleSlim
cannot follow it leaves alone. Costs are counted by PaddleSlim itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from stamped import save

TIMEOUT_S = 600


def prune_one(prefix: Path, ratio: float) -> dict:
    """Prunes one graph; runs in a separate process."""
    import zlib  # noqa: F401 - before paddle

    import numpy as np
    import paddle
    from paddleslim.analysis import flops
    from paddleslim.prune import Pruner

    paddle.enable_static()
    executor, scope, place = paddle.static.Executor(paddle.CPUPlace()), paddle.static.Scope(), paddle.CPUPlace()
    with paddle.static.scope_guard(scope):
        static, feeds, fetches = paddle.static.load_inference_model(str(prefix), executor)
        before = flops(static)
        names = [op.input("Filter")[0] for op in static.global_block().ops if op.type == "conv2d"]
        ratios = [ratio] * len(names)
        pruned, _, _ = Pruner(criterion="l1_norm").prune(static, scope, params=names, ratios=ratios, place=place)
        found = {"cut_ratio": 1 - flops(pruned) / before}
        with np.load(prefix.parent / "reference.npz") as arrays:
            feed = {name: arrays[f"feed{index}"] for index, name in enumerate(feeds)}
        try:
            executor.run(pruned, feed=feed, fetch_list=[fetch.name for fetch in fetches])
            found["runs"] = True
        except Exception as error:
            found["runs"] = False
            found["why"] = " ".join(str(error).split())[-300:]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", action="store_true", help="GRAPH is the prefix of one filled graph; prints its row")
    options = parser.parse_args()
    if options.one:
        print("ROW " + json.dumps(prune_one(options.graphs[0], options.ratio)))
        return
    rows = {}
    for graph in options.graphs:
        prefix = options.work / graph.stem / "model"
        command = [sys.executable, __file__, str(prefix), "--one", "--work", str(options.work)]
        command += ["--ratio", str(options.ratio)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
            row = next((json.loads(line[4:]) for line in ended.stdout.splitlines() if line.startswith("ROW ")), None)
            rows[graph.stem] = row or {"error": (ended.stderr.strip().splitlines() or ["no result"])[-1][-200:]}
        except subprocess.TimeoutExpired:
            rows[graph.stem] = {"error": f"no result in {TIMEOUT_S} s"}
        print(graph.stem, rows[graph.stem], flush=True)
        if options.json:
            save(options.json, rows)


if __name__ == "__main__":
    main()
