"""Weights beside an ONNX model: every tensor that has them is found, and none may lie elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segexport.artifact import Manifest, TargetDevice, file_entry, read_artifact, write_artifact
from segexport.errors import InputError
from segexport.files.external_data import external_data, require_inside
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec

onnx = pytest.importorskip("onnx")


def outside(name: str, location: str) -> onnx.TensorProto:
    """A tensor of four floats in a file."""
    tensor = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def graph(name: str, nodes=(), initializer=(), sparse=()) -> onnx.GraphProto:
    return onnx.helper.make_graph(list(nodes), name, [], [], list(initializer), sparse_initializer=list(sparse))


def constant(location: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Constant", [], ["c"], value=outside("v", location))


def saved(path: Path, *locations: str) -> Path:
    """A model whose initializers are in these files."""
    tensors = [outside(f"w{index}", location) for index, location in enumerate(locations)]
    path.write_bytes(onnx.helper.make_model(graph("g", initializer=tensors)).SerializeToString())
    return path


def test_tensors_are_found_wherever_onnx_allows_them(tmp_path):
    inner = graph("inner", [constant("in-a-constant-of-a-branch")], [outside("w", "in-a-branch")])
    branch = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=graph("empty"))
    sparse = onnx.SparseTensorProto(dims=[4], values=outside("s", "sparse-values"), indices=outside("i", "indices"))
    model = onnx.helper.make_model(
        graph("g", [branch, constant("in-a-constant")], [outside("w", "first"), outside("again", "first")], [sparse])
    )
    model.functions.append(
        onnx.helper.make_function("local", "F", [], ["c"], [constant("in-a-function")], model.opset_import)
    )
    several = onnx.AttributeProto(name="several", type=onnx.AttributeProto.TENSORS, tensors=[outside("t", "in-a-list")])
    model.graph.node[1].attribute.append(several)
    model.graph.node[0].input[0] = "x" * 500  # a length of two bytes
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert set(external_data(path)) == {
        "in-a-branch", "in-a-constant-of-a-branch", "in-a-constant", "first", "sparse-values", "indices",
        "in-a-function", "in-a-list",
    }  # fmt: skip
    assert len(external_data(path)) == 8


def test_what_is_in_the_model_itself_is_not_beside_it(tmp_path):
    inside = onnx.numpy_helper.from_array(np.ones(1000, np.float32), "w")
    entry = inside.external_data.add()  # a leftover: the values are in the tensor
    entry.key, entry.value = "location", "gone.bin"
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.helper.make_model(graph("g", initializer=[inside])).SerializeToString())
    assert external_data(path) == ()


@pytest.mark.parametrize("content", [b"", b"\x00" * 3000, b"\xff" * 3000, b"weights", b"\x3a\xff\xff\xff\xff\x7f"])
def test_a_file_that_is_no_onnx_has_none(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    assert external_data(tmp_path / "m.onnx") == ()


def test_a_truncated_model_has_none(tmp_path):
    path = saved(tmp_path / "m.onnx", "w.bin")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert external_data(path) in ((), ("w.bin",))


def test_a_file_inside_is_named_relative_to_the_model(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"1")
    (tmp_path / "alias.bin").symlink_to("sub/w.bin")
    assert require_inside(tmp_path / "m.onnx", "sub/w.bin") == "sub/w.bin"
    assert require_inside(tmp_path / "m.onnx", "./sub//w.bin") == "sub/w.bin"
    assert require_inside(tmp_path / "m.onnx", "alias.bin") == "alias.bin"


@pytest.mark.parametrize("location", ["../w.bin", "sub/../../w.bin", "sub/../w.bin", "", "..\\w.bin", "w\0.bin"])
def test_a_path_that_leads_outside_is_refused(tmp_path, location):
    (tmp_path / "w.bin").write_bytes(b"1")
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "w.bin").write_bytes(b"1")
    with pytest.raises(InputError) as caught:
        require_inside(folder / "m.onnx", location)
    assert caught.value.what == f"{folder / 'm.onnx'}: its weights are in {location!r}"
    assert "outside of the model's folder" in caught.value.cause
    assert "onnx.save" in caught.value.hint


def test_an_absolute_path_is_refused_also_where_it_leads_inside(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"1")
    with pytest.raises(InputError, match="its weights are in '/"):
        require_inside(tmp_path / "m.onnx", str(tmp_path / "w.bin"))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "w.bin").write_bytes(b"1")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").symlink_to(tmp_path / "elsewhere" / "w.bin")
    (folder / "sub").symlink_to(tmp_path / "elsewhere")
    for location in ("w.bin", "sub/w.bin"):
        with pytest.raises(InputError, match=r"a link to .*elsewhere/w\.bin") as caught:
            require_inside(folder / "m.onnx", location)
        assert "outside of the model's folder" in caught.value.cause


def test_a_model_in_a_folder_that_is_a_link_is_no_link_itself(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "w.bin").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    assert require_inside(tmp_path / "link" / "m.onnx", "w.bin") == "w.bin"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"its weights are in 'w\.bin'") as caught:
        require_inside(tmp_path / "m.onnx", "w.bin")
    assert caught.value.cause == "there is no such file beside the model"


# -- artifacts ---------------------------------------------------------------------------------------------------


def artifact(folder: Path, *listed: str, model: str = "model.onnx") -> Path:
    """A folder with a manifest that lists these files beside the model."""
    files = (file_entry(folder, model), *(file_entry(folder, name, "params") for name in listed))
    manifest = Manifest(
        name="m",
        format=Format.ONNX,
        files=files,
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, 4, 4), layout="NCHW", semantics="image"),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2, 4, 4), layout="NCHW", semantics="logits"),),
        preprocess=Preprocess(),
        labels=(Label(id=0, name="a", rgb=(0, 0, 0)), Label(id=1, name="b", rgb=(1, 1, 1))),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    write_artifact(folder, manifest)
    return folder


def test_an_artifact_lists_its_weights(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "w.bin").write_bytes(bytes(16))
    saved(tmp_path / "net" / "model.onnx", "w.bin")
    found = read_artifact(artifact(tmp_path, "net/w.bin", model="net/model.onnx"))
    assert found.size_bytes == 16 + (tmp_path / "net" / "model.onnx").stat().st_size
    artifact(tmp_path, model="net/model.onnx")
    with pytest.raises(InputError, match=r"net/w\.bin: net/model\.onnx takes weights from it") as caught:
        read_artifact(tmp_path)
    assert "manifest.json does not list it" in caught.value.what


def test_an_artifact_with_weights_outside_is_refused(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (tmp_path / "export").mkdir()
    saved(tmp_path / "export" / "model.onnx", "../w.bin")
    with pytest.raises(InputError, match=r"its weights are in '\.\./w\.bin'"):
        read_artifact(artifact(tmp_path / "export"))


def test_changed_weights_are_noticed(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(16))
    saved(tmp_path / "model.onnx", "w.bin")
    artifact(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(15) + b"1")
    with pytest.raises(InputError, match=r"w\.bin: not the file that manifest\.json describes"):
        read_artifact(tmp_path)
