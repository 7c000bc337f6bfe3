"""What an import reads off a program, what it refuses, and what it says that it had to assume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import Graph

from segexport.artifact import Manifest
from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter import program as programs
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.program import Program
from segexport.files.store import Store
from segexport.spec import Preprocess, Resize

CONV = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
NORMALIZE = "Deploy: {transforms: [{type: Normalize}]}"


def scores(graph: Graph, image: str, channels: int = 3, classes: int = 4) -> str:
    """Logits of a 1x1 convolution, (1, classes, 8, 8)."""
    weight = graph.noise(classes, channels, 1, 1)
    return graph.op("conv2d", {"Input": image, "Filter": weight}, (1, classes, 8, 8), slot="Output", **CONV)


def network(channels: int = 3, size: tuple[int, int] = (8, 8)) -> Program:
    graph = Graph()
    return graph.program(scores(graph, graph.feed(1, channels, *size), channels))


def imported(tmp_path: Path, program: Program, deploy: str | None = NORMALIZE, **options) -> Manifest:
    folder = tmp_path / "net"
    program.write(folder)
    if deploy is not None:
        (folder / "deploy.yaml").write_text(deploy)
    return import_model(folder, ImportOptions(**options), Store(tmp_path / "store")).manifest


@pytest.mark.parametrize("size", [(20_000, 20_000), (8, 2**31 - 1)])
def test_an_input_that_no_memory_holds_is_refused(tmp_path, size):
    with pytest.raises(InputError, match=f"is {size[1]}x{size[0]} pixels") as told:
        imported(tmp_path, network(size=size))
    assert told.value.cause == "the limit is 64 million pixels"


def test_a_second_input_is_refused_with_both_names(tmp_path):
    graph = Graph()
    image, trimap = graph.feed(1, 3, 8, 8), graph.feed(1, 1, 8, 8)
    joined = graph.op("concat", {"X": [image, trimap]}, (1, 4, 8, 8), axis=1)
    program = graph.program(scores(graph, joined, 4))
    first, second = program.feed_names
    with pytest.raises(UnsupportedModelError, match="the program takes 2 inputs") as told:
        imported(tmp_path, program)
    assert told.value.what.endswith(f"{first} (float32 [1, 3, 8, 8]), {second} (float32 [1, 1, 8, 8])")
    assert "trimap" in told.value.cause
    assert told.value.hint == "export the network with the image as its only input"


@pytest.mark.parametrize(
    ("dims", "dtype", "message"),
    [
        ((1, 3, 8, 8), "uint8", r"is uint8 \[1, 3, 8, 8\]"),  # computed with, and not cast
        ((3, 8, 8), "float32", r"is float32 \[3, 8, 8\]"),
    ],
)
def test_what_is_no_image(tmp_path, dims, dtype, message):
    graph = Graph()
    image = graph.feed(*dims, dtype=dtype)
    with pytest.raises(InputError, match=message):
        imported(tmp_path, graph.program(image))


def camera(*, cast_first: bool) -> Program:
    """Takes bytes, channels last, and normalizes them."""
    graph = Graph()
    image = graph.fed(1, 8, 8, 3, dtype="uint8")

    def cast(value: str, dims: tuple[int, ...]) -> str:
        return graph.op("cast", {"X": value}, dims, in_dtype=20, out_dtype=5)

    def turn(value: str, dtype: str) -> str:
        sizes = {"Out": (1, 3, 8, 8), "XShape": (0, 1, 8, 8, 3)}
        return graph.op("transpose2", {"X": value}, sizes, dtype=dtype, axis=[0, 3, 1, 2])

    first = turn(cast(image, (1, 8, 8, 3)), "float32") if cast_first else cast(turn(image, "uint8"), (1, 3, 8, 8))
    scaled = graph.op("scale", {"X": first}, (1, 3, 8, 8), scale=1 / 255, bias=-0.5, bias_after_scale=True)
    return graph.program(scores(graph, scaled, 3))


@pytest.mark.parametrize("cast_first", [True, False])
def test_bytes_with_the_channels_last_are_fed_as_floats_with_the_channels_first(tmp_path, tools, cast_first):
    program = camera(cast_first=cast_first)
    program.write(tmp_path / "camera")
    made = import_model(tmp_path / "camera", ImportOptions(preprocess=Preprocess()), Store(tmp_path / "store"))
    (spec,) = made.manifest.inputs
    assert (spec.dtype, spec.layout, spec.shape) == ("float32", "NCHW", (1, 3, 8, 8))
    contract = made.manifest.preprocess
    assert (contract.scale, contract.mean, contract.std) == (1.0, (0.0,) * 3, (1.0,) * 3)
    assert any("8-bit pixels" in text for text in made.manifest.warnings)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 8, 8, 3), np.uint8)
    (expected,) = tools.paddle(program, [pixels])
    image = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).astype(np.float32))
    (found,) = tools.paddle(programs.read(made.file("model"), made.file("params")), [image])
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


# -- heads whose channels each decide alone ------------------------------------------------------------------------


def thresholded(graph: Graph, probability: str, classes: int, kind: str = "greater_than") -> str:
    sides = {"X": probability, "Y": graph.param([0.5])}
    return graph.op(kind, sides, (1, classes, 8, 8), dtype="bool", axis=-1)


def multi_label(end: str, classes: int = 4) -> Program:
    """Scores of `classes` classes, then a sigmoid, then what `end` says."""
    graph = Graph()
    logits = scores(graph, graph.feed(1, 3, 8, 8), classes=classes)
    size = (1, classes, 8, 8)
    found = graph.op("sigmoid", {"X": logits}, size) if end != "logits over 0" else logits
    if end in ("bool", "int", "logits over 0"):
        found = thresholded(graph, found, classes)
    if end == "under a half":
        found = thresholded(graph, found, classes, "less_equal")
    if end == "round":
        found = graph.op("round", {"X": found}, size)
    if end == "where":
        one, zero = graph.param(1.0), graph.param(0.0)
        found = graph.op("where", {"Condition": thresholded(graph, found, classes), "X": one, "Y": zero}, size)
    if end in ("int", "where", "logits over 0", "under a half"):
        found = graph.op("cast", {"X": found}, size, dtype="int32", in_dtype=0, out_dtype=2)
    if end == "channels last":
        found = graph.op("transpose2", {"X": found}, (1, 8, 8, classes), axis=[0, 2, 3, 1])
    return graph.program(found)


@pytest.mark.parametrize("end", ["bool", "int", "round", "where", "logits over 0", "under a half"])
def test_thresholds_of_several_channels_are_refused(tmp_path, end):
    program = multi_label(end)
    for asked in (None, program.fetch_names[0]):
        with pytest.raises(UnsupportedModelError, match="is multi-label, a pixel may be of several classes") as told:
            imported(tmp_path, program, mask_output=asked)
        assert "segexport gives each pixel one class" in told.value.cause
        assert told.value.hint == "export the scores that the threshold is applied to"


@pytest.mark.parametrize("end", ["sigmoid", "channels last"])
def test_sigmoids_of_several_channels_are_a_mask_where_the_user_says_so(tmp_path, end):
    program = multi_label(end)
    (name,) = program.fetch_names
    with pytest.raises(UnsupportedModelError, match=f"the output '{name}' is multi-label") as told:
        imported(tmp_path, program)
    assert told.value.cause.startswith("sigmoid (layer ")
    assert told.value.hint.endswith(f"if the classes exclude each other, name the output: --mask-output {name}")
    manifest = imported(tmp_path, program, mask_output=name)
    assert (manifest.outputs[0].semantics, manifest.num_classes) == ("probability", 4)


@pytest.mark.parametrize("end", ["sigmoid", "bool", "int", "where"])
def test_a_single_channel_tells_two_classes_apart(tmp_path, end):
    assert imported(tmp_path, multi_label(end, classes=1)).num_classes == 2


def test_a_multi_label_transform_counts_too(tmp_path):
    deploy = "Deploy: {transforms: [{type: AddMultiLabelAuxiliaryCategory}, {type: Normalize}]}"
    program = network()
    with pytest.raises(UnsupportedModelError, match="is multi-label") as told:
        imported(tmp_path, program, deploy)
    assert "names the transform AddMultiLabelAuxiliaryCategory" in told.value.cause
    assert imported(tmp_path, program, deploy, mask_output=program.fetch_names[0]).num_classes == 4


# -- what had to be assumed ----------------------------------------------------------------------------------------


def test_a_resize_that_was_added_is_a_warning(tmp_path):
    manifest = imported(tmp_path, network())
    assert manifest.preprocess.geometry == (Resize(width=8, height=8),)
    assert manifest.warnings == ("the export names no resize, but the program takes 8x8 only: a resize was added",)
    deploy = "Deploy: {transforms: [{type: Clip, max_val: [9, 9, 9]}, {type: Normalize}]}"
    assert [op.op for op in imported(tmp_path, network(), deploy).preprocess.geometry] == ["clip", "resize"]


def test_nothing_is_assumed_where_the_export_says_all(tmp_path):
    deploy = "Deploy: {transforms: [{type: Resize, target_size: [8, 8]}, {type: Normalize}]}"
    assert imported(tmp_path, network(), deploy).warnings == ()


def test_preprocessing_that_was_assumed_is_a_warning(tmp_path):
    first, second = imported(tmp_path, network(), None).warnings
    assert "PaddleSeg's defaults are assumed" in first
    assert "a resize was added" in second
    own = Preprocess(geometry=(Resize(width=8, height=8),))
    assert imported(tmp_path, network(), None, preprocess=own).warnings == ()


def test_an_input_that_does_not_say_its_channels(tmp_path):
    graph = Graph()
    program = graph.program(scores(graph, graph.feed(1, -1, 8, 8)))
    manifest = imported(tmp_path, program)
    assert manifest.preprocess.channels == 3
    assert manifest.warnings[0].endswith("is unknown: 3 are assumed")


# -- any number of channels ----------------------------------------------------------------------------------------


def test_one_channel_is_grey(tmp_path):
    contract = imported(tmp_path, network(1)).preprocess
    assert (contract.color, contract.depth, contract.mean) == ("gray", "uint8", (0.5,))


def test_six_channels_are_those_of_the_file(tmp_path):
    manifest = imported(tmp_path, network(6))
    assert (manifest.preprocess.color, manifest.preprocess.depth) == ("channels", "stored")
    assert manifest.preprocess.std == (0.5,) * 6
    assert "does not say how images of 6 channels are read" in manifest.warnings[0]


def test_single_parts_of_the_preprocessing_have_a_number_for_each_channel(tmp_path):
    contract = imported(tmp_path, network(4), color="bgra", mean=(1, 2, 3, 4)).preprocess
    assert (contract.color, contract.mean, contract.std) == ("bgra", (1, 2, 3, 4), (0.5,) * 4)
    with pytest.raises(InputError, match="the preprocessing that is stated is none") as told:
        imported(tmp_path, network(4), mean=(1, 2, 3))
    assert "3 means and 4 standard deviations" in told.value.cause
    with pytest.raises(InputError, match=r"the preprocessing is for 3 channels, the input .* takes 4"):
        imported(tmp_path, network(4), preprocess=Preprocess())
