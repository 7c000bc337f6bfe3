"""Another head: on small graphs what is written, and through the real tools what comes out, against NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain

from segexport.artifact import Manifest, ModelArtifact, read_artifact
from segexport.commands.run import DEMO_RECIPE
from segexport.errors import UnsupportedModelError
from segexport.exporter.program import Program
from segexport.exporter.set_head import SetHead, declared_small_mask, set_head
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.preprocess import enlarge_mask

CLASSES, SMALL, FULL = 5, (4, 6), (16, 24)
INTERP = {"data_layout": "NCHW", "out_d": -1, "interp_method": "bilinear"}


def scores_program(*tail: str, align_corners: bool = False, align_mode: int = 0, channels: int = CLASSES) -> Program:
    """A 1x1 convolution to `channels` at 4x6, then the operators of `tail`, up to 16x24 where one is an interp."""
    graph = Graph()
    name = graph.feed(1, 3, *SMALL)
    dims: tuple[int, ...] = (1, channels, *SMALL)
    conv = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    name = graph.op(
        "conv2d", {"Input": name, "Filter": graph.noise(channels, 3, 1, 1)}, dims, slot="Output",
        padding_algorithm="EXPLICIT", **conv,
    )  # fmt: skip
    for kind in tail:
        if kind == "interp":
            dims = (*dims[:2], *FULL)
            size = {"out_h": FULL[0], "out_w": FULL[1]}
            grid = {"align_corners": align_corners, "align_mode": align_mode}
            no_scale = {"scale": ("FLOATS", [])}
            name = graph.op("bilinear_interp_v2", {"X": name}, dims, typed=no_scale, **INTERP, **size, **grid)
        elif kind == "softmax":
            name = graph.op("softmax", {"X": name}, dims, axis=1)
        elif kind == "sigmoid":
            name = graph.op("sigmoid", {"X": name}, dims)
        elif kind == "identity":
            name = graph.op("scale", {"X": name}, dims, scale=1.0, bias=0.0, bias_after_scale=True)
        elif kind == "relu":
            name = graph.op("relu", {"X": name}, dims)
        elif kind == "argmax":
            dims = (1, *dims[2:])
            typed = {"axis": ("LONG", 1), "dtype": ("INT", 3)}
            name = graph.op("arg_max", {"X": name}, dims, dtype="int64", typed=typed, keepdims=False, flatten=False)
        elif kind == "unsqueeze":
            dims = (1, *dims)
            name = graph.op("unsqueeze2", {"X": name}, dims, dtype="int64", axes=[1])
    return graph.program(name)


IMAGE = np.random.default_rng(5).normal(size=(1, 3, *SMALL)).astype(np.float32)


def outputs_of(program: Program) -> tuple:
    (spec,) = program.outputs()
    return spec.semantics, spec.layout, spec.dtype, spec.shape


# -- what comes out of the real tools --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
@pytest.mark.parametrize("head", ["argmax", "argmax_small"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_masks_are_numpy_s_argmax_of_the_logits(tools: Toolchain, head, dtype, align_corners) -> None:
    logits = scores_program("interp", "identity", align_corners=align_corners)
    if head == "argmax_small":
        (scores,) = tools.paddle(scores_program(), [IMAGE])
    else:
        (scores,) = tools.paddle(logits, [IMAGE])
    changed, _ = set_head(logits, head, dtype)
    for tool in (tools.paddle, tools.onnx):
        (mask,) = tool(changed, [IMAGE])
        assert mask.dtype == dtype
        np.testing.assert_array_equal(mask, scores.argmax(axis=1))
    assert len(np.unique(mask)) > 2  # more than one class, else equality would say little


@pytest.mark.parametrize("head", ["argmax", "argmax_small"])
def test_paddle_lite_gives_the_same_int32_masks(tools: Toolchain, head) -> None:
    changed, _ = set_head(scores_program("interp", "identity"), head)
    (expected,), (mask,) = tools.paddle(changed, [IMAGE]), tools.lite(changed, [IMAGE])
    assert mask.dtype == np.int32
    np.testing.assert_array_equal(mask, expected)
    assert tools.opt(changed, "arm").stat().st_size > 0


def test_scores_come_and_go(tools: Toolchain) -> None:
    (logits,) = tools.paddle(scores_program("interp"), [IMAGE])
    softmax, _ = set_head(scores_program("interp", "identity"), "softmax")
    bare, notes = set_head(scores_program("interp", "softmax", "argmax", "identity"), "logits")
    assert notes == ["taken off: arg_max, softmax", "logits"]
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    for tool in (tools.paddle, tools.onnx):
        np.testing.assert_allclose(
            tool(softmax, [IMAGE])[0], exponentials / exponentials.sum(1, keepdims=True), atol=1e-6
        )
        np.testing.assert_allclose(tool(bare, [IMAGE])[0], logits, atol=1e-5)


# -- what is written -------------------------------------------------------------------------------------------

TAILS = [
    (("interp",), "argmax", ("class_index", "NHW", "uint8", (1, *FULL)), {"softmax"}),
    (("interp", "softmax"), "argmax", ("class_index", "NHW", "uint8", (1, *FULL)), {"softmax"}),
    (("interp", "softmax", "argmax"), "argmax", ("class_index", "NHW", "uint8", (1, *FULL)), {"softmax"}),
    (("softmax", "interp"), "argmax", ("class_index", "NHW", "uint8", (1, *FULL)), set()),
    (("relu",), "argmax", ("class_index", "NHW", "uint8", (1, *SMALL)), set()),
    (("argmax", "unsqueeze"), "argmax", ("class_index", "NCHW", "uint8", (1, 1, *SMALL)), set()),
    (("interp", "softmax", "argmax", "identity"), "argmax_small", ("class_index", "NHW", "uint8", (1, *SMALL)),
     {"softmax", "bilinear_interp_v2"}),
    (("softmax", "interp", "identity"), "argmax_small", ("class_index", "NHW", "uint8", (1, *SMALL)),
     {"bilinear_interp_v2"}),
    (("interp", "argmax"), "softmax", ("probability", "NCHW", "float32", (1, CLASSES, *FULL)), {"arg_max"}),
    (("interp", "softmax", "identity"), "logits", ("logits", "NCHW", "float32", (1, CLASSES, *FULL)), {"softmax"}),
]  # fmt: skip


@pytest.mark.parametrize(("tail", "head", "expected", "gone"), TAILS)
def test_the_outputs_and_what_is_gone(tail, head, expected, gone) -> None:
    program = scores_program(*tail)
    before = program.to_bytes()
    changed, _ = set_head(program, head, "uint8")
    assert outputs_of(changed) == expected
    assert not gone & {op.type for op in changed.ops}
    assert program.to_bytes() == before  # the source is untouched


def test_one_channel_gets_a_sigmoid_not_a_softmax_of_ones() -> None:
    changed, _ = set_head(scores_program(channels=1), "softmax")
    assert changed.producers()[changed.fetch_names[0]].type == "sigmoid"
    assert outputs_of(changed)[0] == "probability"


def test_keep_keeps() -> None:
    program = scores_program("interp", "softmax")
    assert set_head(program, "keep")[0].to_bytes() == program.to_bytes()


REFUSED = [
    (("relu",), "argmax_small", "come out of relu, not of an interpolation"),
    (("argmax", "unsqueeze"), "softmax", "operator unsqueeze2 is between its scores and the output"),
    (("softmax", "interp"), "logits", "operator bilinear_interp_v2 is between its scores and the output"),
]


@pytest.mark.parametrize(("tail", "head", "cause"), REFUSED)
def test_what_cannot_be_is_refused_with_the_operator(tail, head, cause) -> None:
    with pytest.raises(UnsupportedModelError) as error:
        set_head(scores_program(*tail), head)
    assert cause in error.value.cause


def test_an_upsampling_that_enlarges_nothing_is_none() -> None:
    program = scores_program("interp")
    program.vars[program.producers()[program.fetch_names[0]].input("X")].dims = (1, CLASSES, *FULL)
    with pytest.raises(UnsupportedModelError, match="there is none") as error:
        set_head(program, "argmax_small")
    assert error.value.cause == "the last bilinear_interp_v2 brings 24x16 to 24x16, which enlarges nothing"


def test_a_small_mask_needs_a_fixed_size() -> None:
    program = scores_program("interp")
    program.vars[program.fetch_names[0]].dims = (1, CLASSES, -1, -1)
    with pytest.raises(UnsupportedModelError, match="argmax_small needs a fixed input size") as error:
        set_head(program, "argmax_small")
    assert "--input-size" in error.value.hint


def test_uint8_holds_256_classes_and_no_more() -> None:
    assert outputs_of(set_head(scores_program(channels=256), "argmax", "uint8")[0])[2] == "uint8"
    with pytest.raises(UnsupportedModelError, match="257 classes do not fit into a mask of uint8"):
        set_head(scores_program(channels=257), "argmax", "uint8")


def test_a_single_channel_has_no_argmax() -> None:
    with pytest.raises(UnsupportedModelError, match="it has one channel"):
        set_head(scores_program("sigmoid", channels=1), "argmax")


# -- the step --------------------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelArtifact:
    """The built-in model, imported."""
    from segexport.commands.import_ import import_to
    from segexport.exporter.from_paddle import ImportOptions

    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    import_to(DEMO_RECIPE.parent / "model", tmp_path / "demo", ImportOptions())
    return read_artifact(tmp_path / "demo")


def stepped(source: ModelArtifact, folder: Path, **params: str) -> tuple[ModelArtifact, Manifest]:
    folder.mkdir()
    manifest = SetHead(SetHead.Params(**params)).run(source, folder, StepContext(key="k"))
    return ModelArtifact(folder, manifest), manifest


def test_the_manifest_tells_the_new_output_and_keeps_the_rest(demo: ModelArtifact, tmp_path: Path) -> None:
    _, manifest = stepped(demo, tmp_path / "out", head="argmax_small", dtype="uint8")
    (spec,) = manifest.outputs
    assert (spec.semantics, spec.layout, spec.dtype, spec.shape) == ("class_index", "NHW", "uint8", (1, 64, 64))
    assert (manifest.inputs, manifest.labels, manifest.preprocess) == (
        demo.manifest.inputs,
        demo.manifest.labels,
        demo.manifest.preprocess,
    )
    assert manifest.lineage[:-1] == demo.manifest.lineage
    assert (
        "argmax as uint8 at 64x64, before bilinear_interp_v2 to 128x128 (half-pixel grid)" in manifest.lineage[-1].notes
    )
    assert manifest.source_sha256 == demo.manifest.source_sha256


def test_only_this_head_declares_a_small_mask(demo: ModelArtifact, tmp_path: Path) -> None:
    assert declared_small_mask(demo.manifest) is None
    assert declared_small_mask(stepped(demo, tmp_path / "full", head="argmax")[1]) is None
    small = stepped(demo, tmp_path / "small", head="argmax_small")[1]
    assert declared_small_mask(small) == (64, 64)
    other = lineage_entry(SetHead(SetHead.Params(head="argmax")), "k")
    assert declared_small_mask(small.model_copy(update={"lineage": (other,)})) is None


def test_paddle_lite_refuses_uint8_and_names_the_cast(demo: ModelArtifact, tmp_path: Path) -> None:
    source, _ = stepped(demo, tmp_path / "head", head="argmax", dtype="uint8")
    (tmp_path / "lite").mkdir()
    with pytest.raises(UnsupportedModelError, match="cannot run operator cast from int32 to uint8") as error:
        ToPaddleLite().run(source, tmp_path / "lite", StepContext())
    assert "--mask-dtype int32" in error.value.hint
    assert not list((tmp_path / "lite").iterdir())


def test_a_small_mask_is_enlarged_by_pixels_centres() -> None:
    mask = np.array([[1, 2], [3, 4]], np.uint8)
    assert enlarge_mask(mask, (4, 4)).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    # 2 of 3: pixel x reads floor((2 x + 1) * 2 / 6), so 0 and 1 after 0; the middle one falls to the right.
    assert enlarge_mask(mask, (2, 3)).tolist() == [[1, 2, 2], [3, 4, 4]]
