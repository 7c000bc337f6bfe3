"""The ONNX step on programs whose opset, or whose behaviour on noise, decides whether the file is right."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from graphs import Graph
from workshop import SIDE, Workshop

from segexport.errors import InputError
from segexport.exporter import to_onnx
from segexport.exporter.program import Program
from segexport.exporter.to_onnx import ToOnnx

IMAGE = (1, 3, SIDE, SIDE)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def boxes_of_an_image(*, aligned: bool) -> Program:
    graph = Graph()
    inputs = {"X": graph.feed(*IMAGE), "ROIs": graph.param([[0.0, 0.0, 9.0, 9.0]])}
    inputs["RoisNum"] = graph.param([1], "int32")
    attrs = {"pooled_height": 4, "pooled_width": 4, "spatial_scale": 1.0, "sampling_ratio": 2}
    return graph.program(graph.op("roi_align", inputs, (1, 3, 4, 4), aligned=aligned, **attrs))


def remainder_of_the_image() -> Program:
    """Of a division by the image's whole part, which is zero where noise is small."""
    graph = Graph()
    image = graph.feed(*IMAGE)
    whole = graph.op("cast", {"X": image}, IMAGE, dtype="int32", in_dtype=5, out_dtype=2)
    many = graph.param([7], "int32")
    rest = graph.op("elementwise_mod", {"X": many, "Y": whole}, IMAGE, dtype="int32", axis=-1)
    return graph.program(graph.op("cast", {"X": rest}, IMAGE, in_dtype=2, out_dtype=5))


@pytest.mark.parametrize("aligned", [True, False])
def test_an_opset_that_places_boxes_otherwise_is_refused(aligned: bool, workshop: Workshop) -> None:
    source = workshop.imported(boxes_of_an_image(aligned=aligned))
    with pytest.raises(InputError, match=r"^roi_align needs opset 16 or newer, not 15"):
        workshop.made(ToOnnx(ToOnnx.Params(opset=15)), source)
    assert "opset 16" in workshop.made(ToOnnx(), source).manifest.lineage[-1].notes


def test_a_division_by_zero_on_noise_is_no_refusal(workshop: Workshop) -> None:
    source = workshop.imported(remainder_of_the_image())
    notes = workshop.made(ToOnnx(), source).manifest.lineage[-1].notes
    assert "not simplified: an integer is divided by zero on random inputs" in notes


def test_a_large_program_becomes_the_same_model_without_paddle2onnx_optimizing_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph()
    found = graph.feed(*IMAGE)
    filters = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    for _ in range(4):  # a bias behind each convolution, a copy, a cast to the same type, transposes there and back
        inputs = {"Input": found, "Filter": graph.noise(3, 3, 1, 1)}
        found = graph.op("conv2d", inputs, IMAGE, slot="Output", padding_algorithm="EXPLICIT", **filters)
        found = graph.op("elementwise_add", {"X": found, "Y": graph.noise(3)}, IMAGE, axis=1)
        found = graph.op("assign", {"X": found}, IMAGE)
        found = graph.op("cast", {"X": found}, IMAGE, in_dtype=5, out_dtype=5)
        for axes, dims in (([0, 2, 3, 1], (1, SIDE, SIDE, 3)), ([0, 3, 1, 2], IMAGE)):
            found = graph.op("transpose2", {"X": found}, {"Out": dims, "XShape": (0, *graph.shape(found))}, axis=axes)
    source = workshop.imported(graph.program(found))
    models, notes = [], []
    for most in (to_onnx._MOST_OPTIMIZED, 0):
        monkeypatch.setattr(to_onnx, "_MOST_OPTIMIZED", most)
        made = workshop.made(ToOnnx(), source)
        models.append([(node.op_type, len(node.input)) for node in onnx.load(made.file("model")).graph.node])
        notes += [note for note in made.manifest.lineage[-1].notes if note.startswith("simplified")]
        (result,) = workshop.checked(source, made)
        assert result.verdict == "PASS", result
    assert models[0] == models[1] == [("Conv", 3)] * 4
    assert notes[0] != notes[1]  # the second had more left to remove
