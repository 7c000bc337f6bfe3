"""The rewrites that bring a two-stage detector to ONNX, against Paddle's own operators."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import WorkerCrashed, WorkerFailed
from segexport.exporter.program import Program
from segexport.exporter.rewrites import rewrite_for

DIES = (WorkerCrashed, WorkerFailed)


def rewritten(program: Program, *names: str) -> Program:
    changed, notes = rewrite_for("onnx", program)
    assert {note.split()[0] for note in notes} == set(names)
    return changed


def assert_close(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-5) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.abs(a.astype(np.float64) - b).max() <= tolerance * max(np.abs(b).max(), 1.0)


@pytest.mark.parametrize("before", [20, 1000])
def test_proposals_to_nms(tools: Toolchain, before: int) -> None:
    graph, random = Graph(), np.random.default_rng(2)
    side, per_cell = 6, 3
    scores, deltas = graph.feed(1, per_cell, side, side), graph.feed(1, 4 * per_cell, side, side)
    size = graph.feed(1, 2)
    centres = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 1, 2) * 16.0
    halves = np.array([[12, 6], [8, 8], [6, 12]])
    anchors = np.concatenate([centres - halves, centres + halves], -1).reshape(-1, 4)
    boxes = graph.op(
        "generate_proposals_v2",
        {
            "Scores": scores,
            "BboxDeltas": deltas,
            "ImShape": size,
            "Anchors": graph.param(anchors),
            "Variances": graph.param(np.full_like(anchors, 0.5)),
        },
        {"RpnRois": (-1, 4), "RpnRoiProbs": (-1, 1), "RpnRoisNum": (-1,)},
        pre_nms_topN=before,
        post_nms_topN=12,
        nms_thresh=0.5,
        min_size=0.0,
        eta=1.0,
        pixel_offset=False,
    )
    op = graph.last()
    graph._program.vars[op.output("RpnRoisNum")].dims = (-1,)
    graph._program.vars[op.output("RpnRoisNum")].dtype = "int32"
    program = graph.program(boxes, op.output("RpnRoiProbs"))
    feed = [
        random.permutation(108).reshape(1, 3, 6, 6).astype(np.float32) / 108,
        random.normal(size=(1, 12, 6, 6)).astype(np.float32),
        np.array([[80, 72]], np.float32),
    ]
    with pytest.raises(DIES):
        tools.onnx(program, feed)
    reference = tools.paddle(program, feed)
    assert 5 < len(reference[0]) <= 12
    changed = rewritten(program, "proposals_to_nms")
    assert_close(tools.paddle(changed, feed), reference)
    assert_close(tools.onnx(changed, feed), reference)


@pytest.mark.parametrize("empty_level", [False, True])
def test_fpn_levels_to_indices(tools: Toolchain, empty_level: bool) -> None:
    graph = Graph()
    levels = [graph._program.add_var("rois", (-1, 4)) for _ in range(4)]
    numbers = [graph._program.add_var("number", (-1,), "int32") for _ in range(4)]
    boxes = graph.feed(8, 4)
    number = graph.op("cast", {"X": graph.feed(1)}, (1,), dtype="int32", in_dtype=5, out_dtype=2)
    restore = graph.op(
        "distribute_fpn_proposals",
        {"FpnRois": boxes, "RoisNum": number},
        {"RestoreIndex": (-1, 1)},
        dtype="int32",
        min_level=2,
        max_level=5,
        refer_level=4,
        refer_scale=224,
        pixel_offset=False,
    )
    graph.last().outputs |= {"MultiFpnRois": levels, "MultiLevelRoIsNum": numbers}
    program = graph.program(*levels, restore)
    sizes = np.array([30, 500, 100, 250, 150, 60, 300, 20 if empty_level else 1000], np.float32)
    if empty_level:
        sizes[1] = 400  # nothing for the last level
    corners = np.random.default_rng(1).uniform(0, 50, (8, 2))
    feed = [np.concatenate([corners, corners + sizes[:, None]], 1).astype(np.float32), np.array([8], np.float32)]
    with pytest.raises(DIES):
        tools.onnx(program, feed)
    changed = rewritten(program, "fpn_levels_to_indices", "small_bias_to_sum")
    reference = tools.paddle(program, feed)
    # floor(4 + log2(size / 224)), at least 2 and at most 5
    expected = np.clip(np.floor(4 + np.log2(sizes / 224)), 2, 5)
    assert [len(boxes) for boxes in reference[:4]] == [(expected == level).sum() for level in (2, 3, 4, 5)]
    if not empty_level:  # Paddle's own gather takes no empty list
        assert_close(tools.paddle(changed, feed), reference, 0)
    found = tools.onnx(changed, feed)
    assert_close(found[:3] + found[4:], reference[:3] + reference[4:], 0)
    assert found[3].shape == (0 if empty_level else len(reference[3]), 4)


def test_class_nms_to_shared_nms(tools: Toolchain) -> None:
    graph, random = Graph(), np.random.default_rng(4)
    boxes, scores = graph.feed(-1, 5, 4), graph.feed(-1, 5)
    number = graph.op("cast", {"X": graph.feed(1)}, (1,), dtype="int32", in_dtype=5, out_dtype=2)
    out = graph.op(
        "multiclass_nms3",
        {"BBoxes": boxes, "Scores": scores, "RoisNum": number},
        {"Out": (-1, 6), "Index": (-1, 1), "NmsRoisNum": (-1,)},
        background_label=5,
        score_threshold=0.05,
        nms_top_k=-1,
        nms_threshold=0.5,
        keep_top_k=20,
        nms_eta=1.0,
        normalized=True,
    )
    for slot in ("Index", "NmsRoisNum"):
        graph._program.vars[graph.last().output(slot)].dtype = "int32"
    program = graph.program(out, graph.last().output("NmsRoisNum"))
    corners = random.uniform(0, 60, (30, 5, 2))
    values = random.permutation(150).reshape(30, 5) / 150
    feed = [np.concatenate([corners, corners + random.uniform(20, 60, (30, 5, 2))], -1), values, np.array([30])]
    feed = [value.astype(np.float32) for value in feed]
    reference = tools.paddle(program, feed)
    assert len(reference[0]) == 20
    changed = rewritten(program, "class_nms_to_shared_nms")
    assert_close(tools.paddle(changed, feed), reference)
    assert_close(tools.onnx(changed, feed), reference)
