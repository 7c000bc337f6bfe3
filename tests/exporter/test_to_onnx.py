"""The ONNX step on programs whose opset, or whose behaviour on noise, decides whether the file is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs import Graph
from workshop import SIDE, Workshop

from segexport.errors import InputError
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
