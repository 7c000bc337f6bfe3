"""Programs that draw random numbers at inference: the draw becomes part of the model and is said, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import Graph
from toolchain import Toolchain
from workshop import SIDE, Workshop

from segexport.commands.inspect import inspect
from segexport.errors import UnsupportedModelError
from segexport.exporter import pir
from segexport.exporter.from_paddle import ImportOptions
from segexport.exporter.mends.random_draws import keep_random_draws
from segexport.exporter.program import Program, read
from segexport.exporter.shapes import settled
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.spec import Precision
from segexport.verdict import Verdict

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "pir"
IMAGE = (1, 3, SIDE, SIDE)
MADE = (
    "drew random numbers at each run: one draw (seed 0) is part of the model now, for the original and for its exports"
)
SHAPE = {"shape": ("LONGS", list(IMAGE))}
DRAWS = {
    "uniform_random": {"min": -0.5, "max": 0.5, "seed": 0},
    "gaussian_random": {"mean": 0.0, "std": 0.5, "seed": 0},
    "truncated_gaussian_random": {"mean": 0.0, "std": 0.5, "seed": 0},
}


def added(kind: str, *, dims: tuple[int, ...] = IMAGE, inputs: dict | None = None, typed=None, **attrs) -> Program:
    """The image plus what the operator draws."""
    graph = Graph()
    image = graph.feed(*((1, 3, -1, -1) if -1 in dims else IMAGE))
    given = dict.fromkeys(inputs or (), image)
    drawn = graph.op(kind, given, dims, typed=typed if typed is not None else SHAPE, **attrs)
    return graph.program(graph.op("elementwise_add", {"X": image, "Y": drawn}, dims, axis=-1))


def feed(seed: int = 0) -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(size=IMAGE).astype(np.float32)]


def mended(program: Program) -> tuple[Program, list[str]]:
    notes = keep_random_draws(program)
    program.prune()
    program.verify("the test's program")
    return program, notes


@pytest.mark.parametrize("kind", DRAWS)
def test_a_draw_becomes_part_of_the_model_and_is_said(kind: str, workshop: Workshop) -> None:
    source = workshop.imported(added(kind, **DRAWS[kind]))
    (text,) = [text for text in source.manifest.warnings if "random" in text]
    assert text.startswith(f"{kind} (layer ")
    assert MADE in text
    program = read(source.file("model"), source.file("params"))
    assert kind not in {op.type for op in program.all_ops()}
    drawn = next(value for value in program.params.values() if value.shape == IMAGE)
    assert 0.1 < drawn.std() < 0.6
    for found in workshop.checked(source, workshop.made(ToOnnx(), source), workshop.made(ToPaddleLite(), source)):
        assert (found.verdict, found.agreement) == (Verdict.PASS, 1.0)


def test_two_imports_are_the_same_and_two_draws_are_not() -> None:
    def twice() -> Program:
        graph = Graph()
        image = graph.feed(*IMAGE)
        one, two = (graph.op("gaussian_random", {}, IMAGE, typed=SHAPE, mean=0.0, std=1.0, seed=0) for _ in range(2))
        both = graph.op("elementwise_add", {"X": one, "Y": two}, IMAGE, axis=-1)
        return graph.program(graph.op("elementwise_add", {"X": image, "Y": both}, IMAGE, axis=-1))

    first, notes = mended(twice())
    again, _ = mended(twice())
    assert len(notes) == 1
    assert "one draw of each (seed 0)" in notes[0]
    draws = [value for value in first.params.values() if value.shape == IMAGE]
    assert len(draws) == 2
    assert not np.allclose(*draws)
    for name, value in first.params.items():
        np.testing.assert_array_equal(value, again.params[name])


def test_whole_numbers_are_in_their_range() -> None:
    graph = Graph()
    image = graph.feed(*IMAGE)
    shape = {"shape": ("LONGS", [1, 3, SIDE, SIDE]), "dtype": ("INT", 3)}
    numbers = graph.op("randint", {}, IMAGE, dtype="int64", typed=shape, low=2, high=5, seed=0)
    order = graph.op("randperm", {}, (SIDE,), dtype="int64", typed={"n": ("INT", SIDE), "dtype": ("INT", 3)}, seed=0)
    added = graph.op("elementwise_add", {"X": numbers, "Y": order}, IMAGE, dtype="int64", axis=-1)
    real = graph.op("cast", {"X": added}, IMAGE, in_dtype=3, out_dtype=5)
    found, _ = mended(graph.program(graph.op("elementwise_add", {"X": image, "Y": real}, IMAGE, axis=-1)))
    by_shape = {value.shape: value for value in found.params.values() if value.dtype == np.int64}
    assert set(by_shape[IMAGE].reshape(-1)) == {2, 3, 4}
    assert sorted(by_shape[(SIDE,)]) == list(range(SIDE))


def test_an_operator_in_place_leaves_what_was_read_before() -> None:
    graph = Graph()
    image = graph.feed(*IMAGE)
    start = graph.op("scale", {"X": image}, IMAGE, scale=2.0, bias=0.0, bias_after_scale=True)
    before = graph.op("scale", {"X": start}, IMAGE, scale=3.0, bias=0.0, bias_after_scale=True)
    graph.op("uniform_random_inplace", {"X": start}, IMAGE, min=0.0, max=1.0, seed=0)
    graph.last().outputs["Out"] = [start]
    after = graph.op("scale", {"X": start}, IMAGE, scale=1.0, bias=0.0, bias_after_scale=True)
    found, (note,) = mended(graph.program(graph.op("elementwise_add", {"X": before, "Y": after}, IMAGE, axis=-1)))
    assert "uniform_random_inplace" in note
    scales = [op for op in found.ops if op.type == "scale"]
    assert [op.input("X") in found.params for op in scales] == [False, False, True]


def test_a_seed_of_its_own_gives_paddles_own_numbers(tools: Toolchain, workshop: Workshop) -> None:
    program = added("gaussian_random", mean=0.0, std=1.0, seed=7)
    before = tools.paddle(program, feed())
    np.testing.assert_array_equal(tools.paddle(program, feed())[0], before[0])  # the same at each run
    source = workshop.imported(program)
    assert not [text for text in source.manifest.warnings if "random" in text]
    assert "drew with a fixed seed: the numbers are now part of the model" in " ".join(source.manifest.lineage[0].notes)
    after = tools.paddle(read(source.file("model"), source.file("params")), feed())
    np.testing.assert_array_equal(after[0], before[0])


@pytest.mark.parametrize("mode", ["upscale_in_train", "downgrade_in_infer"])
def test_dropout_in_training_mode_acts_as_at_inference(mode: str, tools: Toolchain, workshop: Workshop) -> None:
    graph = Graph()
    image = graph.feed(*IMAGE)
    attrs = {"dropout_prob": 0.25, "is_test": False, "seed": 0, "fix_seed": False, "dropout_implementation": mode}
    sizes = {"Out": IMAGE, "Mask": IMAGE}
    source = workshop.imported(graph.program(graph.op("dropout", {"X": image}, sizes, **attrs)))
    (text,) = [text for text in source.manifest.warnings if "random" in text]
    assert "was left in training mode and drew random numbers at each run: it acts as at inference now" in text
    (found,) = tools.paddle(read(source.file("model"), source.file("params")), feed())
    np.testing.assert_allclose(found, feed()[0] * (1.0 if mode == "upscale_in_train" else 0.75), rtol=1e-6)


def test_dropout_as_exports_have_it_is_left_alone(workshop: Workshop) -> None:
    graph = Graph()
    image = graph.feed(*IMAGE)
    attrs = {"dropout_prob": 0.25, "is_test": True, "dropout_implementation": "upscale_in_train"}
    source = workshop.imported(graph.program(graph.op("dropout", {"X": image}, {"Out": IMAGE, "Mask": IMAGE}, **attrs)))
    assert not [text for text in source.manifest.warnings if "random" in text]


@pytest.mark.parametrize("kind", ["bernoulli", "poisson", "multinomial"])
def test_a_draw_that_depends_on_the_image_is_refused_by_name(kind: str, workshop: Workshop) -> None:
    folder = workshop.model(added(kind, inputs={"X"}, typed={}))
    with pytest.raises(
        UnsupportedModelError, match=rf"operator {kind} \(layer .*\) draws random numbers at each run"
    ) as it:
        workshop.imported(folder)
    assert "what it draws depends on the image" in it.value.cause
    assert "evaluation mode" in it.value.hint
    with pytest.raises(UnsupportedModelError, match=f"operator {kind} "):
        inspect(folder, ImportOptions()).render("table", color=False, width=120)


def test_a_draw_as_large_as_the_image_needs_its_size() -> None:
    typed = {"shape": ("LONGS", [1, 3, -1, -1])}
    program = added("uniform_random", dims=(1, 3, -1, -1), typed=typed, min=0.0, max=1.0, seed=0)
    with pytest.raises(UnsupportedModelError, match="operator uniform_random ") as caught:
        keep_random_draws(program)
    assert "depends on the image's size" in caught.value.cause
    assert caught.value.hint == "fix the size of the input: --input-size WIDTHxHEIGHT"


def test_a_draw_that_no_output_needs_is_no_matter() -> None:
    graph = Graph()
    image = graph.feed(*IMAGE)
    graph.op("bernoulli", {"X": image}, IMAGE)
    assert keep_random_draws(graph.program(graph.op("relu", {"X": image}, IMAGE))) == []


def test_inspect_says_it_before_anything_is_converted(workshop: Workshop) -> None:
    folder = workshop.model(added("uniform_random", **DRAWS["uniform_random"]))
    shown = " ".join(inspect(folder, ImportOptions()).render("table", color=False, width=200).split())
    assert MADE in shown
    assert Precision.FP32.value in shown


def test_draws_of_paddle_3() -> None:
    """`tests/golden/pir/random_draws.py` wrote the net."""
    model = GOLDEN / "random_draws.json"
    program = pir.read_program(model, model.with_suffix(".pdiparams"))
    drawn = [op.type for op in program.ops if op.type in ("uniform_random", "gaussian_random", "randint", "randperm")]
    assert sorted(drawn) == ["gaussian_random", "randint", "randperm", "uniform_random"]
    found, (note,) = mended(settled(program))
    assert "uniform_random" in note
    assert "and 1 more drew random numbers at each run" in note
    shapes = {value.shape: value for value in found.params.values()}
    assert 0 <= shapes[(1, 2, 8, 8)].min() < 0.2 < 0.8 < shapes[(1, 2, 8, 8)].max() < 1
    assert sorted(shapes[(8,)]) == list(range(8))
    assert not {op.type for op in found.ops} & set(drawn)
