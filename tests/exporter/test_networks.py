"""Networks written from their papers, from Paddle's own export to what the runtimes compute: one and two heads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zoo
from toolchain import Toolchain

from segexport.exporter import program as programs
from segexport.exporter.inspect import inspect
from segexport.exporter.output_semantics import num_classes
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.targets.nb_kernels import nb_kernels

HEIGHT, WIDTH = 128, 192
# name -> (semantics, channels) of each output, and the number of classes that the first of them tells apart
HEADS = {
    "icnet": ([("logits", 19)], 19),
    "gcnet": ([("logits", 19)], 19),
    "segformer_small": ([("logits", 19)], 19),
    "lanenet": ([("logits", 2), ("logits", 4)], 2),
    "spatial_embedding": ([("probability", 1), ("logits", 4)], 2),
}
REWRITTEN = {
    "icnet": {"fold_constants", "adaptive_pool_to_matmul"},
    "gcnet": {"fold_constants"},
    "segformer_small": {"fold_constants", "constant_arguments"},
    "lanenet": {"fold_constants", "unpool_to_arithmetic"},
    "spatial_embedding": {"fold_constants"},
}
LEAST_AGREEMENT = 0.9999
CONVOLUTIONS = frozenset({"conv2d", "depthwise_conv2d", "conv2d_transpose"})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every network as `paddle.jit.save` writes it."""
    folder = tmp_path_factory.mktemp("networks")
    script = Path(__file__).with_name("networks.py")
    command = [sys.executable, "-W", "ignore", str(script), str(folder), f"{HEIGHT}x{WIDTH}", *HEADS]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def filled(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, zoo.Filled]:
    """Calibrated weights, an input, and what Paddle computes."""
    folder = tmp_path_factory.mktemp("filled")
    return {name: zoo.fill(exported / f"{name}.pdmodel", folder / name) for name in HEADS}


@pytest.mark.parametrize("name", HEADS)
def test_what_inspect_says(exported: Path, name: str) -> None:
    program = programs.read(exported / f"{name}.pdmodel", exported / f"{name}.pdiparams")
    heads, classes = HEADS[name]
    found = inspect(program)
    assert [(one.semantics, one.shape, one.layout) for one in found.outputs] == [
        (semantics, (1, channels, HEIGHT, WIDTH), "NCHW") for semantics, channels in heads
    ]
    assert num_classes(program) == found.num_classes == classes
    assert found.flops > 1e7
    assert {one.support for one in found.targets} == {"after rewrites"}
    onnx = next(one for one in found.targets if one.target == "onnx")
    assert {note.split()[0] for note in onnx.rewrites} == REWRITTEN[name]


@pytest.mark.parametrize("target", ["onnx", "paddle-lite x86"])
@pytest.mark.parametrize("name", HEADS)
def test_every_head_as_in_paddle(name: str, target: str, filled: dict[str, zoo.Filled], tools: Toolchain) -> None:
    program = programs.read(filled[name].model, filled[name].params)
    rewritten, _ = rewrite_for(target, program)
    execute = tools.onnx if target == "onnx" else tools.lite
    found, reference = execute(rewritten, filled[name].feed), filled[name].outputs
    assert len(found) == len(reference) == len(HEADS[name][0])
    for index, (a, b) in enumerate(zip(found, reference, strict=True)):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), f"output {index}"
        assert (classes_of(a) == classes_of(b)).mean() >= LEAST_AGREEMENT, f"output {index}"
        if b.shape[1] == 2:  # the comparison means something: the weights do not give one class everywhere
            assert 0.01 < classes_of(b).mean() < 0.99


def classes_of(output: np.ndarray) -> np.ndarray:
    """Per pixel: the largest channel, or whether the only one is above a half."""
    return output.argmax(1) if output.shape[1] > 1 else output[:, 0] > 0.5


@pytest.mark.parametrize("name", HEADS)
def test_compiled_for_arm(name: str, filled: dict[str, zoo.Filled], tools: Toolchain) -> None:
    rewritten, _ = rewrite_for("paddle-lite arm", programs.read(filled[name].model, filled[name].params))
    convolutions = [op for op in rewritten.ops if op.type in CONVOLUTIONS]
    nb = tools.opt(rewritten, "arm")
    compiled = [one for one in nb_kernels(nb.read_bytes()) if one.operator in CONVOLUTIONS]
    assert len(compiled) == len(convolutions) > 5
    assert {(one.provider, one.precision) for one in compiled} == {("arm", "fp32")}
