"""The live model against Paddle on real architectures: bit for bit.

Filling the graphs takes most of the time; $SEGEXPORT_FILLED_ZOO names a folder that keeps them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import paddle
import programs
import pytest

from segexport.compress.live_program import LiveProgram
from segexport.exporter.program import Program, read

_SHARED = Path(os.environ.get("SEGEXPORT_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
_GRAPHS = sorted(path.stem for path in (_SHARED / "zoo").glob("*.pdmodel"))
_MODELS = sorted(str(path.relative_to(_SHARED)) for path in (_SHARED / "models").rglob("*.pdmodel"))
_FREE_SIZE = 256


def load_zoo():
    """The filler of weightless graphs that the exporter's tests use."""
    path = Path(__file__).resolve().parents[1] / "exporter" / "zoo.py"
    spec = importlib.util.spec_from_file_location("zoo", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("zoo", module)
    spec.loader.exec_module(module)
    return module


def assert_bit_for_bit(program: Program, folder: Path, feeds: dict[str, np.ndarray]) -> None:
    expected = programs.infer(program, folder, feeds)
    net = LiveProgram(program)
    net.eval()
    with paddle.no_grad():
        found, _ = net.run({name: paddle.to_tensor(value) for name, value in feeds.items()})
    assert len(found) == len(expected)
    for reference, output in zip(expected, found, strict=True):
        np.testing.assert_array_equal(output.numpy(), reference)
    again = net.program()
    assert again.to_bytes() == program.to_bytes()
    assert all(np.array_equal(again.params[name], value) for name, value in program.params.items())


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", _GRAPHS)
def test_graph_replays_bit_for_bit(name, tmp_path):
    folder = Path(os.environ.get("SEGEXPORT_FILLED_ZOO", tmp_path))
    filled = load_zoo().fill(_SHARED / "zoo" / f"{name}.pdmodel", folder / name)
    program = read(filled.model, filled.params)
    feeds = dict(zip(program.feed_names, filled.feed, strict=True))
    assert_bit_for_bit(program, tmp_path, feeds)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("model", _MODELS)
def test_model_replays_bit_for_bit(model, tmp_path):
    program = read(_SHARED / model, (_SHARED / model).with_suffix(".pdiparams"))
    shape = [size if size > 0 else (_FREE_SIZE if axis else 1) for axis, size in enumerate(program.inputs()[0].shape)]
    assert_bit_for_bit(program, tmp_path, programs.random_feeds(program, tuple(shape)))
