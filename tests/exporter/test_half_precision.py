"""Programs in half precision come in as fp32 ones: a CPU has no kernels for them."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.errors import SegexportError
from segexport.exporter import rewrites
from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.mends import AS_READ, mend
from segexport.exporter.program import Program
from segexport.exporter.rewrites.base import LITE_X86, ONNX

DIMS = (1, 3, 8, 8)
IMAGE = np.random.default_rng(1).normal(size=DIMS).astype(np.float32)


def bits(value: np.ndarray, half: str) -> np.ndarray:
    """An array as the file of parameters holds it."""
    return (
        value.astype(half) if half == "float16" else (value.astype(np.float32).view(np.uint32) >> 16).astype("uint16")
    )


def mixed(half: str) -> tuple[Program, np.ndarray]:
    """A convolution, and a constant added, in half precision between two casts; and its filter as fp32 holds it."""
    graph = Graph()
    image = graph.feed(*DIMS)
    codes = DTYPE_CODE["float32"], DTYPE_CODE[half]
    small = graph.op("cast", {"X": image}, DIMS, dtype=half, in_dtype=codes[0], out_dtype=codes[1])
    weight = graph.noise(5, 3, 1, 1)
    attrs = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    found = graph.op("conv2d", {"Input": small, "Filter": weight}, (1, 5, 8, 8), slot="Output", dtype=half, **attrs)
    one = {"dtype": ("INT", codes[1]), "shape": ("LONGS", [1]), "value": ("FLOAT", 1.0)}
    constant = graph.op("fill_constant", {}, (1,), dtype=half, typed=one, str_value="1.0")
    found = graph.op("elementwise_add", {"X": found, "Y": constant}, (1, 5, 8, 8), dtype=half, axis=-1)
    wide = graph.op("cast", {"X": found}, (1, 5, 8, 8), in_dtype=codes[1], out_dtype=codes[0])
    program = graph.program(wide)
    filter_bits = bits(program.params[weight], half)
    program.params[weight], program.vars[weight].dtype = filter_bits, half
    exact = filter_bits if half == "float16" else (filter_bits.astype(np.uint32) << 16).view(np.float32)
    return program, exact.astype(np.float32)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_it_computes_with_the_same_weights(half: str, tools: Toolchain) -> None:
    program, weight = mixed(half)
    name = {"float16": "fp16", "bfloat16": "bf16"}[half]
    assert mend(program, AS_READ) == [
        f"{name} widened to fp32 (1 of 2 parameters): a CPU has no kernels for half precision"
    ]
    assert {var.dtype for var in program.vars.values() if var.dtype} == {"float32"}
    expected = np.einsum("nchw,oc->nohw", IMAGE, weight[:, :, 0, 0]) + 1
    for tool, target in ((tools.paddle, None), (tools.onnx, ONNX), (tools.lite, LITE_X86)):
        changed = program if target is None else rewrites.rewrite_for(target, program)[0]
        np.testing.assert_allclose(tool(changed, [IMAGE])[0], expected, atol=1e-5)


def test_as_it_stands_paddle_cannot_run_it(tools: Toolchain) -> None:
    with pytest.raises(SegexportError):
        tools.paddle(mixed("float16")[0], [IMAGE])


def test_a_program_in_fp32_is_left_alone() -> None:
    graph = Graph()
    program = graph.program(graph.feed(*DIMS))
    before = program.to_bytes()
    assert mend(program, AS_READ) == []
    assert program.to_bytes() == before
