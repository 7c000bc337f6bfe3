"""Costs against Paddle's own count and against counts by hand; verdicts against what the real tools did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from graphs import Graph

from segexport.exporter import program as programs
from segexport.exporter.cost import flops, parameter_count, peak_activation_bytes
from segexport.exporter.inspect import inspect, support_for
from segexport.exporter.program import read_graph
from segexport.exporter.shapes import fix_input_shape

# A net without residual additions: paddle.flops counts layers, and an addition of two tensors is no layer.
KNOWN_NET = """
import sys, paddle
from paddle import nn
def block(i, o, s, g=1): return [nn.Conv2D(i, o, 3, s, 1, groups=g), nn.BatchNorm2D(o), nn.ReLU()]
features = [*block(3, 16, 2), *block(16, 16, 1, 16), *block(16, 32, 2), nn.AvgPool2D(2)]
net = nn.Sequential(*features, nn.Flatten(), nn.Linear(512, 10))
net.eval()
print("FLOPS", paddle.flops(net, [1, 3, 32, 32]))
paddle.jit.save(paddle.jit.to_static(net, input_spec=[paddle.static.InputSpec([1, 3, 32, 32])]), sys.argv[1])
"""


def test_flops_are_those_of_paddle(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", KNOWN_NET, str(tmp_path / "net")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    expected = int(ended.stdout.split("FLOPS")[1])
    program = programs.read(tmp_path / "net.pdmodel", tmp_path / "net.pdiparams")
    assert flops(program) == pytest.approx(expected, rel=0.01)
    # 3*16*9+16, 16*9+16, 16*32*9+32, 512*10+10, and four vectors per BatchNorm
    assert parameter_count(program) == 448 + 160 + 4640 + 5130 + 4 * (16 + 16 + 32)


def test_peak_memory_by_hand() -> None:
    graph = Graph()
    wide = graph.op("relu", {"X": graph.feed(1, 8, 4, 4)}, (1, 8, 4, 4))
    narrow = graph.op("reduce_mean", {"X": wide}, (1, 8), dim=[2, 3])
    program = graph.program(narrow)
    # Two tensors of 8*4*4 floats at a time: the fed one is gone when the third is made.
    assert peak_activation_bytes(program) == 2 * 8 * 4 * 4 * 4


def test_free_sizes_leave_costs_open_until_they_are_given() -> None:
    graph = Graph()
    program = graph.program(graph.op("sigmoid", {"X": graph.feed(1, 3, -1, -1)}, (1, 3, -1, -1)))
    assert (inspect(program).flops, inspect(program).peak_activation_bytes) == (None, None)
    # the builder's own addition and the sigmoid: one per element each
    assert inspect(program, {"input": (1, 3, 4, 5)}).flops == 2 * 3 * 4 * 5
    assert program.shape("input") == (1, 3, -1, -1)
    assert fix_input_shape(program, {"input": (1, 3, 4, 5)}).outputs()[0].shape == (1, 3, 4, 5)


@pytest.mark.parametrize(
    ("axis", "keeps", "found"), [(-1, True, (1, 3, 4, 1)), (1, True, (1, 1, 4, 5)), (1, False, (1, 4, 5))]
)
def test_sizes_of_a_norm_follow_the_input(axis: int, keeps: bool, found: tuple[int, ...]) -> None:
    graph, free = Graph(), tuple(size if size < 4 else -1 for size in found)
    attrs = {"axis": axis, "keepdim": keeps, "asvector": False, "porder": 2.0, "epsilon": 1e-12}
    program = graph.program(graph.op("p_norm", {"X": graph.feed(1, 3, -1, -1)}, free, **attrs))
    assert fix_input_shape(program, {"input": (1, 3, 4, 5)}).outputs()[0].shape == found


def test_an_unknown_operator_is_named_with_its_layer() -> None:
    graph = Graph()
    image = graph.feed(1, 2)
    program = graph.program(graph.op("deformable_attention", {"X": image, "W": "weight"}, (1, 2)))
    for target in ("onnx", "paddle-lite arm", "paddle-lite x86"):
        found = support_for(target, program)
        assert found.support == "no"
        (obstacle,) = found.obstacles
        assert (obstacle.operator, obstacle.layer) == ("deformable_attention", "weight")
        assert "has no operator deformable_attention" in obstacle.reason


def test_a_layer_is_a_path_or_the_nearest_parameter() -> None:
    graph = Graph()
    image, weight = graph.feed(1, 2), graph.noise(2, 2)
    hidden = graph.op("matmul_v2", {"X": image, "Y": weight}, (1, 2))
    out = graph.op("deformable_attention", {"X": graph.op("relu", {"X": hidden}, (1, 2))}, (1, 2))
    program = graph.program(out)
    assert support_for("onnx", program).obstacles[0].layer == f"behind {weight}"
    next(op for op in program.ops if op.type == "deformable_attention").set_attr("op_namescope", "/decoder/attention/")
    assert support_for("onnx", program).obstacles[0].layer == "/decoder/attention/"


def test_a_refusal_of_a_rewrite_is_a_verdict() -> None:
    graph = Graph()
    attrs = {"adaptive": True, "global_pooling": False, "pooling_type": "max", "data_format": "NCHW"}
    program = graph.program(graph.op("pool2d", {"X": graph.feed(1, 2, -1, -1)}, (1, 2, 6, 6), ksize=[6, 6], **attrs))
    found = support_for("onnx", program)
    assert (found.support, found.obstacles[0].operator) == ("no", "pool2d")
    assert "Paddle itself treats these bins as windows" in found.obstacles[0].reason


@pytest.mark.shared
def test_what_of_the_zoo_each_export_takes(shared_dir: Path) -> None:
    """As measured: ncnn takes no windows that move the batch axis and no lists of objects."""
    missing = {}
    for path in sorted((shared_dir / "zoo").glob("*.pdmodel")):
        for found in inspect(read_graph(path)).targets:
            if found.support == "no":
                missing.setdefault(found.target, {})[path.stem] = {obstacle.operator for obstacle in found.obstacles}
    assert not [target for target in missing if target.startswith(("onnx", "paddle-lite", "openvino", "mnn"))]
    maskformers = {f"maskformer_{size}": {"transpose2"} for size in ("small", "tiny")}
    chosen = {"gather", "gather_nd", "greater_than"}
    of_objects = {"maskrcnn_r50_fpn_320": {"generate_proposals_v2", "multiclass_nms3", "top_k_v2", *chosen}}
    assert missing["ncnn"] == maskformers | of_objects
    assert missing["litert"].keys() == of_objects.keys()


def test_sizes_that_are_computed_name_the_remedy() -> None:
    graph = Graph()
    image, small = graph.feed(1, 2, -1, -1), graph.feed(1, 2, -1, -1)
    sizes = graph.op("shape", {"Input": small}, (4,), dtype="int32")
    sides = [
        graph.op("slice", {"Input": sizes}, (1,), dtype="int32", axes=[0], starts=[axis], ends=[axis + 1])
        for axis in (2, 3)
    ]
    attrs = {"adaptive": True, "pooling_type": "max", "strides": [1, 1], "paddings": [0, 0], "data_format": "NCHW"}
    out = graph.op("pool2d", {"X": image}, (1, 2, -1, -1), typed={"ksize": ("VARS", sides)}, **attrs)
    found = support_for("paddle-lite arm", graph.program(out))
    assert found.support == "no"
    assert {obstacle.operator for obstacle in found.obstacles} == {"pool2d"}
    assert "with a fixed input shape it becomes a constant" in found.obstacles[0].reason


@pytest.mark.shared
def test_bins_that_are_computed_are_rewritten(shared_dir: Path) -> None:
    free = read_graph(shared_dir / "models/espnet_cityscapes/export_argmax/model.pdmodel")
    assert support_for("paddle-lite arm", free).support == "after rewrites"
    fixed = fix_input_shape(free, {free.feed_names[0]: (1, 3, 64, 128)})
    assert support_for("paddle-lite arm", fixed).support == "after rewrites"
