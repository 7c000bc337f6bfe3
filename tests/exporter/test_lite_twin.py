"""A program for ARM of which x86 lacks an operator: written, and said not to have been run."""

from __future__ import annotations

import platform

import pytest
from graphs import Graph
from workshop import SIDE, Workshop

from segexport.errors import UnsupportedModelError
from segexport.exporter.inspect import support_for
from segexport.exporter.program import Program, read
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.runtimes.base import RunOptions
from segexport.runtimes.lite import PaddleLiteRuntime
from segexport.verdict import Verdict

on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="an ARM host runs model.nb itself")


def scattered() -> Program:
    """Two rows are overwritten by `scatter`."""
    graph = Graph()
    image = graph.feed(1, 3, SIDE, SIDE)
    flat = (3, SIDE * SIDE)
    rows = graph.op("reshape2", {"X": image}, {"Out": flat, "XShape": (0, 1, 3, SIDE, SIDE)}, shape=list(flat))
    inputs = {"X": rows, "Ids": graph.param([2, 0], "int64"), "Updates": graph.noise(2, SIDE * SIDE)}
    found = graph.op("scatter", inputs, flat, overwrite=True)
    sizes = {"Out": (1, 3, SIDE, SIDE), "XShape": (0, *flat)}
    return graph.program(graph.op("reshape2", {"X": found}, sizes, shape=[1, 3, SIDE, SIDE]))


def test_it_is_written_without_a_twin_and_says_so(workshop: Workshop) -> None:
    made = workshop.made(ToPaddleLite(), workshop.imported(scattered()))
    assert [(entry.path, entry.role) for entry in made.manifest.files] == [("model.nb", "model")]
    (note,) = [note for note in made.manifest.lineage[-1].notes if note.startswith("warning: ")]
    assert note == (
        "warning: no x86 twin: x86 has no kernel for scatter (layer weight_0); model.nb was compiled, and not run here"
    )


@on_x86
def test_a_check_does_not_pass_what_it_did_not_run(workshop: Workshop) -> None:
    source = workshop.imported(scattered())
    (found,) = workshop.checked(source, workshop.made(ToPaddleLite(), source))
    assert found.verdict is Verdict.ERROR
    assert "its values cannot be run on" in found.error
    assert "x86 has no kernel for scatter (layer weight_0)" in found.error
    assert "on a phone: segexport check" in found.error


@on_x86
def test_it_cannot_be_opened_here(workshop: Workshop) -> None:
    made = workshop.made(ToPaddleLite(), workshop.imported(scattered()))
    with pytest.raises(UnsupportedModelError, match="its values cannot be run on"):
        PaddleLiteRuntime().open(made, RunOptions())


def test_inspect_says_so_before(workshop: Workshop) -> None:
    source = workshop.imported(scattered())
    program = read(source.file("model"), source.file("params"))
    assert support_for(LITE_ARM, program).support != "no"
    assert [each.operator for each in support_for(LITE_X86, program).obstacles] == ["scatter"]


def test_what_arm_lacks_too_is_refused(workshop: Workshop) -> None:
    graph = Graph()
    image = graph.feed(1, 3, SIDE, SIDE)
    program = graph.program(graph.op("maxout", {"X": image}, (1, 1, SIDE, SIDE), groups=3, axis=1))
    with pytest.raises(UnsupportedModelError, match="cannot be exported to paddle-lite arm: maxout"):
        workshop.made(ToPaddleLite(), workshop.imported(program))
