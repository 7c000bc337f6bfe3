"""Each rewrite on a small program: without it the real tool fails as recorded, with it the results are Paddle's."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError, WorkerCrashed, WorkerFailed
from segexport.exporter.program import Attr, Program
from segexport.exporter.rewrites import REWRITES, rewrite_for
from segexport.exporter.shapes import fix_input_shape

LITE_X86, LITE_ARM, ONNX = "paddle-lite x86", "paddle-lite arm", "onnx"
DIES = (WorkerCrashed, WorkerFailed)


def noise(*dims: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=dims).astype(np.float32)


def rewritten(program: Program, target: str, *names: str) -> Program:
    """The rewritten program; exactly the named rewrites must have run."""
    changed, notes = rewrite_for(target, program)
    assert {note.split()[0] for note in notes} == set(names)
    return changed


def assert_close(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-5) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.abs(a.astype(np.float64) - b).max() <= tolerance * max(np.abs(b).max(), 1e-30)


def test_names_are_unique() -> None:
    for target in (LITE_ARM, LITE_X86, ONNX):
        names = [rewrite.name for rewrite in REWRITES if target in rewrite.targets]
        assert len(set(names)) == len(names)


def test_a_program_that_needs_nothing_is_left_alone() -> None:
    graph = Graph()
    program = graph.program(graph.op("relu", {"X": graph.feed(1, 3, 4, 4)}, (1, 3, 4, 4)))
    for target in (LITE_ARM, LITE_X86, ONNX):
        changed, notes = rewrite_for(target, program)
        assert notes == []
        assert changed.to_bytes() == program.to_bytes()


def test_relu6_threshold(tools: Toolchain) -> None:
    graph = Graph()
    program = graph.program(graph.op("relu6", {"X": graph.feed(1, 2, 3, 4)}, (1, 2, 3, 4)))
    feed = [noise(1, 2, 3, 4) * 9]
    with pytest.raises(WorkerCrashed, match="SIGABRT"):
        tools.opt(program, "arm")
    for target in (LITE_ARM, LITE_X86):
        changed = rewritten(program, target, "relu6_threshold")
        assert tools.opt(changed, target.split()[1]).stat().st_size > 0
    reference = tools.paddle(program, feed)
    assert_close(tools.paddle(changed, feed), reference, 0)
    assert_close(tools.lite(changed, feed), reference)


def test_flatten_xshape(tools: Toolchain) -> None:
    graph = Graph()
    flat = graph.op("flatten_contiguous_range", {"X": graph.feed(1, 2, 3, 4)}, (1, 2, 12), start_axis=2, stop_axis=3)
    program, feed = graph.program(flat), [noise(1, 2, 3, 4)]
    with pytest.raises(WorkerCrashed, match=r"SIG(SEGV|ABRT)"):
        tools.opt(program, "arm")
    changed = rewritten(program, LITE_X86, "flatten_xshape")
    reference = tools.paddle(program, feed)
    assert_close(tools.paddle(changed, feed), reference, 0)
    assert_close(tools.lite(changed, feed), reference, 0)


def test_bmm_to_matmul(tools: Toolchain) -> None:
    graph = Graph()
    product = graph.op("bmm", {"X": graph.feed(2, 3, 4), "Y": graph.feed(2, 4, 5)}, (2, 3, 5))
    program, feed = graph.program(product), [noise(2, 3, 4), noise(2, 4, 5)]
    with pytest.raises(WorkerCrashed) as caught:
        tools.opt(program, "arm")
    assert "bmm" in str(caught.value)
    changed = rewritten(program, LITE_X86, "bmm_to_matmul")
    reference = tools.paddle(program, feed)
    assert_close(tools.paddle(changed, feed), reference)
    assert_close(tools.lite(changed, feed), reference)


@pytest.mark.parametrize("corners", [False, True])
def test_linear_interp_to_bilinear(tools: Toolchain, corners: bool) -> None:
    graph = Graph()
    attrs = {"data_layout": "NCHW", "interp_method": "linear", "out_d": -1, "out_h": -1, "out_w": 11, "align_mode": 0}
    typed = {"scale": ("FLOATS", [])}
    source = graph.feed(1, 2, 5)
    out = graph.op("linear_interp_v2", {"X": source}, (1, 2, 11), typed=typed, align_corners=corners, **attrs)
    program, feed = graph.program(out), [noise(1, 2, 5)]
    with pytest.raises(WorkerCrashed) as caught:
        tools.opt(program, "x86")
    assert "linear_interp_v2" in str(caught.value)
    changed = rewritten(program, LITE_X86, "linear_interp_to_bilinear")
    reference = tools.paddle(program, feed)
    assert_close(tools.paddle(changed, feed), reference)
    assert_close(tools.lite(changed, feed), reference)
    assert rewrite_for(LITE_ARM, program)[1] == rewrite_for(LITE_X86, program)[1]


@pytest.mark.parametrize("slot", ["SizeTensor", "OutSize"])
@pytest.mark.parametrize("is_table", [True, False])
def test_linear_interp_to_a_computed_width(tools: Toolchain, slot: str, is_table: bool) -> None:
    """A table, or a line of dynamic width, is resized to the width of another line."""
    graph = Graph()
    like = graph.feed(1, 2, -1)
    sizes = graph.op("shape", {"Input": like}, (3,), dtype="int32")
    cut = {"axes": [0], "starts": [2], "ends": [3], "infer_flags": [1], "typed": {"decrease_axis": ("INTS", [])}}
    width = graph.op("slice", {"Input": sizes}, (1,), dtype="int32", **cut)
    attrs = {"data_layout": "NCHW", "interp_method": "linear", "out_d": -1, "out_h": -1, "out_w": -1, "align_mode": 0}
    attrs |= {"align_corners": False, "typed": {"scale": ("FLOATS", [])}}
    lines = [] if is_table else [graph.feed(1, 2, -1)]
    source = graph.noise(1, 2, 16) if is_table else lines[0]
    found = graph.op("linear_interp_v2", {"X": source, slot: width}, (1, 2, -1), **attrs)
    program = graph.program(graph.op("elementwise_add", {"X": like, "Y": found}, (1, 2, -1), axis=-1))
    changed = rewritten(program, LITE_X86, "linear_interp_to_bilinear")
    for new_width in (7, 16, 37):
        feed = [noise(1, 2, new_width), *(noise(1, 2, 16) for _ in lines)]
        reference = tools.paddle(program, feed)
        assert_close(tools.paddle(changed, feed), reference)
        assert_close(tools.lite(changed, feed), reference)


EINSUMS = [
    ("lbqc,bchw->lbqhw", (3, 1, 4, 5), (1, 5, 2, 6), (3, 1, 4, 2, 6)),
    ("qc,qhw->chw", (4, 3), (4, 2, 5), (3, 2, 5)),
    ("bqc,bchw->bqhw", (2, 4, 5), (2, 5, 2, 3), (2, 4, 2, 3)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 4, 6)),
    ("ij,kj->ki", (3, 4), (5, 4), (5, 3)),
]


@pytest.mark.parametrize(("equation", "a", "b", "out"), EINSUMS)
def test_einsum_to_matmul(tools: Toolchain, equation: str, a: tuple, b: tuple, out: tuple) -> None:
    graph = Graph()
    dims = {"Out": out}
    result = graph.op("einsum", {"Operands": [graph.feed(*a), graph.feed(*b)]}, dims, equation=equation)
    program, feed = graph.program(result), [noise(*a), noise(*b)]
    with pytest.raises(WorkerCrashed):
        tools.opt(program, "arm")
    changed = rewritten(program, LITE_X86, "einsum_to_matmul")
    reference = [np.einsum(equation, *feed)]
    assert_close(tools.paddle(changed, feed), reference)
    assert_close(tools.lite(changed, feed), reference)
    assert_close(tools.onnx(rewrite_for(ONNX, program)[0], feed), reference)


@pytest.mark.parametrize("equation", ["bij->bji", "ij,jk->k", "ii,ij->j", "...i,...i->..."])
def test_other_einsums_are_left_alone(equation: str) -> None:
    graph = Graph()
    operands = [graph.feed(4, 4) for _ in range(equation.count(",") + 1)]
    program = graph.program(graph.op("einsum", {"Operands": operands}, (4,), equation=equation))
    assert rewrite_for(LITE_ARM, program)[1] == []


def test_fold_constants_takes_set_value_out(tools: Toolchain) -> None:
    graph = Graph()
    start = graph.op(
        "fill_constant", {}, (1, 4, 4, 1), typed={"shape": ("LONGS", [1, 4, 4, 1])}, dtype="float32", value=0.0
    )
    graph.last().set_attr("dtype", 5)
    graph.last().set_attr("str_value", "")
    attrs = {"axes": [1, 2], "starts": [0, -2], "ends": [-1, 2**31 - 1], "steps": [1, 1]}
    lists = {name: ("LONGS", value) for name, value in attrs.items()}
    empty = {name: ("LONGS", []) for name in ("decrease_axes", "none_axes")}
    typed = {**lists, **empty, "shape": ("LONGS", [1]), "values": ("SCALARS", [3.0])}
    mask = graph.op("set_value", {"Input": start}, (1, 4, 4, 1), typed=typed)
    graph.last().set_attr("dtype", 5)
    total = graph.op("elementwise_add", {"X": graph.feed(1, 4, 4, 1), "Y": mask}, (1, 4, 4, 1), axis=-1)
    program, feed = graph.program(total), [noise(1, 4, 4, 1)]
    with pytest.raises(DIES):
        tools.opt(program, "arm")
    with pytest.raises(DIES):
        tools.onnx(program, feed)
    changed = rewritten(program, LITE_X86, "fold_constants")
    assert [op.type for op in changed.compute_ops()] == ["elementwise_add", "elementwise_add"]
    expected = feed[0].copy()
    expected[:, 0:-1, -2:] += 3
    assert_close(tools.paddle(program, feed), [expected])
    assert_close(tools.paddle(changed, feed), [expected])
    assert_close(tools.lite(changed, feed), [expected])
    assert_close(tools.onnx(rewrite_for(ONNX, program)[0], feed), [expected])


def test_set_value_attributes(tools: Toolchain) -> None:
    graph = Graph()
    attrs = {"axes": [1], "starts": [1], "ends": [3], "steps": [1], "decrease_axes": [], "none_axes": [], "shape": [1]}
    typed = {name: ("LONGS", value) for name, value in attrs.items()} | {"values": ("SCALARS", [3.0])}
    program = graph.program(graph.op("set_value", {"Input": graph.feed(2, 4)}, (2, 4), typed=typed, dtype="float32"))
    next(op for op in program.ops if op.type == "set_value").set_attr("dtype", 5)
    feed = [noise(2, 4)]
    expected = feed[0].copy()
    expected[:, 1:3] = 3
    with pytest.raises(WorkerCrashed, match="SIGABRT"):
        tools.onnx(program, feed)
    changed = rewritten(program, LITE_X86, "set_value_attributes")
    assert_close(tools.paddle(program, feed), [expected], 0)
    # Paddle 2.6 itself reads the newer form only, so the rewritten program cannot be run there.
    assert_close(tools.lite(changed, feed), [expected], 0)
    assert_close(tools.onnx(rewrite_for(ONNX, program)[0], feed), [expected], 0)


def test_a_constant_that_would_blow_the_model_up_is_not_folded() -> None:
    graph = Graph()
    huge = (64, 1024, 1024)
    filled = graph.op("fill_constant", {}, huge, typed={"shape": ("LONGS", list(huge))}, value=1.0, str_value="")
    graph.last().set_attr("dtype", 5)
    program = graph.program(graph.op("elementwise_add", {"X": graph.feed(1), "Y": filled}, huge, axis=-1))
    assert rewrite_for(ONNX, program)[1] == []


def test_constant_arguments_of_a_resize(tools: Toolchain) -> None:
    graph = Graph()
    sizes = [graph.param([6], "int32"), graph.param([10], "int32")]
    attrs = {"data_layout": "NCHW", "interp_method": "bilinear", "out_d": -1, "out_h": -1, "out_w": -1}
    out = graph.op(
        "bilinear_interp_v2",
        {"X": graph.feed(1, 2, 3, 5), "SizeTensor": sizes},
        (1, 2, 6, 10),
        typed={"scale": ("FLOATS", [])},
        align_corners=False,
        align_mode=0,
        **attrs,
    )
    program, feed = graph.program(out), [noise(1, 2, 3, 5)]
    changed = rewritten(program, LITE_X86, "constant_arguments")
    resize = next(op for op in changed.ops if op.type == "bilinear_interp_v2")
    assert (resize.attr("out_h"), resize.attr("out_w"), list(resize.inputs)) == (6, 10, ["X"])
    reference = tools.paddle(program, feed)
    assert_close(tools.paddle(changed, feed), reference, 0)
    assert_close(tools.lite(changed, feed), reference)


@pytest.mark.parametrize("align_mode", [0, 1])
@pytest.mark.parametrize("factors", [[0.5, 0.5], [0.25, 1.0]])
def test_a_shrink_of_dynamic_size(tools: Toolchain, factors: list[float], align_mode: int) -> None:
    """Sizes that the factor divides, and sizes that leave rows over."""
    graph = Graph()
    attrs = {"data_layout": "NCHW", "interp_method": "bilinear", "out_d": -1, "out_h": -1, "out_w": -1}
    attrs |= {"align_corners": False, "align_mode": align_mode, "typed": {"scale": ("FLOATS", factors)}}
    program = graph.program(graph.op("bilinear_interp_v2", {"X": graph.feed(1, 2, -1, -1)}, (1, 2, -1, -1), **attrs))
    changed = rewritten(program, LITE_X86, "shrink_of_whole_steps", "floor_division")
    for height, width in ((8, 12), (7, 5), (11, 13), (4, 9)):
        feed = [noise(1, 2, height, width)]
        reference = tools.paddle(program, feed)
        assert_close(tools.paddle(changed, feed), reference)
        assert_close(tools.lite(changed, feed), reference)


def test_broadcast_tensors(tools: Toolchain) -> None:
    graph = Graph()
    a, b = graph.feed(1, 3, 1), graph.feed(2, 3, 4)
    first = graph.op("broadcast_tensors", {"X": [a, b]}, (2, 3, 4))
    op = graph.last()
    second = graph._program.add_var("value", (2, 3, 4))
    op.outputs["Out"].append(second)
    out = graph.op("elementwise_mul", {"X": first, "Y": second}, (2, 3, 4), axis=-1)
    program, feed = graph.program(out), [noise(1, 3, 1), noise(2, 3, 4)]
    with pytest.raises(WorkerCrashed):
        tools.opt(program, "arm")
    with pytest.raises(DIES):
        tools.onnx(program, feed)
    changed = rewritten(program, LITE_X86, "broadcast_tensors")
    assert_close(tools.paddle(changed, feed), [feed[0] * feed[1]])
    assert_close(tools.lite(changed, feed), [feed[0] * feed[1]])
    assert_close(tools.onnx(rewrite_for(ONNX, program)[0], feed), [feed[0] * feed[1]])


def test_comparison_attributes(tools: Toolchain) -> None:
    graph = Graph()
    hit = graph.op("greater_equal", {"X": graph.feed(2, 3), "Y": graph.feed(2, 3)}, (2, 3), dtype="bool", axis=-1)
    number = graph.op("cast", {"X": hit}, (2, 3), in_dtype=0, out_dtype=5)
    program, feed = graph.program(number), [noise(2, 3), noise(2, 3)[::-1].copy()]
    with pytest.raises(WorkerCrashed, match="SIGABRT") as caught:
        tools.opt(program, "arm")
    assert "force_cpu" in str(caught.value)
    changed = rewritten(program, LITE_X86, "comparison_attributes")
    expected = [(feed[0] >= feed[1]).astype(np.float32)]
    assert_close(tools.paddle(changed, feed), expected, 0)
    assert_close(tools.lite(changed, feed), expected, 0)


def pool(size: int, bins: int, **extra: object) -> Program:
    graph = Graph()
    attrs = {"adaptive": True, "ceil_mode": False, "data_format": "NCHW", "exclusive": True, "global_pooling": False}
    attrs |= {"padding_algorithm": "EXPLICIT", "paddings": [0, 0], "pooling_type": "avg", "strides": [1, 1]} | extra
    return graph.program(
        graph.op("pool2d", {"X": graph.feed(1, 2, size, size)}, (1, 2, bins, bins), ksize=[bins, bins], **attrs)
    )


def test_adaptive_pool_to_matmul(tools: Toolchain) -> None:
    program, feed = pool(16, 6), [noise(1, 2, 16, 16)]
    reference = tools.paddle(program, feed)
    # Silently wrong: another size, or other values.
    wrong = tools.onnx(program, feed)[0]
    assert wrong.shape != reference[0].shape or np.abs(wrong - reference[0]).max() > 0.05
    changed = rewritten(program, ONNX, "adaptive_pool_to_matmul")
    assert_close(tools.paddle(changed, feed), reference)
    assert_close(tools.onnx(changed, feed), reference)
    assert rewrite_for(LITE_ARM, program)[1] == []  # Paddle-Lite's own pooling is right
    assert_close(tools.lite(program, feed), reference)


def test_adaptive_pool_that_divides_needs_nothing(tools: Toolchain) -> None:
    program, feed = pool(12, 3), [noise(1, 2, 12, 12)]
    assert rewrite_for(ONNX, program)[1] == []
    assert_close(tools.onnx(program, feed), tools.paddle(program, feed))


@pytest.mark.parametrize("bins", [2, 6])
def test_adaptive_pool_of_free_sizes(tools: Toolchain, bins: int) -> None:
    program = pool(-1, bins)
    changed = rewritten(program, ONNX, "adaptive_pool_to_matmul")
    for height, width in ((16, 16), (13, 21)):
        feed = [noise(1, 2, height, width)]
        reference = tools.paddle(program, feed)
        assert reference[0].shape == (1, 2, bins, bins)
        assert_close(tools.paddle(changed, feed), reference)
        assert_close(tools.onnx(changed, feed), reference)


def test_adaptive_pool_that_would_come_out_wrong_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"pool2d \(max\) into 6x6 adaptive bins"):
        rewrite_for(ONNX, pool(16, 6, pooling_type="max"))


def upsampling(**chosen: list[int]) -> Program:
    graph = Graph()
    attrs = {"strides": [2, 2], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    typed = {name: ("INTS", chosen.get(name, [])) for name in ("output_size", "output_padding")}
    inputs = {"Input": graph.feed(1, 3, 4, 4), "Filter": graph.noise(3, 5, 3, 3)}
    return graph.program(
        graph.op(
            "conv2d_transpose", inputs, (1, 5, 8, 8), slot="Output", typed=typed, padding_algorithm="EXPLICIT", **attrs
        )
    )


def test_transposed_conv_padding(tools: Toolchain) -> None:
    program, feed = upsampling(output_size=[8, 8]), [noise(1, 3, 4, 4)]
    reference = tools.paddle(program, feed)
    assert reference[0].shape == (1, 5, 8, 8)
    assert tools.onnx(program, feed)[0].shape == (1, 5, 7, 7)  # silently short
    changed = rewritten(program, ONNX, "transposed_conv_padding")
    assert_close(tools.paddle(changed, feed), reference)
    assert_close(tools.onnx(changed, feed), reference)
    assert_close(tools.lite(rewrite_for(LITE_X86, program)[0], feed), reference)


def test_an_output_padding_needs_nothing(tools: Toolchain) -> None:
    program, feed = upsampling(output_padding=[1, 1]), [noise(1, 3, 4, 4)]
    assert rewrite_for(ONNX, program)[1] == rewrite_for(LITE_X86, program)[1] == []
    reference = tools.paddle(program, feed)
    assert_close(tools.onnx(program, feed), reference)
    assert_close(tools.lite(program, feed), reference)


def test_unpool_to_arithmetic(tools: Toolchain) -> None:
    graph = Graph()
    image, other = graph.feed(1, 3, 6, 8), graph.feed(1, 3, 3, 4)
    window = {"ksize": [2, 2], "strides": [2, 2], "paddings": [0, 0]}
    dims = {"Out": (1, 3, 3, 4), "Mask": (1, 3, 3, 4)}
    graph.op("max_pool2d_with_index", {"X": image}, dims, adaptive=False, global_pooling=False, **window)
    indices = graph.last().output("Mask")
    graph._program.vars[indices].dtype = "int32"
    out = graph.op(
        "unpool",
        {"X": other, "Indices": indices},
        (1, 3, 6, 8),
        data_format="NCHW",
        output_size=[6, 8],
        unpooling_type="max",
        **window,
    )
    program = graph.program(out)
    ties = np.round(noise(1, 3, 6, 8))  # many equal maxima: Paddle takes the first
    feed = [ties, noise(1, 3, 3, 4)]
    with pytest.raises(WorkerCrashed) as caught:
        tools.opt(program, "arm")
    assert "unpool" in str(caught.value)
    with pytest.raises(DIES):
        tools.onnx(program, feed)
    reference = tools.paddle(program, feed)
    assert np.count_nonzero(reference[0]) == 36
    changed = rewritten(program, LITE_X86, "unpool_to_arithmetic", "comparison_attributes")
    assert_close(tools.paddle(changed, feed), reference, 0)
    assert_close(tools.lite(changed, feed), reference, 0)
    assert_close(tools.onnx(rewrite_for(ONNX, program)[0], feed), reference, 0)


def test_zero_dim_constants(tools: Toolchain) -> None:
    graph = Graph()
    threshold = graph.param(0.25)
    attrs = {"axis": -1, "force_cpu": False}
    hit = graph.op("greater_than", {"X": graph.feed(5), "Y": threshold}, (5,), dtype="bool", **attrs)
    number = graph.op("cast", {"X": hit}, (5,), in_dtype=0, out_dtype=5)
    program, feed = graph.program(number), [noise(5)]
    with pytest.raises(WorkerCrashed, match="SIGABRT"):
        tools.lite(program, feed)
    changed = rewritten(program, LITE_X86, "zero_dim_constants")
    expected = [(feed[0] > 0.25).astype(np.float32)]
    assert_close(tools.paddle(program, feed), expected, 0)
    assert_close(tools.paddle(changed, feed), expected, 0)
    assert_close(tools.lite(changed, feed), expected, 0)


def test_integers_as_floats(tools: Toolchain) -> None:
    graph = Graph()
    numbers = graph.feed(4)
    whole = graph.op("cast", {"X": numbers}, (4,), dtype="int32", in_dtype=5, out_dtype=2)
    limit = graph.param([3], "int32")
    low = graph.op("elementwise_min", {"X": whole, "Y": limit}, (4,), dtype="int32", axis=-1)
    program = graph.program(graph.op("cast", {"X": low}, (4,), in_dtype=2, out_dtype=5))
    with pytest.raises(WorkerCrashed) as caught:
        tools.opt(program, "arm")
    assert "elementwise_min" in str(caught.value)
    changed = rewritten(program, LITE_ARM, "integers_as_floats")
    assert tools.opt(changed, "arm").stat().st_size > 0
    feed = [np.array([1, 7, 3, -2], np.float32)]
    assert_close(tools.paddle(changed, feed), [np.array([1, 3, 3, -2])], 0)
    assert_close(tools.lite(changed, feed), [np.array([1, 3, 3, -2])], 0)


def test_int32_mask(tools: Toolchain) -> None:
    graph = Graph()
    typed = {"axis": ("LONG", 1), "dtype": ("INT", 3)}
    attrs = {"keepdims": False, "flatten": False}
    mask = graph.op("arg_max", {"X": graph.feed(1, 4, 3, 5)}, (1, 3, 5), dtype="int64", typed=typed, **attrs)
    program, feed = graph.program(mask), [noise(1, 4, 3, 5)]
    (reference,) = tools.paddle(program, feed)
    assert reference.dtype == np.int64
    for target, tool in ((ONNX, tools.onnx), (LITE_X86, tools.lite)):
        (found,) = tool(rewritten(program, target, "int32_mask"), feed)
        assert found.dtype == np.int32
        assert (found == reference).all()


def test_gather_by_list(tools: Toolchain) -> None:
    graph = Graph()
    index = graph.op("cast", {"X": graph.feed(2, 1)}, (2, 1), dtype="int32", in_dtype=5, out_dtype=2)
    rows = graph.op("gather", {"X": graph.feed(5, 3), "Index": index}, (2, 3), axis=0)
    program, feed = graph.program(rows), [np.array([[4], [1]], np.float32), noise(5, 3)]
    reference = tools.paddle(program, feed)
    assert_close(reference, [feed[1][[4, 1]]], 0)
    assert tools.onnx(program, feed)[0].shape == (2, 1, 3)  # silently of another rank
    changed = rewritten(program, ONNX, "gather_by_list")
    assert_close(tools.paddle(changed, feed), reference, 0)
    assert_close(tools.onnx(changed, feed), reference, 0)


def test_an_unpool_that_takes_its_size_from_what_was_pooled(tools: Toolchain) -> None:
    """An export of dynamic size names tensors in `output_size`, in place of numbers."""
    graph = Graph()
    image, other = graph.feed(1, 3, -1, -1), graph.feed(1, 3, -1, -1)
    window = {"ksize": [2, 2], "strides": [2, 2], "paddings": [0, 0]}
    dims = {"Out": (1, 3, -1, -1), "Mask": (1, 3, -1, -1)}
    graph.op("max_pool2d_with_index", {"X": image}, dims, adaptive=False, global_pooling=False, **window)
    indices = graph.last().output("Mask")
    graph._program.vars[indices].dtype = "int32"
    sizes = graph.op("shape", {"Input": image}, (4,), dtype="int32")
    sides = [
        graph.op("slice", {"Input": sizes}, (), dtype="int32", axes=[0], starts=[axis], ends=[axis + 1])
        for axis in (2, 3)
    ]
    unpool = {"X": other, "Indices": indices}
    out = graph.op("unpool", unpool, (1, 3, -1, -1), data_format="NCHW", unpooling_type="max", **window)
    graph.last().attrs["output_size"] = Attr("VARS", sides)
    program = graph.program(out)
    names = program.feed_names
    fixed = fix_input_shape(program, {names[0]: (1, 3, 6, 8), names[1]: (1, 3, 3, 4)})
    feed = [np.round(noise(1, 3, 6, 8)), noise(1, 3, 3, 4)]
    (reference,) = tools.paddle(fixed, feed)
    assert np.count_nonzero(reference) == 36
    changed = rewritten(
        program, LITE_X86, "unpool_to_arithmetic", "comparison_of_row_and_column", "comparison_attributes"
    )
    assert_close(tools.paddle(changed, feed), [reference], 0)
