"""The head is read off the graph: on real exports, and on small graphs whose answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from segexport.exporter.output_semantics import num_classes, recognise
from segexport.exporter.program import Attr, Block, Op, Program, Var, read_graph

REAL = [
    ("camvid_small/model", "logits", "NCHW", 11),
    ("espnet_cityscapes/export_logits/model", "logits", "NCHW", 19),
    ("espnet_cityscapes/export_argmax/model", "class_index", "NHW", 19),
    ("pphumanseg_lite/export_softmax/model", "probability", "NCHW", 2),
]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "semantics", "layout", "classes"), REAL)
def test_real_exports(shared_dir: Path, name: str, semantics: str, layout: str, classes: int) -> None:
    program = read_graph(shared_dir / "models" / f"{name}.pdmodel")
    (output,) = program.outputs()
    assert (output.semantics, output.layout, num_classes(program)) == (semantics, layout, classes)


@pytest.mark.shared
def test_every_graph_of_the_zoo_has_logits(shared_dir: Path) -> None:
    paths = sorted((shared_dir / "zoo").glob("*.pdmodel"))
    assert len(paths) > 40
    for path in paths:
        program = read_graph(path)
        outputs = program.outputs()
        if len(outputs) > 1:  # detections, whose rows are no pixels
            assert {output.semantics for output in outputs} == {"other"}, path.name
        else:
            found = (outputs[0].semantics, outputs[0].layout, num_classes(program))
            assert found == ("logits", "NCHW", outputs[0].shape[1]), path.name


def chain(*ops: tuple[str, dict, tuple[int, ...], str]) -> Program:
    """A convolution to 7 channels of 4x6 pixels, then the given (type, attributes, output sizes, dtype)."""
    block = Block(vars={name: Var(name, kind) for name, kind in (("feed", "FEED_MINIBATCH"), ("fetch", "FETCH_LIST"))})
    program = Program([block], {})
    program.vars["image"] = Var("image", dtype="float32", dims=(1, 3, 4, 6))
    program.vars["w"] = Var("w", dtype="float32", dims=(7, 3, 1, 1), persistable=True)
    program.vars["v0"] = Var("v0", dtype="float32", dims=(1, 7, 4, 6))
    program.ops = [
        Op("feed", {"X": ["feed"]}, {"Out": ["image"]}, {"col": Attr("INT", 0)}),
        Op("conv2d", {"Input": ["image"], "Filter": ["w"]}, {"Output": ["v0"]}),
    ]
    for number, (kind, attrs, dims, dtype) in enumerate(ops, start=1):
        program.vars[f"v{number}"] = Var(f"v{number}", dtype=dtype, dims=dims)
        op = Op(kind, {"X": [f"v{number - 1}"]}, {"Out": [f"v{number}"]})
        for key, value in attrs.items():
            op.set_attr(key, value)
        program.ops.append(op)
    program.ops.append(Op("fetch", {"X": [f"v{len(ops)}"]}, {"Out": ["fetch"]}, {"col": Attr("INT", 0)}))
    program.verify()
    return program


IDENTITY = ("scale", {"scale": 1.0, "bias": 0.0})
CASES = [
    ([], ("logits", "NCHW", 7)),
    ([("transpose2", {"axis": [0, 2, 3, 1]}, (1, 4, 6, 7), "float32")], ("logits", "NHWC", 7)),
    (
        [("softmax", {"axis": 1}, (1, 7, 4, 6), "float32"), (*IDENTITY, (1, 7, 4, 6), "float32")],
        ("probability", "NCHW", 7),
    ),
    ([("arg_max", {"axis": 1, "keepdims": False}, (1, 4, 6), "int64")], ("class_index", "NHW", 7)),
    ([("arg_max", {"axis": 1, "keepdims": True}, (1, 1, 4, 6), "int64")], ("class_index", "NCHW", 7)),
    (
        [
            ("transpose2", {"axis": [0, 2, 3, 1]}, (1, 4, 6, 7), "float32"),
            ("arg_max", {"axis": -1, "keepdims": False}, (1, 4, 6), "int64"),
            ("squeeze2", {"axes": [0]}, (4, 6), "int64"),
            ("cast", {"in_dtype": 3, "out_dtype": 2}, (4, 6), "int32"),
        ],
        ("class_index", "HW", 7),
    ),
    (
        [
            ("arg_max", {"axis": 1, "keepdims": False}, (1, 4, 6), "int64"),
            ("unsqueeze2", {"axes": [1]}, (1, 1, 4, 6), "int64"),
            ("nearest_interp_v2", {"data_layout": "NCHW"}, (1, 1, 8, 12), "int64"),
        ],
        ("class_index", "NCHW", 7),
    ),
    (
        [("arg_max", {"axis": 1}, (1, 4, 6), "int64"), ("scale", {"scale": 2.0}, (1, 4, 6), "int64")],
        ("other", "NHW", 0),
    ),
    ([("sigmoid", {}, (1, 7, 4, 6), "float32")], ("probability", "NCHW", 7)),
    ([("reduce_mean", {"dim": [2, 3]}, (1, 7), "float32")], ("other", "", 0)),
]


@pytest.mark.parametrize(("ops", "expected"), CASES)
def test_small_graphs(ops: list, expected: tuple[str, str, int]) -> None:
    program = chain(*ops)
    found = recognise(program, program.fetch_names[0])
    assert (found.semantics, found.layout, found.num_classes) == expected
