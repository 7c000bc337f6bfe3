"""Branches and loops become straight programs that compute the same, in every runtime."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toolchain import Toolchain
from workshop import SIDE, Workshop

from segexport.errors import UnsupportedModelError
from segexport.exporter.mends import straighten
from segexport.exporter.program import Program, read
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import LITE_X86, ONNX

TAKEN, LEFT = "sides of branches on values computed in any case", "sides of branches that are never taken left out"
NOTES = {
    "LoopUntilItFits": ["1 loops written out"],
    "PadIfUneven": [f"1 {LEFT}"],
    "BranchOnValues": [f"2 {TAKEN}"],
    "OverwrittenInABranch": [f"2 {TAKEN}"],
    "BranchInABranch": [f"4 {TAKEN}"],
    "ChosenFlag": [f"2 {TAKEN}"],
    "LoopWithABranchOnValues": ["1 loops written out", f"6 {TAKEN}"],
    "CollectedInALoop": ["1 loops written out"],
}
ON_VALUES = ["BranchOnValues", "OverwrittenInABranch", "BranchInABranch", "ChosenFlag", "LoopWithABranchOnValues"]
OF_EITHER_SIDE = [  # bright and dark images take different sides
    [np.random.default_rng(seed).normal(mean, 1, (1, 3, SIDE, SIDE)).astype(np.float32)]
    for seed, mean in enumerate((-0.5, 0.0, 0.5))
]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("branching")
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("branching.py")), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder


def program_of(exports: Path, name: str) -> Program:
    return read(exports / name / "model.pdmodel", exports / name / "model.pdiparams")


@pytest.mark.parametrize("name", NOTES)
def test_the_straight_program_computes_the_same(name: str, exports: Path, tools: Toolchain) -> None:
    program = program_of(exports, name)
    assert len(program.blocks) > 1
    expected = [tools.paddle(program, feed)[0] for feed in OF_EITHER_SIDE]
    outputs = program.fetch_names
    assert straighten(program) == NOTES[name]
    assert len(program.blocks) == 1
    assert program.fetch_names == outputs
    written = [out for op in program.compute_ops() for out in op.output_names() if out not in program.params]
    assert len(written) == len(set(written))
    for feed, value in zip(OF_EITHER_SIDE, expected, strict=True):
        np.testing.assert_array_equal(tools.paddle(program, feed)[0], value)


@pytest.mark.parametrize("name", NOTES)
@pytest.mark.parametrize("target", [ONNX, LITE_X86])
def test_exports_compute_the_same(name: str, target: str, exports: Path, tools: Toolchain) -> None:
    program = program_of(exports, name)
    straighten(program)
    changed, _ = rewrite_for(target, program)
    for feed in OF_EITHER_SIDE:
        (expected,), (found,) = (
            tools.paddle(program, feed),
            (tools.onnx if target == ONNX else tools.lite)(changed, feed),
        )
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", [*ON_VALUES, "CollectedInALoop"])
def test_what_does_not_depend_on_the_size_needs_none(name: str, exports: Path, tools: Toolchain) -> None:
    program = program_of(exports, f"{name}-free")
    expected = [tools.paddle(program, feed)[0] for feed in OF_EITHER_SIDE]
    assert straighten(program) == NOTES[name]
    for feed, value in zip(OF_EITHER_SIDE, expected, strict=True):
        np.testing.assert_array_equal(tools.paddle(program, feed)[0], value)


@pytest.mark.parametrize(("name", "operator"), [("LoopUntilItFits", "while"), ("PadIfUneven", "select_input")])
def test_what_depends_on_a_free_size_wants_it_fixed(
    name: str, operator: str, exports: Path, workshop: Workshop
) -> None:
    folder = exports / f"{name}-free"
    with pytest.raises(UnsupportedModelError, match=rf"^{operator} \(layer behind conv2d_\d+\.w_0\)") as caught:
        workshop.imported(folder)
    assert caught.value.cause.endswith("or on the input's size, which is dynamic")
    assert caught.value.hint == "fix the size: --input-size WIDTHxHEIGHT"
    found = workshop.imported(folder, input_size=(SIDE, SIDE)).manifest
    assert set(NOTES[name]) < set(found.lineage[0].notes)
    assert found.outputs[0].shape == (1, 5, SIDE // 2, SIDE // 2)


@pytest.mark.parametrize("stated", ["input_shape", "transforms"])
def test_a_stated_size_is_fixed_where_the_network_needs_one(
    stated: str, exports: Path, workshop: Workshop, tools: Toolchain, tmp_path: Path
) -> None:
    """A table of positions fits one size, and is resized for any other: the network adds it in a branch."""
    name = "TableOfOneSize"
    folder = shutil.copytree(exports / f"{name}-free", tmp_path / stated)
    with pytest.raises(UnsupportedModelError, match=r"^select_input \(") as caught:
        workshop.imported(folder)
    assert caught.value.hint == "fix the size: --input-size WIDTHxHEIGHT"
    shape, resize = f"[1, 3, {SIDE}, {SIDE}]", f"{{type: Resize, target_size: [{SIDE}, {SIDE}]}}"
    given = f"input_shape: {shape}, transforms: []" if stated == "input_shape" else f"transforms: [{resize}]"
    (folder / "deploy.yaml").write_text(f"Deploy: {{model: model.pdmodel, params: model.pdiparams, {given}}}\n")
    found = workshop.imported(folder)
    assert found.manifest.image.shape == (1, 3, SIDE, SIDE)
    notes = " ".join(found.manifest.lineage[0].notes)
    assert "depends on its input's size: the stated one is fixed" in notes
    assert f"input fixed to {SIDE}x{SIDE}" in notes
    made = read(found.file("model"), found.file("params"))
    for feed in OF_EITHER_SIDE:
        (expected,) = tools.paddle(program_of(exports, f"{name}-free"), feed)
        np.testing.assert_array_equal(tools.paddle(made, feed)[0], expected)
    other = workshop.imported(folder, input_size=(SIDE * 2, SIDE)).manifest  # the other side of the branch
    assert other.image.shape == (1, 3, SIDE, SIDE * 2)


@pytest.mark.parametrize(
    ("name", "operator", "cause"),
    [
        ("LoopOnValues", "while", "how often it runs depends on the image"),
        ("SidesOfTwoSizes", "select_input", "which side is taken depends on the image, and they give sizes"),
    ],
)
def test_what_cannot_be_straight_is_named(
    name: str, operator: str, cause: str, exports: Path, workshop: Workshop
) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"^{operator} \(layer behind conv2d_\d+\.\w_0\)") as caught:
        workshop.imported(exports / name)
    assert caught.value.cause.startswith(cause)


def test_a_loop_that_never_ends_is_refused(exports: Path) -> None:
    program = program_of(exports, "LoopUntilItFits")
    inner = program.blocks[1]
    inner.ops = [op for op in inner.ops if op.type != "assign" or program.dtype(op.output("Out") or "") != "bool"]
    with pytest.raises(UnsupportedModelError) as caught:
        straighten(program)
    assert caught.value.cause == "it runs more than 1024 times"


def test_a_straight_program_is_left_alone(exports: Path) -> None:
    program = program_of(exports, "BranchOnValues")
    straighten(program)
    before = program.to_bytes()
    assert straighten(program) == []
    assert program.to_bytes() == before


def test_a_model_with_a_branch_passes_its_check(exports: Path, workshop: Workshop) -> None:
    from segexport.exporter.to_onnx import ToOnnx
    from segexport.verdict import Verdict

    folder = exports / "BranchOnValues"
    (folder / "deploy.yaml").write_text(
        "Deploy:\n  model: model.pdmodel\n  params: model.pdiparams\n  transforms: []\n"
    )
    source = workshop.imported(folder)
    assert f"2 {TAKEN}" in source.manifest.lineage[0].notes
    (found,) = workshop.checked(source, workshop.made(ToOnnx(), source))
    assert found.verdict is Verdict.PASS
    kinds = {op.type for op in read(source.file("model"), source.file("params")).ops}
    assert not kinds & {"conditional_block", "select_input"}
