"""What `inspect` says of a program, and what becomes of it when it is exported, are the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zoo
from graphs import Graph
from installed import require_worker
from quantized import FORMS as QUANTIZED
from test_deformable import FORMS as DEFORMED
from test_deformable import deformed
from test_litert_operators import LiteRt
from test_operator_rewrites import CASES, DIMS, FAULTS, built
from test_recurrent import recurrent
from toolchain import Toolchain

from segexport.errors import SegexportError
from segexport.exporter.inspect import support_for
from segexport.exporter.mends import AS_READ, mend, straighten
from segexport.exporter.program import Program, read
from segexport.exporter.program_reader import read_graph
from segexport.exporter.quantized_program import is_quantized, unquantized
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86, ONNX, Target
from segexport.pipeline.registry import target_named

TESTS = Path(__file__).parent
OPSETS = (16, 15, 13, 11)  # as the export tries them
TARGETS = (ONNX, LITE_ARM, LITE_X86)
# Operators that an exporter takes or does not, by themselves.
SINGLE = {
    "sinh": (DIMS, {}),
    "maxout": ((1, 2, 6, 8), {"groups": 2, "axis": 1}),
    "lrn": (DIMS, {"n": 5, "k": 1.0, "alpha": 1e-4, "beta": 0.75, "data_format": "NCHW"}),
    "thresholded_relu": (DIMS, {"threshold": 0.4}),
    "cumsum": (DIMS, {"axis": 1, "exclusive": False, "reverse": False, "flatten": False}),
    "logit": (DIMS, {"eps": 1e-3}),
    "flip": (DIMS, {"axis": [2]}),
}


def to_bytes(graph: Graph, image: str) -> str:
    return graph.op("cast", {"X": graph.op("cast", {"X": image}, DIMS, dtype="int32", in_dtype=5, out_dtype=2)}, DIMS,
                    dtype="uint8", in_dtype=2, out_dtype=20)  # fmt: skip


def single(type: str) -> Callable[[Graph, str], str]:
    dims, attrs = SINGLE[type]
    return lambda graph, image: graph.op(type, {"X": image}, dims, **attrs)


def programs() -> dict[str, Callable[[], Program]]:
    """Every small program that other tests build."""
    found: dict[str, Callable[[], Program]] = {}
    for name, (_, _, make) in CASES.items():
        found[name] = lambda make=make: built(make)
    for name, (_, make) in FAULTS.items():
        found[f"fault {name}"] = lambda make=make: built(make)
    for name, form in DEFORMED.items():
        found[f"deformed, {name}"] = lambda form=form: deformed(**form)[0]
    for name, make in QUANTIZED.items():
        found[f"quantized, {name}"] = lambda make=make: mended(make())
    for mode in ("LSTM", "GRU", "RNN_TANH"):
        for last in (False, True):
            found[f"{mode}, {last}"] = lambda mode=mode, last=last: recurrent(mode, layers=2, last_state=last)
    for type in SINGLE:
        found[type] = lambda type=type: built(single(type))
    found["bytes"] = lambda: built(to_bytes)
    return found


def mended(program: Program) -> Program:
    mend(program, AS_READ)
    return program


def is_exported(target: Target, program: Program, tools: Toolchain) -> bool:
    """Whether the converter takes it, and the runtime what comes out, where it can be run here."""
    program = unquantized(program).program if is_quantized(program) else program
    try:
        changed, _ = rewrite_for(target, program)
    except SegexportError:
        return False
    tries = [lambda: tools.opt(changed, target.removeprefix("paddle-lite "))]
    if target == ONNX:
        tries = [lambda opset=opset: tools.onnx_model(changed, opset) for opset in OPSETS]
    return any(succeeds(attempt) for attempt in tries)


def succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except SegexportError:
        return False
    return True


PROGRAMS = programs()


@pytest.mark.parametrize("target", TARGETS)
def test_on_small_programs(target: Target, tools: Toolchain) -> None:
    contradictions = []
    for name, make in PROGRAMS.items():
        program = make()
        said, done = support_for(target, program).support != "no", is_exported(target, program, tools)
        if said != done:
            contradictions.append(f"{name}: {said} says inspect, {done} the export")
    assert contradictions == []


def scattered_to_the_largest(graph: Graph, image: str) -> str:
    rows = graph.op("reshape2", {"X": image}, {"Out": (24, 8), "XShape": (0, *DIMS)}, shape=[24, 8])
    places = graph.op("arg_max", {"X": rows}, (24,), dtype="int64", axis=1, keepdims=False, flatten=False,
                      typed={"dtype": ("INT", 3), "axis": ("LONG", 1)})  # fmt: skip
    return graph.op("scatter", {"X": rows, "Ids": places, "Updates": graph.noise(24, 8)}, (24, 8), overwrite=True)


def counted_to_the_largest(graph: Graph, image: str) -> str:
    flat = graph.op("reshape2", {"X": image}, {"Out": (192,), "XShape": (0, *DIMS)}, shape=[192])
    end = graph.op("arg_max", {"X": flat}, (1,), dtype="int64", keepdims=True, flatten=False,
                   typed={"dtype": ("INT", 3), "axis": ("LONG", 0)})  # fmt: skip
    bounds = {"Start": graph.param([0], "int64"), "End": end, "Step": graph.param([1], "int64")}
    counted = graph.op("range", bounds, (-1,), dtype="int64")
    return graph.op("cast", {"X": counted}, (-1,), in_dtype=3, out_dtype=5)


def sorted_places(graph: Graph, image: str) -> str:
    attrs = {"axis": -1, "descending": True}
    graph.op("argsort", {"X": image}, {"Out": DIMS, "Indices": DIMS}, **attrs)
    (places,) = graph.last().outputs["Indices"]
    number = graph.op("cast", {"X": places}, DIMS, dtype="int64", in_dtype=3, out_dtype=3)
    out = graph.op("argsort", {"X": number}, {"Out": DIMS, "Indices": DIMS}, dtype="int64", axis=-1, descending=False)
    return graph.op("cast", {"X": out}, DIMS, in_dtype=3, out_dtype=5)


OF_THE_IMAGE = {
    "integers that are sorted": lambda: built(sorted_places),
    "an index of the image": lambda: built(scattered_to_the_largest),
    "a range by the image": lambda: built(counted_to_the_largest),
    "bounds that are fed": PROGRAMS["fault strided_slice"],
    "a constant index": PROGRAMS["sums of rows, with zeros"],
}


def litert_contradictions(named: dict[str, Callable[[], Program]], tools: Toolchain, folder: Path) -> list[str]:
    """Programs of one input size of which `inspect` says something else than the LiteRT writer does."""
    import onnxslim

    litert, contradictions = LiteRt(), []
    for index, (name, make) in enumerate(named.items()):
        program = make()
        is_free = any(min(spec.shape, default=1) < 1 for spec in program.inputs())
        if is_quantized(program) or is_free or support_for(ONNX, program).support == "no":
            continue
        changed, _ = rewrite_for(ONNX, program)
        made = next(file for opset in OPSETS if (file := converted_to(changed, opset, tools)))
        slim = folder / f"{index}.onnx"
        onnxslim.slim(str(made), str(slim))
        (said,) = target_named("litert").verdict_before(program)
        done = succeeds(lambda slim=slim: litert.written(slim, ()))
        if (said.support != "no") != done:
            contradictions.append(f"{name}: {said.support} says inspect, {done} the export")
    litert.close()
    return contradictions


def converted_to(program: Program, opset: int, tools: Toolchain) -> Path | None:
    try:
        return tools.onnx_model(program, opset)
    except SegexportError:
        return None


def test_of_what_the_image_decides_in_litert(tools: Toolchain, tmp_path: Path) -> None:
    require_worker("ai_edge_litert", "onnx")
    said = {name: target_named("litert").verdict_before(make())[0] for name, make in OF_THE_IMAGE.items()}
    assert [name for name, found in said.items() if found.support == "no"] == [*OF_THE_IMAGE][:4]
    assert [found.obstacles[0].operator for found in said.values() if found.obstacles] == [
        "argsort", "scatter", "range", "strided_slice",
    ]  # fmt: skip
    assert "the smallest of floats only" in said["integers that are sorted"].obstacles[0].reason
    assert "with a constant index only" in said["an index of the image"].obstacles[0].reason
    assert "LiteRT's files hold one size" in said["a range by the image"].obstacles[0].reason
    assert litert_contradictions(OF_THE_IMAGE, tools, tmp_path) == []


@pytest.mark.slow
def test_on_small_programs_in_litert(tools: Toolchain, tmp_path: Path) -> None:
    require_worker("ai_edge_litert", "onnx")
    assert litert_contradictions(PROGRAMS, tools, tmp_path) == []


@pytest.mark.parametrize("target", TARGETS)
def test_on_networks_with_branches(target: Target, tools: Toolchain, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(TESTS / "branching.py"), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-2000:]
    contradictions = []
    for folder in sorted(tmp_path.iterdir()):
        program = read(folder / "model.pdmodel", folder / "model.pdiparams")
        try:
            straighten(program)
        except SegexportError:
            continue  # neither of the two gets to see it
        said = support_for(target, program)
        if (said.support != "no") != is_exported(target, program, tools):
            contradictions.append((folder.name, said.support, said.obstacles))
    assert contradictions == []


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_on_the_zoo(target: Target, tools: Toolchain, shared_dir: Path) -> None:
    contradictions = []
    for file in sorted((shared_dir / "zoo").glob("*.pdmodel")):
        program = read_graph(file, Program)
        program.params = {name: np.asarray(value) for name, value in zoo.seeded_params(program, 7).items()}
        said = support_for(target, program)
        if (said.support != "no") != is_exported(target, program, tools):
            contradictions.append((file.stem, said.support, said.obstacles))
    assert contradictions == []
