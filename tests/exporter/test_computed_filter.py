"""Convolutions whose filter is computed from the image: right on the second image too, or refused for Paddle-Lite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError, WorkerCrashed
from segexport.exporter import rewrites
from segexport.exporter.inspect import support_for
from segexport.exporter.program import Program
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86
from segexport.pipeline.registry import target_named

CHANNELS = 8
DIMS = (1, CHANNELS, 12, 10)
RANDOM = np.random.default_rng(4)
IMAGES = [RANDOM.normal(shift, 1, DIMS).astype(np.float32) for shift in (0, 1)]


@dataclass(frozen=True)
class Form:
    """A convolution. `paddings`: 2 or 4 numbers."""

    kernel: tuple[int, int] = (3, 3)
    groups: int = 1
    outs: int = CHANNELS
    stride: int = 1
    dilation: int = 1
    paddings: tuple[int, ...] = (1, 1)
    algorithm: str = "EXPLICIT"
    type: str = "conv2d"


FORMS = {
    "1x1": Form(kernel=(1, 1), paddings=(0, 0), outs=5),
    "1x1, every second pixel": Form(kernel=(1, 1), paddings=(0, 0), stride=2),
    "3x3": Form(outs=5),
    "3x3, every second pixel": Form(stride=2),
    "dilated": Form(dilation=2, paddings=(2, 2)),
    "uneven": Form(kernel=(3, 2), paddings=(1, 0, 1, 2)),
    "SAME": Form(algorithm="SAME", paddings=(0, 0), kernel=(3, 4)),
    "VALID": Form(algorithm="VALID", paddings=(7, 7)),
    "of each channel": Form(groups=CHANNELS, type="depthwise_conv2d"),
    "of each channel, 5x5": Form(kernel=(5, 5), paddings=(2, 2), groups=CHANNELS, stride=2, type="depthwise_conv2d"),
}
REFUSED = {
    "two groups": Form(groups=2),
    "transposed": Form(type="conv2d_transpose"),
}


def convolved(form: Form) -> Program:
    """The filter is a product of the image's mean."""
    graph = Graph()
    image = graph.feed(*DIMS)
    attrs = {"pooling_type": "avg", "ksize": [1, 1], "adaptive": True, "global_pooling": False, "strides": [1, 1]}
    attrs |= {"paddings": [0, 0], "exclusive": True, "ceil_mode": False, "padding_algorithm": "EXPLICIT"}
    mean = graph.op("pool2d", {"X": image}, (1, CHANNELS, 1, 1), data_format="NCHW", **attrs)
    sizes = {"Out": (1, CHANNELS), "XShape": (0, 1, CHANNELS, 1, 1)}
    row = graph.op("reshape2", {"X": mean}, sizes, shape=[1, CHANNELS])
    dims = (form.outs, CHANNELS // form.groups, *form.kernel)
    many = int(np.prod(dims))
    row = graph.op("matmul_v2", {"X": row, "Y": graph.noise(CHANNELS, many)}, (1, many), trans_x=False, trans_y=False)
    filter = graph.op("reshape2", {"X": row}, {"Out": dims, "XShape": (0, 1, many)}, shape=list(dims))
    attrs = {"strides": [form.stride] * 2, "paddings": list(form.paddings), "dilations": [form.dilation] * 2}
    attrs |= {"groups": form.groups, "data_format": "NCHW", "padding_algorithm": form.algorithm}
    inputs = {"Input": image, "Filter": filter}
    return graph.program(graph.op(form.type, inputs, (1, form.outs, *_size(form)), slot="Output", **attrs))


def _size(form: Form) -> tuple[int, int]:
    pads = form.paddings if len(form.paddings) == 4 else [side for side in form.paddings for _ in range(2)]
    pads = {"EXPLICIT": list(pads), "VALID": [0] * 4}.get(form.algorithm)
    if pads is None:
        return DIMS[2:]
    spans = [form.dilation * (taps - 1) + 1 for taps in form.kernel]
    both = zip(DIMS[2:], spans, (pads[0] + pads[1], pads[2] + pads[3]), strict=True)
    height, width = ((size + more - span) // form.stride + 1 for size, span, more in both)
    return height, width


@pytest.mark.parametrize("what", FORMS)
def test_the_second_image_is_convolved_with_its_own_filter(what: str, tools: Toolchain) -> None:
    program = convolved(FORMS[what])
    expected = [tools.paddle(program, [image])[0] for image in IMAGES]
    changed, notes = rewrites.rewrite_for(LITE_X86, program)
    assert "computed_filter_to_products 1: 1 operator conv2d with a computed filter written as products" in notes
    found = [tools.lite(changed, [IMAGES[0]])[0], tools.lite_again([IMAGES[1]])[0]]
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, wanted, atol=1e-5 * np.abs(wanted).max())


def test_as_it_is_paddle_lite_keeps_the_first_filter(tools: Toolchain) -> None:
    program = convolved(Form())
    expected = [tools.paddle(program, [image])[0] for image in IMAGES]
    found = [tools.lite(program, [IMAGES[0]])[0], tools.lite_again([IMAGES[1]])[0]]
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5 * np.abs(expected[0]).max())
    assert np.abs(found[1] - expected[1]).max() > 0.1 * np.abs(expected[1]).max()


@pytest.mark.parametrize("what", FORMS)
def test_a_phone_takes_it(what: str, tools: Toolchain) -> None:
    changed, _ = rewrites.rewrite_for(LITE_ARM, convolved(FORMS[what]))
    assert tools.opt(changed, "arm").stat().st_size > 0


def test_as_it_is_opt_dies_of_it_for_a_phone(tools: Toolchain) -> None:
    with pytest.raises(WorkerCrashed, match="SIGSEGV"):
        tools.opt(convolved(FORMS["1x1"]), "arm")


@pytest.mark.parametrize("target", [LITE_ARM, LITE_X86])
@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_other_form_is_refused(what: str, target: str) -> None:
    program = convolved(REFUSED[what])
    with pytest.raises(UnsupportedModelError, match=rf"^conv2d.* cannot be exported to {target}") as caught:
        rewrites.rewrite_for(target, program)
    assert caught.value.cause == "Paddle-Lite keeps the filter of the first image"
    assert [obstacle.operator for obstacle in support_for(target, program).obstacles] == [REFUSED[what].type]


@pytest.mark.parametrize("what", [*FORMS, *REFUSED])
def test_what_litert_is_said_to_refuse(what: str) -> None:
    (found,) = target_named("litert").verdict_before(convolved({**FORMS, **REFUSED}[what]))
    refused = [REFUSED[what].type] if what in REFUSED else []
    assert [obstacle.operator for obstacle in found.obstacles] == refused
