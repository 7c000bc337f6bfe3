"""A program for ARM of which x86 lacks an operator: written, and said not to have been run."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain
from workshop import SIDE, Workshop

from segexport.artifact import RuntimeLibrary
from segexport.errors import UnsupportedModelError
from segexport.exporter.inspect import support_for
from segexport.exporter.program import Program, read
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86
from segexport.exporter.targets.nb_kernels import nb_version
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
    assert "it cannot be run on" in found.error
    assert "x86 has no kernel for scatter (layer weight_0)" in found.error
    assert "on a phone: segexport check" in found.error


@on_x86
def test_it_cannot_be_opened_here(workshop: Workshop) -> None:
    made = workshop.made(ToPaddleLite(), workshop.imported(scattered()))
    with pytest.raises(UnsupportedModelError, match="it cannot be run on"):
        PaddleLiteRuntime().open(made, RunOptions())


def test_inspect_says_so_before(workshop: Workshop) -> None:
    source = workshop.imported(scattered())
    program = read(source.file("model"), source.file("params"))
    assert support_for(LITE_ARM, program).support != "no"
    assert [each.operator for each in support_for(LITE_X86, program).obstacles] == ["scatter"]


def test_what_arm_lacks_too_is_refused(workshop: Workshop) -> None:
    graph = Graph()
    image = graph.feed(1, 3, SIDE, SIDE)
    program = graph.program(graph.op("digamma", {"X": image}, (1, 3, SIDE, SIDE)))
    with pytest.raises(UnsupportedModelError, match="cannot be exported to paddle-lite arm: digamma"):
        workshop.made(ToPaddleLite(), workshop.imported(program))


@on_x86
def test_a_session_takes_images_of_another_size(tools: Toolchain) -> None:
    """Its x86 kernels keep the buffers of the first size: they wrote out of bounds or gave other values."""
    graph = Graph()
    image, dims = graph.feed(1, 3, -1, -1), (1, 8, -1, -1)
    window = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}
    attrs = {"padding_algorithm": "EXPLICIT", "data_format": "NCHW", **window}
    wide = graph.op("conv2d", {"Input": image, "Filter": graph.noise(8, 3, 3, 3)}, dims, slot="Output", **attrs)
    wide = graph.op("conv2d", {"Input": wide, "Filter": graph.noise(8, 8, 3, 3)}, dims, slot="Output", **attrs)
    program = graph.program(wide)
    images = [np.random.default_rng(4).normal(size=(1, 3, *size)).astype("float32") for size in ((20, 14), (16, 24))]
    first = tools.lite(rewrite_for(LITE_X86, program)[0], images[:1])
    found = [first, *(tools.lite_again([images[at]]) for at in (1, 0))]
    for values, at in zip(found, (0, 1, 0), strict=True):
        np.testing.assert_allclose(values[0], tools.paddle(program, [images[at]])[0], atol=1e-4)


@on_x86
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_twin_passes_with_a_mark(workshop: Workshop, precision: str) -> None:
    """The ARM file was compiled and not run: no form of the report shows a bare PASS."""
    source = workshop.imported(activated())
    made = workshop.made(ToPaddleLite(ToPaddleLite.Params(precision=precision)), source)
    (found,) = workshop.checked(source, made)
    assert found.outcome == "PASS, values not run here"
    assert "the ARM file was compiled only" in found.not_run
    assert ("computes in fp32" in found.not_run) == (precision == "fp16")


@on_x86
def test_fp16_says_which_library_it_needs(workshop: Workshop) -> None:
    source = workshop.imported(activated())
    plain = workshop.made(ToPaddleLite(), source)
    assert nb_version(plain.file("model").read_bytes()) == "2.13-rc"
    fp32 = plain.manifest
    fp16 = workshop.made(ToPaddleLite(ToPaddleLite.Params(precision="fp16")), source).manifest
    assert fp32.requires is None
    assert fp16.requires == RuntimeLibrary(library="paddle-lite", build="fp16")
    (told,) = set(fp16.warnings) - set(fp32.warnings)
    assert told.startswith("model.nb needs a Paddle-Lite library that was built with --with_arm82_fp16=ON")


def activated() -> Program:
    """A convolution and a relu."""
    graph = Graph()
    image = graph.feed(1, 3, SIDE, SIDE)
    attrs = {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1, "padding_algorithm": "EXPLICIT"}
    inputs = {"Input": image, "Filter": graph.noise(4, 3, 3, 3)}
    wide = graph.op("conv2d", inputs, (1, 4, SIDE, SIDE), slot="Output", data_format="NCHW", **attrs)
    return graph.program(graph.op("relu", {"X": wide}, (1, 4, SIDE, SIDE)))
