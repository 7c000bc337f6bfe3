"""ONNX of dynamic height and width: from Paddle's export with a dynamic size, and from fixed exports made dynamic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zoo
from toolchain import REPOSITORY, Toolchain

from segexport.exporter.program import Program, read_graph
from segexport.exporter.program_reader import param_names, read_params
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.shapes import fix_input_shape

sys.path.insert(0, str(REPOSITORY / "benchmarks"))
from free_size import SizeIsFixed, free_size

NETWORKS = ["icnet", "gcnet", "spatial_embedding", "segformer_small", "lanenet"]
FIXED = (128, 192)
SIZES = [(192, 128), (256, 320)]  # at the second, ICNet's 3 and 6 bins divide neither side of its smallest map


def written(folder: Path, size: str, *names: str) -> Path:
    folder.mkdir()
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("networks.py")), str(folder), size, *names]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Program, Program]]:
    """Name -> (exported with a fixed size, exported with a dynamic one), both with the same calibrated weights."""
    root = tmp_path_factory.mktemp("dynamic")
    fixed = written(root / "fixed", "x".join(map(str, FIXED)), *NETWORKS)
    free = written(root / "free", "free", *NETWORKS)
    found = {}
    for name in NETWORKS:
        filled = zoo.fill(fixed / f"{name}.pdmodel", root / name)
        pair = (read_graph(filled.model), read_graph(free / f"{name}.pdmodel"))
        values = read_params(filled.params, pair[0])
        for program in pair:
            program.params = {key: values[key] for key in param_names(program)}
            program.verify(name)
        found[name] = pair
    return found


def feed(program: Program, size: tuple[int, int]) -> list[np.ndarray]:
    sized = program.copy()
    sized.vars[sized.feed_names[0]].dims = (1, 3, *size)
    return zoo.seeded_feed(sized, 7)


def paddle_at(size: tuple[int, int], free: Program, tools: Toolchain) -> list[np.ndarray]:
    """Paddle with the size fixed: it cannot run an unpool of dynamic size."""
    return tools.paddle(fix_input_shape(free, {free.feed_names[0]: (1, 3, *size)}), feed(free, size))


def assert_same(
    found: list[np.ndarray], reference: list[np.ndarray], tolerance: float = 1e-4, share: float = 0.0
) -> None:
    """`share`: of the values that may differ more."""
    assert [one.shape for one in found] == [one.shape for one in reference]
    for a, b in zip(found, reference, strict=True):
        assert (np.abs(a - b) > tolerance * np.abs(b).max()).mean() <= share
        assert (a.argmax(1) == b.argmax(1)).mean() >= 0.9999 - share


@pytest.mark.parametrize("name", NETWORKS)
def test_an_export_of_free_size_at_two_sizes(name: str, exports: dict, tools: Toolchain) -> None:
    _, free = exports[name]
    assert free.inputs()[0].shape[2:] == (-1, -1)
    rewritten, _ = rewrite_for("onnx", free)
    for size in SIZES:
        found, reference = tools.onnx(rewritten, feed(free, size)), paddle_at(size, free, tools)
        assert reference[0].shape[2:] == size
        # Where two values of a pool's window are equal but for rounding, the processor decides which one is unpooled.
        unpools = any(op.type == "unpool" for op in free.ops)
        assert_same(found, reference, share=0.01 if unpools else 0.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_freed_graph_is_what_an_export_of_free_size_is(name: str, exports: dict, tools: Toolchain) -> None:
    fixed, free = exports[name]
    freed = free_size(fixed)
    same = feed(fixed, FIXED)
    assert_same(tools.paddle(freed, same), tools.paddle(fixed, same), tolerance=1e-6)
    for size in SIZES:
        assert_same(tools.paddle(freed, feed(free, size)), paddle_at(size, free, tools), tolerance=1e-6)


def test_an_unpool_that_is_not_the_poolings_inverse_holds_the_size(tmp_path: Path) -> None:
    graph = read_graph(written(tmp_path / "fixed", "128x192", "lanenet") / "lanenet.pdmodel")
    unpool = next(op for op in graph.ops if op.type == "unpool")
    unpool.set_attr("output_size", [33, 48])
    graph.vars[unpool.output("Out")].dims = (1, 32, 33, 48)
    with pytest.raises(SizeIsFixed, match=r"^unpool \(operator \d+\): its output_size is \[33, 48\]"):
        free_size(graph)
