"""Samples of every tensor of an ONNX model, which names ncnn's tensors."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("importable_workers")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def model(path):
    """A chain with a long skip, a constant, a tensor of integers, a computed size, an output of no reader, a branch."""
    from onnx import TensorProto, helper, numpy_helper

    def then(name: str):
        node = helper.make_node("Add", ["a", name], [f"{name}.sum"], f"{name}.add")
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(f"{name}.sum", TensorProto.FLOAT, None)]
        )

    nodes = [
        helper.make_node("Mul", ["x", "weight"], ["a"], "a"),
        helper.make_node("Relu", ["a"], ["b"], "b"),
        helper.make_node("Shape", ["b"], ["shape"], "shape"),
        helper.make_node("Split", ["b"], ["c", "unread"], "c", axis=1),
        helper.make_node("Exp", ["c"], ["d"], "d"),
        helper.make_node("If", ["yes"], ["e"], "e", then_branch=then("b"), else_branch=then("x")),
        helper.make_node("Reshape", ["e", "shape"], ["f"], "f"),
        helper.make_node("Constant", [], ["first"], "first", value=numpy_helper.from_array(np.array([0]))),
        helper.make_node("Slice", ["shape", "first", "third"], ["batch"], "batch"),
        helper.make_node("Concat", ["batch", "sides"], ["sizes"], "sizes", axis=0),
        helper.make_node("Resize", ["f", "", "", "sizes"], ["g"], "g", mode="linear"),
        helper.make_node("Add", ["g", "a"], ["y"], "y"),
    ]
    arrays = {"weight": np.full((1, 4, 1, 1), 1.5, "f4"), "yes": np.array(True)}
    arrays |= {"third": np.array([2]), "sides": np.array([6, 6])}
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 6, 6]) for name in ("x", "y")]
    weights = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    made = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], weights), ir_version=9)
    made.opset_import[0].version = 16
    onnx.checker.check_model(made)
    onnx.save(made, path)
    return made


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 100])
def test_parts_give_what_the_whole_model_gives(monkeypatch, tmp_path, at_once):
    import onnx_sample_worker as worker

    made = model(tmp_path / "model.onnx")
    names = [name for node in made.graph.node for name in node.output]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name != "y")
    x = np.random.default_rng(1).normal(size=(1, 4, 6, 6)).astype("f4")
    expected = dict(zip(names, ort.InferenceSession(made.SerializeToString()).run(names, {"x": x}), strict=True))
    sessions, session = [], worker._session
    monkeypatch.setattr(worker, "_session", lambda part: sessions.append(len(part.graph.node)) or session(part))
    monkeypatch.setattr(worker, "_AT_ONCE", at_once)
    answer, _ = worker.samples({"onnx": str(tmp_path / "model.onnx")}, [x])
    assert [name for name, _, _ in answer["samples"]] == [
        name for name in names if name not in ("shape", "first", "batch", "sizes")
    ]
    for name, size, found in answer["samples"]:
        flat = expected[name].reshape(-1)
        assert size == flat.size
        places = np.linspace(0, flat.size - 1, min(64, flat.size)).astype(int)
        np.testing.assert_allclose(found, flat[places], rtol=1e-6)
    assert sum(sessions) == len(made.graph.node)  # each operator runs once
