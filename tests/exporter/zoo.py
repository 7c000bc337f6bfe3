"""Gives a graph without weights deterministic ones, and records what Paddle computes with them.

Weights are seeded and He-normal; then one pass over a seeded image with every BatchNorm in training mode makes the
statistics those of the activations, layer by layer, so that values stay in range and a comparison means something.

Run as a script it does this for one graph, in a separate process, because Paddle can abort:

    python tests/exporter/zoo.py GRAPH.pdmodel OUT_DIR [seed]
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segexport.exporter.program import Op, Program, read_graph
from segexport.exporter.program_reader import param_names


@dataclass(frozen=True)
class Filled:
    """A graph with weights, an input for it, and Paddle's outputs (operator by operator, no fused passes)."""

    model: Path
    params: Path
    feed: list[np.ndarray]
    outputs: list[np.ndarray]


def fill(graph: Path, folder: Path, seed: int = 7) -> Filled:
    """Fills `graph` into `folder`; a folder that is complete already is reused."""
    done = folder / "reference.npz"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, __file__, str(graph), str(folder), str(seed)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if ended.returncode:
            raise RuntimeError(f"{graph}: Paddle ended with {ended.returncode}\n{ended.stderr[-2000:]}")
    with np.load(done) as arrays:
        feed = [arrays[f"feed{index}"] for index in range(arrays["feeds"])]
        outputs = [arrays[f"output{index}"] for index in range(arrays["fetches"])]
    return Filled(folder / "model.pdmodel", folder / "model.pdiparams", feed, outputs)


def seeded_params(program: Program, seed: int) -> dict[str, np.ndarray]:
    """A value for every parameter, from what reads it."""
    random = np.random.default_rng(seed)
    readers = program.consumers()
    found: dict[str, np.ndarray] = {}
    anchors = 0
    for name in param_names(program):
        var = program.vars[name]
        uses = [(op, slot) for op in readers.get(name, []) for slot, names in op.inputs.items() if name in names]
        op, slot = uses[0] if uses else (None, "")
        residual = slot == "Scale" and op.type == "batch_norm" and _is_added(op, readers)
        if var.dtype.startswith("int"):  # a table's index
            rows = program.shape(op.input("X") or "")[0] if op is not None else 1
            value = np.arange(np.prod(var.dims)).reshape(var.dims) % max(rows, 1)
        elif slot in ("Scale", "Variance"):
            # A hundred residual branches of full strength amplify rounding a thousandfold; trained ones do not.
            value = np.full(var.dims, 0.2 if residual else 1.0)
        elif slot == "Alpha":
            value = np.full(var.dims, 0.25)
        elif slot == "Filter":
            fan_in = np.prod(var.dims[1:]) if op.type != "conv2d_transpose" else var.dims[0]
            value = random.normal(0, np.sqrt(2 / fan_in), var.dims)
        elif op is not None and op.type == "matmul_v2" and slot == "Y" and len(var.dims) == 2:
            value = random.normal(0, np.sqrt(1 / var.dims[0]), var.dims)
        else:
            value = random.normal(0, 0.1 if len(var.dims) == 1 else 0.5, var.dims)
        if len(program.feed_names) > 1 and op is not None and op.type == "reshape2" and var.dims[1:] == (4,):
            value = _anchors(var.dims[0], 32 * 2**anchors)
            anchors += 1
        elif len(program.feed_names) > 1 and op is not None and slot in ("Filter", "Y") and len(var.dims) > 1:
            value = value * _detector_scale(op, readers)
        found[name] = value.astype(var.dtype)
    return found


def _anchors(count: int, size: int) -> np.ndarray:
    """[count, 4]: boxes of one area about the origin, from wide to tall."""
    ratios = np.sqrt(2.0 ** np.linspace(-1, 1, count))
    return np.stack([-size / ratios / 2, -size * ratios / 2, size / ratios / 2, size * ratios / 2], axis=1)


def _detector_scale(op: Op, readers: dict[str, list[Op]]) -> float:
    """Box regressions small and class scores apart, as trained: else all boxes are clipped away or tie."""
    after = [reader for name in op.output_names() for reader in readers.get(name, [])]
    behind_bias = [r for reader in after for name in reader.output_names() for r in readers.get(name, [])]
    types = {reader.type for reader in behind_bias}
    if types & {"relu", "conv2d", "batch_norm", "elementwise_add", "pool2d", "nearest_interp_v2"}:
        return 1.0
    return 3.0 if types & {"softmax", "sigmoid"} else 0.05


def _is_added(op: Op, readers: dict[str, list[Op]]) -> bool:
    """Whether a normalization ends a residual branch."""
    return any(reader.type == "elementwise_add" for reader in readers.get(op.output("Y") or "", []))


def seeded_feed(program: Program, seed: int) -> list[np.ndarray]:
    """An image of noise that is smooth at several scales; sizes and scale factors of detectors as they must be."""
    random = np.random.default_rng(seed)
    images = [program.shape(name) for name in program.feed_names if len(program.shape(name)) == 4]
    height, width = images[0][2:]
    feed = []
    for name in program.feed_names:
        dims = program.shape(name)
        if len(dims) == 4:
            value = np.zeros((1, *dims[1:]))
            for scale in (1, 4, 16, 64):
                coarse = random.normal(size=(1, dims[1], -(-height // scale), -(-width // scale)))
                value += coarse.repeat(scale, 2).repeat(scale, 3)[:, :, :height, :width] / 2
        else:  # im_shape or scale_factor: the first of the two is the size
            value = np.array([[height, width]]) if not feed else np.ones((1, 2))
        feed.append(value.astype(program.dtype(name)))
    return feed


def _main(graph: Path, folder: Path, seed: int) -> None:
    warnings.filterwarnings("ignore")
    program = read_graph(graph)
    program.params = seeded_params(program, seed)
    feed = seeded_feed(program, seed)
    training = program.copy()
    statistics = []
    for op in training.ops:
        if op.type in ("batch_norm", "sync_batch_norm"):
            op.set_attr("is_test", False)
            op.set_attr("use_global_stats", False)
            op.set_attr("trainable_statistics", False)
            op.set_attr("momentum", 0.0)
            op.outputs["ReserveSpace"] = [training.add_var("reserve_space", ())]
            statistics += [op.input("Mean"), op.input("Variance")]
    if statistics:
        found = _execute(training, feed, [], keep=statistics)[1]
        # Behind a global pooling one value per channel is all there is: its variance of 0 would amplify rounding.
        program.params.update(found | {name: np.maximum(found[name], 0.05) for name in statistics[1::2]})
    outputs, _ = _execute(program, feed, program.fetch_names, keep=[])
    program.write(folder)
    arrays = {f"feed{index}": value for index, value in enumerate(feed)}
    arrays |= {f"output{index}": value for index, value in enumerate(outputs)}
    part = folder / "part.npz"
    np.savez(part, feeds=len(feed), fetches=len(outputs), **arrays)
    part.replace(folder / "reference.npz")


def _execute(
    program: Program, feed: list[np.ndarray], fetch: list[str], keep: list[str]
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    import paddle

    paddle.enable_static()
    copy = program.copy()
    feeds = copy.feed_names
    copy.ops = copy.compute_ops()
    for name in ("feed", "fetch"):
        copy.vars.pop(name, None)
    static = paddle.static.Program.parse_from_string(copy.to_bytes())
    executor, scope = paddle.static.Executor(paddle.CPUPlace()), paddle.static.Scope()
    with paddle.static.scope_guard(scope):
        for name, value in program.params.items():
            scope.var(name).get_tensor().set(np.array(value), paddle.CPUPlace())
        wanted = fetch or [copy.fetch_names[0] if copy.fetch_names else program.fetch_names[0]]
        outputs = executor.run(static, feed=dict(zip(feeds, feed, strict=True)), fetch_list=wanted)
        kept = {name: np.array(scope.find_var(name).get_tensor()) for name in keep}
    return [np.asarray(value) for value in outputs], kept


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 7)
