"""With Paddle 3 itself, where $SEGEXPORT_PADDLE3_PYTHON is an interpreter that has it: everything made anew."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pir_cases
import pytest
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError
from segexport.exporter import pir
from segexport.exporter.program import Program, read_graph

TESTS = Path(__file__).resolve().parent
CASES = pir_cases.read(TESTS.parent / "golden" / "pir" / "cases.zip")
NETS = sorted(name for name in CASES if "@" not in name)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def paddle3() -> str:
    python = os.environ.get("SEGEXPORT_PADDLE3_PYTHON")
    if not python:
        pytest.skip("$SEGEXPORT_PADDLE3_PYTHON names no interpreter with Paddle 3")
    return python


def run(python: str, script: str, *arguments: str | Path) -> None:
    command = [python, "-W", "ignore", str(TESTS / script), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert ended.returncode == 0, ended.stderr[-2000:]


@pytest.fixture(scope="session")
def nets(paddle3: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    run(paddle3, "pir_models.py", folder)
    return folder


def test_every_net_is_committed(nets: Path) -> None:
    assert sorted(folder.name for folder in nets.iterdir()) == NETS


@pytest.mark.parametrize("name", NETS)
def test_all_of_a_nets_outputs(name: str, nets: Path, tools: Toolchain) -> None:
    folder = nets / name
    if name.startswith("refused_"):
        with pytest.raises(UnsupportedModelError):
            pir.read_program(folder / "model.json", folder / "model.pdiparams")
        return
    program = pir.read_program(folder / "model.json", folder / "model.pdiparams")
    if not program.params:
        program.add_param("unused", np.zeros(1, np.float32))
    with np.load(folder / "expected.npz") as arrays:
        feed = [arrays[f"feed{index}"] for index in range(len(program.feed_names))]
        expected = [arrays[f"output{index}"] for index in range(len(arrays.files) - len(feed))]
    for index, (a, b) in enumerate(zip(tools.paddle(program, feed), expected, strict=True)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"output {index}"
        assert pir_cases.relative_difference(a, b) <= 1e-5, f"output {index} ({program.fetch_names[index]})"


def test_the_zoo_there_and_back(paddle3: str, shared_dir: Path, tmp_path: Path) -> None:
    """Paddle 3 translates every legacy graph; translated back, each is operator by operator what it was."""
    graphs = sorted((shared_dir / "zoo").glob("*.pdmodel"))
    assert len(graphs) > 40
    graphs.append(shared_dir / "models" / "espnet_cityscapes" / "export_argmax" / "model.pdmodel")
    run(paddle3, "pir_from_legacy.py", tmp_path, *graphs)
    changed = []
    for graph in graphs:
        original = read_graph(graph)
        original.prune()
        if fingerprints(pir.read_graph(tmp_path / f"{graph.stem}.json")) != fingerprints(original):
            changed.append(graph.stem)
    assert changed == []


@pytest.mark.parametrize("name", ["bisenetv2", "maskformer_tiny", "pp_liteseg_t", "seaformer_tiny", "segformer_b0"])
def test_the_zoo_with_weights(name: str, paddle3: str, shared_dir: Path, tmp_path: Path) -> None:
    """The same weights in Paddle 3 and, translated, in Paddle 2.6.2."""
    sys.path.insert(0, str(TESTS.parent.parent / "benchmarks"))
    import pir_parity

    found = pir_parity.compare(shared_dir / "zoo" / "pir" / f"{name}.json", tmp_path, Path(paddle3))
    assert found["relative"] <= 1e-5
    assert found["agreement"] == 1.0


# What the two ways of writing a program may differ in, and what changes no result.
_UNLISTED = {
    "is_test", "infer_flags", "in_dtype", "force_cpu", "place_type", "str_value", "use_cudnn", "use_mkldnn",
    "mkldnn_data_type", "use_quantizer",
}  # fmt: skip
_UNREAD = {("top_k_v2", "k"): "K", ("expand_v2", "shape"): "expand_shapes_tensor"}  # attributes that an input overrides


def fingerprints(program: Program) -> list[str]:
    """Of each output, a digest of everything that it is computed from; names of variables do not count."""
    known = {name: f"parameter {name}" for name, var in program.vars.items() if var.persistable}
    known |= {name: f"input {name}" for name in program.feed_names}
    for op in program.compute_ops():
        inputs = sorted((slot, [known[name] for name in names]) for slot, names in op.inputs.items() if names)
        attrs = {name: _plain(op.attr(name)) for name in _listed(op.type) & op.attrs.keys() - _UNLISTED}
        attrs |= {name: [known[x] for x in a.value] for name, a in op.attrs.items() if a.type == "VARS"}
        for (kind, name), slot in _UNREAD.items():
            if op.type == kind and op.inputs.get(slot):
                attrs.pop(name, None)
        if op.type == "concat":
            attrs["axis"] %= len(program.shape(op.input("X")))
        text = json.dumps([op.type, inputs, sorted(attrs.items())])
        digest = hashlib.sha256(text.encode()).hexdigest()
        for slot, names in op.outputs.items():
            known |= {name: f"{digest} {slot} {i}" for i, name in enumerate(names) if name not in known}
    return [known[name] for name in program.fetch_names]


def _plain(value: object) -> object:
    """Floats as the wire keeps them."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and abs(value) < 3.5e38:
        return struct.unpack("<f", struct.pack("<f", min(max(value, -3.4028234e38), 3.4028234e38)))[0]
    return value


def _listed(type: str) -> set[str]:
    """The attributes that Paddle 2.6.2 lists for an operator; others are hints for a library."""
    if not _PROTOS:
        from paddle.base import core
        from paddle.base.proto import framework_pb2 as framework

        for proto in map(framework.OpProto.FromString, core.get_all_op_protos()):
            _PROTOS[proto.type] = {attr.name for attr in proto.attrs if not attr.extra} - _COMMON
    return _PROTOS[type]


_PROTOS: dict[str, set[str]] = {}
_COMMON = {"op_role", "op_role_var", "op_namescope", "op_callstack", "op_device", "with_quant_attr"}
