"""Makes networks that are hard to quantize out of trained ones, and measures int8 of them.

    python benchmarks/hard_networks.py MODELS CAMVID [--only NAME] [--spread K] [--seed N] [--limit N] [-o results.json]

A hard network computes the same function with other scales inside. It takes values of -127 to 127, without a division
by the standard deviation, with the first filters divided instead. And every channel is multiplied by a random power of
two from 2^-K to 2^K, and the weights that read it are divided, wherever only convolutions read it, directly or through
ReLU, sums, pools and resizes. Powers of two change no float result.

Rows: fp32, int8 without `fallback` (ranges by `mse` and compensated rounding alone), and int8 by default. Ranges come
from CamVid train, everything is measured on its val split, without labels in the quantization.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import yaml
from quantize import rows, table
from stamped import load, save

from segexport.artifact import read_artifact
from segexport.commands.run import run
from segexport.exporter import program
from segexport.ui.console import Console

NETWORKS = ("camvid_small", "fastscnn_camvid")
EXPORTS = [
    {"to": "onnx", "precision": "fp32", "name": "fp32"},
    {"to": "onnx", "precision": "int8", "name": "int8-plain", "calibration": {"fallback": False}},
    {"to": "onnx", "precision": "int8", "name": "int8"},
]

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
_PASSES = {"relu": "X", "pool2d": "X", "bilinear_interp_v2": "X", "dropout": "X", "elementwise_add": "X"}


def raw(graph: program.Program, std: float) -> None:
    """Divides the filters that read the image by `std`, the factor of the image's values."""
    for op in graph.ops:
        if op.type in _CONVOLUTIONS and op.input("Input") in graph.feed_names:
            graph.params[op.input("Filter")] = graph.params[op.input("Filter")] / np.float32(std)


def spread(graph: program.Program, most: int, seed: int) -> int:
    """Multiplies channels by powers of two; returns the number of groups of tensors."""
    random = np.random.default_rng(seed)
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group.setdefault(name, name) != name:
            name = group[name]
        return name

    norms, readers, bad = {}, {}, set(graph.fetch_names) | set(graph.feed_names)
    for op in graph.ops:
        if op.type == "batch_norm":
            norms[op.output("Y")] = op
            bad.add(op.input("X"))
        elif op.type in _CONVOLUTIONS:
            readers.setdefault(op.input("Input"), []).append(op)
            bad.add(op.output("Output"))
        elif op.type in _PASSES:
            for name in op.inputs["X"] + op.inputs.get("Y", []):
                group[root(name)] = root(op.output("Out"))
        elif op.type != "shape":
            bad.update(name for names in (*op.inputs.values(), *op.outputs.values()) for name in names)
    bad |= set(graph.params)
    refused = {root(name) for name in bad}
    members: dict[str, list[str]] = {}
    for name in {*group, *norms, *readers}:
        members.setdefault(root(name), []).append(name)
    done = 0
    for key in sorted(members.keys() - refused):
        made, used = [n for n in members[key] if n in norms], [op for n in members[key] for op in readers.get(n, [])]
        if not made or not used:
            continue
        channels = len(graph.params[norms[made[0]].input("Scale")])
        factor = (2.0 ** random.integers(-most, most + 1, channels)).astype(np.float32)
        for name in made:
            for part in ("Scale", "Bias"):
                held = norms[name].input(part)
                graph.params[held] = graph.params[held] * factor
        for op in used:
            held = op.input("Filter")
            depthwise = graph.params[held].shape[1] == 1 and op.attr("groups") > 1
            shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
            graph.params[held] = graph.params[held] / factor.reshape(shape)
        done += 1
    return done


def hard(model: Path, out: Path, most: int, seed: int) -> int:
    """Writes the hard network of a trained one; returns the number of groups of tensors with other scales."""
    graph = program.read(model / "model.pdmodel", model / "model.pdiparams")
    deploy = yaml.safe_load((model / "deploy.yaml").read_text())
    (norm,) = [each for each in deploy["Deploy"]["transforms"] if each["type"] == "Normalize"]
    norm |= {"mean": [0.5] * 3, "std": [1 / 255] * 3}
    raw(graph, 127.5)
    groups = spread(graph, most, seed)
    out.mkdir()
    (out / "deploy.yaml").write_text(yaml.safe_dump(deploy))
    graph.write(out)
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--spread", type=int, default=3, metavar="K")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="images of the val split")
    parser.add_argument("--seconds", type=float, default=30.0, help="for all latencies of a network together")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = load(given.output) if given.output and given.output.is_file() else {}
    for name in (given.only,) if given.only else NETWORKS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            groups = hard(given.models / name, folder / name, given.spread, given.seed)
            recipe = {"title": name, "model": {"path": str(folder / name)}, "exports": EXPORTS}
            recipe["data"] = {"path": str(given.camvid.resolve()), "split": "val", "limit": given.limit}
            recipe["check"] = {"latency_seconds": given.seconds}
            (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
            report = run(folder / "recipe.yaml", folder / "report", feedback=Console(quiet=True))
            each = rows(report)
            made = {path.parent.name: read_artifact(path.parent) for path in folder.glob("report/**/manifest.json")}
        for row in each:
            row["notes"] = list(made[row["name"]].manifest.lineage[-1].notes) if row["name"] in made else []
        found[name] = {"images": report.dataset.images, "groups": groups, "spread": given.spread, "exports": each}
        print(name, table(each), sep="\n", flush=True)
        if given.output:
            save(given.output, found)


if __name__ == "__main__":
    main()
