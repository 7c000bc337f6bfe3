"""What calibration images tell about a model is observed once, for all int8 exports of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from installed import require
from test_mnn import network
from workshop import Workshop

from segexport.exporter.onnx_quantize import QuantizeOnnx
from segexport.files.store import Store
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    require("paddle2onnx", "onnx", "onnxruntime")
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The commands that workers get."""
    found: list[str] = []
    plain = Worker.call

    def call(self, command, *given, **options):
        found.append(command)
        return plain(self, command, *given, **options)

    monkeypatch.setattr(Worker, "call", call)
    return found


def quantized(source, folder, context, **options):
    folder.mkdir()
    params = QuantizeOnnx.Params(**{"images": 8, "agreement": 0.0} | options)
    manifest = QuantizeOnnx(params).run(source, folder, context)
    return (folder / "model.onnx").read_bytes(), manifest.lineage[-1].notes


@pytest.mark.parametrize(
    "options",
    [{"method": "minmax"}, {"float_nodes": True}, {"bias_correction": True}, {"rounding": "nearest"}],
    ids=lambda options: next(iter(options)),
)
def test_another_export_is_what_it_would_be_alone(workshop, tmp_path, asked, options):
    source = workshop.made(make_step("to_onnx", {}), workshop.imported(network(), tmp_path.name))
    context = StepContext(data=workshop.data)
    shared = replace(context, store=Store(tmp_path / "store"))
    quantized(source, tmp_path / "first", shared)
    if options == {"float_nodes": True}:
        import onnx

        nodes = onnx.load(source.file("model")).graph.node
        options = {"float_nodes": (next(node.name for node in nodes if node.op_type == "Conv"),)}
    alone = quantized(source, tmp_path / "alone", context, **options)
    asked.clear()
    second = quantized(source, tmp_path / "second", shared, **options)
    assert second[1] == alone[1]
    assert second == alone
    again = options.keys() <= {"method", "float_nodes"}
    assert ("observe" in asked) is not again
    assert ("round" in asked) == (options.keys() == {"bias_correction"})
    assert quantized(source, tmp_path / "third", shared)[0] == (tmp_path / "first" / "model.onnx").read_bytes()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("agreement", "mended"), [(0.99999, True), (0.0, False)])
def test_classes_that_change_are_mended_if_that_is_asked_for(workshop, tmp_path, asked, bits, agreement, mended):
    source = workshop.made(make_step("to_onnx", {}), workshop.imported(network(), tmp_path.name))
    context = StepContext(data=workshop.data)
    _, notes = quantized(source, tmp_path / "out", context, agreement=agreement, weight_bits=bits)
    assert any("keep their class" in note for note in notes)
    assert ("keep_float" in asked) is mended
