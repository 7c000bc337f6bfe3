"""Weights in 8 and 4 bits beyond ONNX: the file holds the integers of the ONNX export, and computes what that does."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from installed import require, require_worker
from workshop import Workshop

from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter.same_as_source import difference, made_inputs, outputs_of
from segexport.pipeline.registry import make_step, runtime_for, target_named
from segexport.pipeline.step import StepContext
from segexport.recipe.calibration import Calibration
from segexport.runtimes.base import RunOptions
from segexport.verdict import Verdict

PACKAGES = {"openvino": "openvino", "mnn": "MNN", "litert": "ai_edge_litert"}


@pytest.fixture
def workshop(tmp_path) -> Workshop:
    return Workshop(tmp_path)


def network(*, enlarges: bool):
    """Convolutions, a product with a matrix, and with `enlarges` a transposed convolution."""
    random, graph = np.random.default_rng(3), Graph()
    attributes = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
    attributes |= {"padding_algorithm": "EXPLICIT", "data_format": "NCHW"}
    doubles = {**attributes, "strides": [2, 2], "paddings": [0, 0], "output_size": [], "output_padding": []}

    def weight(*shape: int) -> str:
        return graph.param(random.normal(0, 0.3, shape).astype(np.float32))

    def convolved(value: str, given: int, made: int, side: int) -> str:
        inputs = {"Input": value, "Filter": weight(made, given, 3, 3)}
        return graph.op("conv2d", inputs, (1, made, side, side), slot="Output", **attributes)

    side = 16
    value = graph.op("relu", {"X": convolved(graph.feed(1, 3, side, side), 3, 8, side)}, (1, 8, side, side))
    value = convolved(value, 8, 12, side)
    if enlarges:
        side = 32
        inputs = {"Input": value, "Filter": weight(12, 12, 2, 2)}
        value = graph.op("conv2d_transpose", inputs, (1, 12, side, side), slot="Output", **doubles)
    value = graph.op("transpose2", {"X": value}, (1, side, side, 12), axis=[0, 2, 3, 1])
    inputs = {"X": value, "Y": weight(12, 128)}
    value = graph.op("matmul_v2", inputs, (1, side, side, 128), trans_x=False, trans_y=False)
    value = graph.op("transpose2", {"X": value}, (1, 128, side, side), axis=[0, 3, 1, 2])
    return graph.program(convolved(value, 128, 4, side))


def exported(workshop: Workshop, to: str, precision: str, *, enlarges: bool = False, **calibration):
    """The stored ONNX export, and that of the target."""
    require("paddle2onnx", "onnx", "onnxruntime")
    require_worker(PACKAGES[to])
    recipe = target_named(to).Recipe(
        to=to, precision=precision, calibration=Calibration(rounding="nearest", **calibration)
    )
    made = [workshop.imported(network(enlarges=enlarges), precision)]
    for step in target_named(to).steps(recipe):
        made.append(workshop.made(step, made[-1]))
    return made[-2], made[-1]


def distance(one, other) -> float:
    inputs = [made_inputs(one.manifest, 3)]
    ((expected,),), ((found,),) = (
        outputs_of(each, runtime_for(each.manifest.format), inputs, StepContext()) for each in (one, other)
    )
    return difference(expected, found)


@pytest.mark.parametrize(
    ("to", "precision", "limit"),
    [
        ("openvino", "w8", 1e-5),
        ("openvino", "w4", 1e-5),
        ("mnn", "w8", 1e-5),
        ("mnn", "w4", 1e-5),
        ("litert", "w8", 0.05),  # it rounds the inputs of products as well
    ],
)
def test_an_export_has_the_weights_of_the_onnx_export(workshop, to, precision, limit):
    stored, made = exported(workshop, to, precision)
    assert made.manifest.target.precision == stored.manifest.target.precision == precision
    assert distance(stored, made) < limit
    target, inputs = target_named(to), [made_inputs(made.manifest, 3)]
    check = target.audit(made, inputs, RunOptions(), runtime_for(made.manifest.format)).check
    assert check.verdict is Verdict.PASS
    kind = "int4" if precision == "w4" else "int8"
    assert check.details[f"operators_with_{kind}_weights"] >= 2


@pytest.mark.parametrize("to", ["openvino", "mnn"])
def test_four_bits_take_half_the_bytes_of_eight(workshop, to):
    """Of the weights: the graph takes as many in both. MNN packs small tables of 4 bits better still."""
    eight, four = (exported(workshop, to, precision, ends=4)[1] for precision in ("w8", "w4"))
    sizes = [sum(entry.size_bytes for entry in one.manifest.files) for one in (eight, four)]
    weights = 27 * 8 + 72 * 12 + 12 * 128 + 9 * 128 * 4
    assert sizes[0] - sizes[1] == pytest.approx(weights / 2, rel=0.3)


def test_the_ends_have_eight_bits_in_mnn_too(workshop):
    from segexport.exporter.to_mnn import operators

    _, made = exported(workshop, "mnn", "w4")
    assert [bits for _, _, bits in operators(made.file("model"), 60) if bits] == [8, 4, 4, 8]


def test_mnn_rounds_transposed_convolutions_by_itself(workshop):
    from segexport.exporter.to_mnn import operators

    stored, made = exported(workshop, "mnn", "w4", enlarges=True)
    bits = {kind: held for kind, _, held in operators(made.file("model"), 60) if kind.startswith("Deconv")}
    assert bits == {"Deconvolution": 8}
    assert any("rounded by itself" in note for note in made.manifest.lineage[-1].notes)
    assert 1e-4 < distance(stored, made) < 0.02  # 8 bits of weights that ONNX has in float


def test_openvino_takes_groups_of_weights(workshop):
    stored, made = exported(workshop, "openvino", "w4", group_size=8)
    assert distance(stored, made) < 1e-5


@pytest.mark.parametrize("to", ["mnn", "litert"])
def test_groups_of_weights_where_there_are_none(to):
    recipe = target_named(to).Recipe(to=to, precision="w8", calibration=Calibration(group_size=32))
    with pytest.raises(InputError, match="group_size is 32"):
        target_named(to).steps(recipe)


@pytest.mark.parametrize("to", ["onnx", "openvino", "mnn", "litert"])
def test_eight_bits_need_no_images_unless_they_are_calibrated(to):
    target = target_named(to)
    plain = target.steps(target.Recipe(to=to, precision="w8"))
    calibrated = target.steps(target.Recipe(to=to, precision="w8", calibration=Calibration()))
    assert [any(step.uses_data for step in steps) for steps in (plain, calibrated)] == [False, True]


def test_weights_of_four_bits_are_refused_by_litert(workshop):
    require_worker("ai_edge_litert")
    stored, _ = exported(workshop, "openvino", "w4")
    with pytest.raises(UnsupportedModelError, match="w4 already"):
        workshop.made(make_step("to_litert", {}), stored)
