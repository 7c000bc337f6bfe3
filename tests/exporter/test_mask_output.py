"""Which of several outputs the mask is made from: said, ruled, or asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs import Graph

from segexport.errors import InputError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.mask_output import FIRST, choice_notes, choose_mask, mask_of
from segexport.exporter.program import Program
from segexport.exporter.set_head import set_head
from segexport.files.store import Store


def two_heads(second: str = "", classes: int = 2) -> Program:
    """Scores of `classes` classes, and 4 channels of something else, behind an operator `second` if one is named."""
    graph = Graph()
    image = graph.feed(1, 3, 8, 8)
    conv = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    heads = [
        graph.op(
            "conv2d", {"Input": image, "Filter": graph.noise(count, 3, 1, 1)}, (1, count, 8, 8), slot="Output", **conv
        )
        for count in (classes, 4)
    ]
    if second:
        heads[1] = graph.op(second, {"X": heads[1]}, (1, 4, 8, 8))
    return graph.program(*heads)


def chosen(program: Program, wanted: str | None = None, labels: int = 0) -> list[str]:
    return [spec.semantics for spec in choose_mask(program, program.outputs(), wanted, labels, "net.pdmodel")]


def test_two_outputs_that_could_be_are_listed() -> None:
    program = two_heads()
    first, second = program.fetch_names
    with pytest.raises(InputError, match=r"^net\.pdmodel: 2 outputs could be the mask") as caught:
        chosen(program)
    shapes = (f"{first} (logits, float32 [1, 2, 8, 8])", f"{second} (logits, float32 [1, 4, 8, 8])")
    assert caught.value.cause == ", ".join(shapes)
    assert "--mask-output NAME" in caught.value.hint


def test_what_the_user_says_counts() -> None:
    program = two_heads()
    assert chosen(program, program.fetch_names[1]) == ["other", "logits"]
    assert chosen(program, FIRST) == ["logits", "other"]
    with pytest.raises(InputError, match=r"--mask-output masks: no such output"):
        chosen(program, "masks")


def test_probabilities_and_the_number_of_names_decide() -> None:
    assert chosen(two_heads("sigmoid")) == ["other", "probability"]
    assert chosen(two_heads(), labels=4) == ["other", "logits"]
    assert chosen(two_heads(), labels=2) == ["logits", "other"]
    with pytest.raises(InputError, match="2 outputs could be the mask"):
        chosen(two_heads(classes=4), labels=4)


def test_a_choice_by_rule_is_a_warning(tmp_path: Path) -> None:
    program = two_heads("softmax")
    second = program.fetch_names[1]
    program.write(tmp_path / "net")
    (tmp_path / "deploy.yaml").write_text("Deploy: {transforms: [{type: Resize, target_size: [8, 8]}]}")
    manifest = import_model(tmp_path / "net", ImportOptions(), Store(tmp_path / "store")).manifest
    said = f"2 outputs could be the mask, {second!r} is used; --mask-output NAME chooses another"
    assert said in manifest.warnings
    manifest = import_model(tmp_path / "net", ImportOptions(mask_output=second), Store(tmp_path / "store")).manifest
    assert said not in manifest.warnings


def test_class_indices_beside_their_scores_are_one_answer() -> None:
    graph = Graph()
    scores = graph.op("softmax", {"X": graph.feed(1, 3, 8, 8)}, (1, 3, 8, 8), axis=1)
    indices = graph.op("arg_max", {"X": scores}, (1, 8, 8), dtype="int64", axis=1, keepdims=False)
    program = graph.program(indices, scores)
    chosen_of = choose_mask(program, program.outputs(), None, 0, "net.pdmodel")
    assert [spec.semantics for spec in chosen_of] == ["class_index", "other"]
    assert choice_notes(program, program.outputs(), chosen_of) == []


def test_an_output_of_numbers_is_no_mask() -> None:
    graph = Graph()
    image = graph.feed(1, 3, 8, 8)
    scores = graph.op("sigmoid", {"X": image}, (1, 3, 8, 8))
    sizes = graph.op("shape", {"Input": image}, (4,), dtype="int32")
    program = graph.program(scores, sizes)
    assert chosen(program) == ["probability", "other"]
    with pytest.raises(InputError, match="no mask can be made from it"):
        chosen(program, sizes)


def test_probabilities_of_the_whole_image_are_no_mask() -> None:
    graph = Graph()
    image = graph.feed(1, 3, 8, 8)
    scores = graph.op("relu", {"X": image}, (1, 3, 8, 8))
    row = graph.op("reshape2", {"X": image}, {"Out": (1, 192), "XShape": (0, 1, 3, 8, 8)}, shape=[1, 192])
    exists = graph.op("sigmoid", {"X": row}, (1, 192))
    assert chosen(graph.program(scores, exists)) == ["logits", "other"]


def test_the_choice_travels_to_the_head(tmp_path: Path) -> None:
    program = two_heads()
    second = program.fetch_names[1]
    program.write(tmp_path / "net")
    options = ImportOptions(mask_output=second)
    manifest = import_model(tmp_path / "net", options, Store(tmp_path / "store")).manifest
    assert (mask_of(manifest.outputs), manifest.num_classes) == (second, 4)
    assert [spec.semantics for spec in manifest.outputs] == ["other", "logits"]
    changed, _ = set_head(program, "argmax", "int32", second)
    assert [changed.shape(name) for name in changed.fetch_names] == [(1, 2, 8, 8), (1, 8, 8)]
