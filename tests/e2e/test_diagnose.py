"""Faults planted in good exports of the built-in model: each is found, and its operator and layer are named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
sys.path.insert(0, str(REPOSITORY / "tests" / "exporter"))

import planted_faults as planted  # noqa: E402
from graphs import Graph  # noqa: E402

from segexport.artifact import file_entry, read_artifact, write_artifact  # noqa: E402
from segexport.cli.main import cli  # noqa: E402
from segexport.diagnose.diagnose import diagnose  # noqa: E402
from segexport.diagnose.report import render  # noqa: E402
from segexport.errors import InputError  # noqa: E402
from segexport.exporter.from_paddle import ImportOptions, import_model  # noqa: E402
from segexport.exporter.to_onnx import ToOnnx  # noqa: E402
from segexport.files.store import Store  # noqa: E402
from segexport.pipeline.step import StepContext  # noqa: E402
from segexport.spec import Preprocess, Resize  # noqa: E402

IMAGE = planted.DEMO / "data/images/tile_03.png"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(exports of the built-in model, an image)"""
    for module in ("paddle", "paddle2onnx", "paddlelite", "onnxruntime"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("demo")
    return planted.demo_exports(folder, Store(folder / "store"))


@pytest.mark.parametrize("name", ["onnx", "int8", "lite"])
def test_nothing_is_wrong_with_a_good_export(demo, name):
    exports, image = demo
    found = diagnose(exports[name], exports.source, image)
    assert found.findings == ()
    assert len(found.layers) >= 50
    assert all(layer.local is not None for layer in found.layers)
    assert found.layers[-1].variable == exports.source.manifest.outputs[0].name


@pytest.mark.parametrize("fault", planted.FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_and_named(demo, tmp_path, fault):
    exports, image = demo
    export, variable = planted.plant(fault, exports, tmp_path / "planted")
    found = diagnose(export, exports.source, image, source=planted.source_program(fault, export))
    assert planted.named_right(found, fault.kind, fault.operator, variable), found.findings[:1]
    assert found.seconds < planted.TIME_LIMIT_S
    if fault.kind == "operator":  # no layer before it is blamed
        layers = [layer.variable for layer in found.layers]
        first = layers.index(found.findings[0].layer)
        assert not any(layer.is_faulty for layer in found.layers[:first])


def _pooling_net(folder: Path):
    """16 x 16 pixels into 6 x 6 adaptive bins, as an artifact."""
    graph = Graph()
    x = graph.feed(1, 3, 16, 16)
    pooled = graph.op(
        "pool2d",
        {"X": x},
        (1, 3, 6, 6),
        ksize=[6, 6],
        strides=[1, 1],
        paddings=[0, 0],
        pooling_type="avg",
        adaptive=True,
        global_pooling=False,
        exclusive=True,
        ceil_mode=False,
        data_format="NCHW",
        padding_algorithm="EXPLICIT",
    )
    out = graph.op("scale", {"X": pooled}, (1, 3, 6, 6), scale=2.0, bias=0.0, bias_after_scale=True)
    graph.program(out).write(folder)
    options = ImportOptions(preprocess=Preprocess(geometry=(Resize(width=16, height=16),)), labels=("a", "b", "c"))
    return import_model(folder, options, Store(folder.parent / "store")), pooled


def test_paddle2onnx_adaptive_pool_is_found(tmp_path):
    pytest.importorskip("paddle2onnx")
    (tmp_path / "net").mkdir()
    source, pooled = _pooling_net(tmp_path / "net")
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    (tmp_path / "wrong").mkdir()
    found = diagnose(planted.without_the_rewrite(source, tmp_path / "wrong"), source, image)
    assert planted.named_right(found, "operator", "pool2d", pooled)
    assert found.findings[0].operators[-1] == "pool2d"
    (tmp_path / "right").mkdir()
    right = write_artifact(tmp_path / "right", ToOnnx().run(source, tmp_path / "right", StepContext()))
    assert diagnose(right, source, image).findings == ()


def test_a_layer_of_another_size_is_named_although_the_model_does_not_run(demo, tmp_path):
    """A resize that lost a row, in front of a concatenation that then does not fit."""
    onnx = pytest.importorskip("onnx")
    exports, image = demo
    export, _ = planted.plant(planted.FAULTS[0], exports, tmp_path / "planted")
    model = onnx.load(exports["onnx"].file("model"))
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    sizes = next(value for value in model.graph.initializer if value.name == node.input[3])
    value = onnx.numpy_helper.to_array(sizes).copy()
    value[2] -= 1
    model.graph.initializer.append(onnx.numpy_helper.from_array(value, "fewer_rows"))
    node.input[3] = "fewer_rows"
    del model.graph.value_info[:]
    onnx.save(model, export.path / "model.onnx")
    manifest = export.manifest.model_copy(update={"files": (file_entry(export.path, "model.onnx"),)})
    found = diagnose(write_artifact(export.path, manifest), exports.source, image)
    assert planted.named_right(found, "operator", "bilinear_interp_v2", node.output[0])
    assert "gives [1, 64, 15, 16]" in found.findings[0].message
    assert any(note.startswith("the export does not run as a whole") for note in found.notes)


def test_a_nb_of_another_program_is_said_to_be_one(demo, tmp_path):
    """Nothing can be looked up in a .nb, but the reference compiled anew gives other outputs than the file."""
    exports, image = demo
    fault = next(fault for fault in planted.FAULTS if fault.export == "lite")
    export, _ = planted.plant(fault, exports, tmp_path / "planted")
    found = diagnose(export, exports.source, image)
    assert [finding.kind for finding in found.findings] == ["file"]
    assert "export it again" in found.findings[0].message


def test_the_saved_model_reproduces_the_fault(demo, tmp_path):
    exports, image = demo
    fault = next(fault for fault in planted.FAULTS if fault.operator == "relu6")
    export, _ = planted.plant(fault, exports, tmp_path / "planted")
    out = tmp_path / "out"
    out.mkdir()
    found = diagnose(export, exports.source, image, out=out)
    names = {file.name for file in out.iterdir()}
    assert {"README.md", "reproduce.py", "export.onnx", "reference.pdmodel", "reference.pdiparams"} <= names
    assert {"input_0.npy", "expected.npy", "diagnosis.json", "diagnosis.html"} <= names
    for arguments in ([], ["--paddle"]):
        ended = subprocess.run(
            [sys.executable, "reproduce.py", *arguments], cwd=out, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        largest = float(ended.stdout.split("largest difference")[1].split()[0])
        layer = next(layer for layer in found.layers if layer.variable == found.findings[0].layer)
        assert largest == pytest.approx(layer.local.max_abs, rel=1e-4)
    told = json.loads((out / "diagnosis.json").read_text())
    assert told["findings"][0]["layer"] == found.findings[0].layer
    page = (out / "diagnosis.html").read_text()
    assert "<svg" in page
    assert 'class="bad"' in page


def test_the_lite_model_reproduces_too(demo, tmp_path):
    exports, image = demo
    fault = next(fault for fault in planted.FAULTS if fault.export == "lite")
    export, _ = planted.plant(fault, exports, tmp_path / "planted")
    out = tmp_path / "out"
    out.mkdir()
    diagnose(export, exports.source, image, out=out, source=planted.source_program(fault, export))
    ended = subprocess.run([sys.executable, "reproduce.py"], cwd=out, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split("largest difference")[1].split()[0]) > 0.1


def test_the_command(demo, tmp_path):
    exports, _ = demo
    export, _ = planted.plant(planted.FAULTS[0], exports, tmp_path / "planted")
    arguments = ["diagnose", str(export.path), "--reference", str(planted.DEMO / "model"), "--image", str(IMAGE)]
    ended = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out")])
    assert ended.exit_code == 1, ended.output
    assert "first: bilinear_interp_v2" in ended.output
    assert (tmp_path / "out" / "README.md").is_file()
    again = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out")])
    assert isinstance(again.exception, InputError)
    assert "not empty" in str(again.exception)


def test_wrong_arguments_are_explained(demo, tmp_path):
    exports, image = demo
    with pytest.raises(InputError, match="a model for onnx") as told:
        diagnose(exports["onnx"], exports["onnx"], image)
    assert "--reference" in told.value.hint
    with pytest.raises(InputError, match="a Paddle program"):
        diagnose(exports.source, exports.source, image)
    (tmp_path / "net").mkdir()
    other, _ = _pooling_net(tmp_path / "net")
    with pytest.raises(InputError, match="takes"):
        diagnose(exports["onnx"], other, image)


def test_every_form_can_be_drawn(demo):
    exports, image = demo
    found = diagnose(exports["onnx"], exports.source, image)
    assert json.loads(render(found, "json"))["schema_version"] == 1
    assert "nothing is off" in render(found, "table", width=160)
    assert read_artifact(exports["onnx"].path).path.name in render(found, "html")
