"""Deformable convolutions through both exporters: with and without mask, groups of either kind, strides."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Program
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import LITE_X86, ONNX

HEIGHT, WIDTH, INS, OUTS = 7, 9, 4, 6
FORMS = {
    "plain": {},
    "without mask": {"mask": False},
    "grouped filter": {"groups": 2},
    "grouped offsets": {"deformable_groups": 2},
    "both grouped, without mask": {"groups": 2, "deformable_groups": 2, "mask": False},
    "strided and dilated": {"stride": 2, "padding": 2, "dilation": 2},
    "one row of taps": {"kernel": (1, 3), "padding": 0},
}


def deformed(
    mask: bool = True,
    groups: int = 1,
    deformable_groups: int = 1,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    kernel: tuple[int, int] = (3, 3),
) -> tuple[Program, list[np.ndarray]]:
    """The program, and an input for it: offsets of a few pixels, many of them beyond the image."""
    graph, random = Graph(), np.random.default_rng(0)
    rows, columns = (
        (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        for size, taps in zip((HEIGHT, WIDTH), kernel, strict=True)
    )
    taps = deformable_groups * kernel[0] * kernel[1]
    feeds = [random.normal(size=(1, INS, HEIGHT, WIDTH)), 2 * random.normal(size=(1, 2 * taps, rows, columns))]
    inputs = {"Input": graph.feed(*feeds[0].shape), "Offset": graph.feed(*feeds[1].shape)}
    inputs["Filter"] = graph.noise(OUTS, INS // groups, *kernel)
    if mask:
        feeds.append(random.uniform(size=(1, taps, rows, columns)))
        inputs["Mask"] = graph.feed(*feeds[2].shape)
    attrs = {"strides": [stride] * 2, "paddings": [padding] * 2, "dilations": [dilation] * 2, "im2col_step": 1}
    attrs |= {"groups": groups, "deformable_groups": deformable_groups}
    kind = "deformable_conv" if mask else "deformable_conv_v1"
    out = graph.op(kind, inputs, (1, OUTS, rows, columns), slot="Output", **attrs)
    return graph.program(out), [feed.astype(np.float32) for feed in feeds]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", [ONNX, LITE_X86])
def test_it_is_what_paddle_gives(form: str, target: str, tools: Toolchain) -> None:
    program, feed = deformed(**FORMS[form])
    (expected,) = tools.paddle(program, feed)
    (found,) = (tools.onnx if target == ONNX else tools.lite)(rewrite_for(target, program)[0], feed)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("target", "form", "cause"),
    [
        (ONNX, "plain", "ONNX Runtime has no kernel for its DeformConv"),
        (LITE_X86, "grouped filter", "Paddle-Lite needs as many groups in the filter as offsets"),
    ],
)
def test_of_free_size_it_is_refused_with_the_cause(target: str, form: str, cause: str) -> None:
    program, _ = deformed(**FORMS[form])
    program.vars[program.ops[-2].input("Input") or ""].dims = (1, INS, -1, -1)
    with pytest.raises(UnsupportedModelError, match=r"^deformable_conv \(layer ") as caught:
        rewrite_for(target, program)
    assert caught.value.cause == cause
