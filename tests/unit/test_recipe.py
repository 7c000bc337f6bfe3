"""Recipes: every fault at once, each with its line and what fixes it; and nothing that could do harm gets through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from segexport.errors import InputError
from segexport.pipeline.registry import targets
from segexport.recipe.export import export_name
from segexport.recipe.reader import read_recipe
from segexport.recipe.schema import Recipe
from segexport.spec import Precision

GOOD = """\
model: {path: m}
data: {path: d}
exports:
  - {to: onnx}
"""


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return read_recipe(path)


def faults(tmp_path: Path, text: str) -> list[str]:
    """The lines under the first one, without their indentation."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    first, *rest = caught.value.what.splitlines()
    count = f"{len(rest)} fault{'s' if len(rest) > 1 else ''} in the recipe"
    assert first == f"{tmp_path / 'recipe.yaml'}: {count}"
    assert caught.value.hint == "`segexport recipe schema` lists every key"
    return [line.strip() for line in rest]


def test_the_smallest_recipe_and_its_defaults(tmp_path):
    recipe = read(tmp_path, GOOD)
    (export,) = recipe.exports
    assert (export_name(export), export.precision, export.opset, export.simplify) == (
        "onnx-fp32",
        Precision.FP32,
        "auto",
        True,
    )
    assert (recipe.data.split, recipe.data.calibration_split, recipe.seed, recipe.steps) == ("val", "train", 0, ())
    assert (recipe.check.device, recipe.check.threads, recipe.check.latency_seconds) == ("cpu", 1, 10.0)


def test_what_latency_decides(tmp_path):
    for text, policy, seconds in (("off", "off", 0.0), ("warn", "warn", 10.0), ("gate", "gate", 10.0)):
        check = read(tmp_path, GOOD + f"check: {{latency: {text}}}\n").check
        assert (check.latency, check.timing_seconds) == (policy, seconds)  # YAML reads `off` as false
    assert read(tmp_path, GOOD).check.latency is None
    assert (
        "gate needs times, and latency_seconds is 0"
        in faults(tmp_path, GOOD + "check: {latency: gate, latency_seconds: 0}\n")[0]
    )
    assert "'off', 'warn' or 'gate'" in faults(tmp_path, GOOD + "check: {latency: fail}\n")[0]


def test_every_fault_is_told_at_once(tmp_path):
    text = """\
titel: x
model:
  path: model
  input_size: [0, -3]
  preproces: {}
  preprocess:
    scale: .nan
    geometry:
      - {op: resize, width: 10, heigth: 20}
data:
  path: data
  limit: none
exports:
  - {to: onnx, precision: bf16}
  - {to: onnx, opset: newest, calibration: {methd: mse, images: 0}}
  - {to: paddle-lite, precison: fp16}
  - {to: tflite}
  - {precision: fp32}
  - {to: onnx, limits: {miou_margn: 0.1}}
check:
  latency_seconds: .inf
  threads: 1.5
seeed: 1
"""
    assert faults(tmp_path, text) == [
        "line 1: titel: unknown key. did you mean 'title'?",
        "line 4: model.input_size.0: Input should be greater than 0 (given: 0)",
        "line 4: model.input_size.1: Input should be greater than 0 (given: -3)",
        "line 5: model.preproces: unknown key. did you mean 'preprocess'?",
        "line 7: model.preprocess.scale: Input should be a finite number (given: nan)",
        "line 9: model.preprocess.geometry.0.height: Field required",
        "line 9: model.preprocess.geometry.0.heigth: unknown key. did you mean 'height'?",
        "line 12: data.limit: Input should be a valid integer, unable to parse string as an integer (given: 'none')",
        "line 14: exports.0.precision: Input should be 'fp32', 'fp16', 'int8', 'w8', 'w4' or 'w4a8' (given: 'bf16')",
        "line 15: exports.1.calibration.images: Input should be greater than or equal to 1 (given: 0)",
        "line 15: exports.1.calibration.methd: unknown key. did you mean 'method'?",
        "line 15: exports.1.opset: Input should be 'auto' (given: 'newest'); or Input should be a valid integer, "
        "unable to parse string as an integer (given: 'newest')",
        "line 16: exports.2.precison: unknown key. did you mean 'precision'?",
        f"line 17: exports.3: 'tflite' is none of {', '.join(map(repr, targets()))}",
        "line 18: exports.4: 'to' is missing",
        "line 19: exports.5.limits.miou_margn: unknown key. did you mean 'miou_margin'?",
        "line 21: check.latency_seconds: Input should be less than or equal to 3600 (given: inf)",
        "line 22: check.threads: Input should be a valid integer, got a number with a fractional part (given: 1.5)",
        "line 23: seeed: unknown key. did you mean 'seed'?",
    ]


def test_a_key_without_a_near_one_gets_the_list(tmp_path):
    (line,) = faults(tmp_path, GOOD + "zzz: 1\n")
    assert line == (
        "line 5: zzz: unknown key. the keys here are check, data, exports, model, schema_version, seed, steps, title"
    )


def test_what_is_missing_is_named(tmp_path):
    assert faults(tmp_path, "title: x\n") == [
        "line 1: data: Field required",
        "line 1: exports: Field required",
        "line 1: model: Field required",
    ]


@pytest.mark.parametrize("text", ["[1, 2]", "just words", "42", "~"])
def test_a_file_that_is_no_mapping(tmp_path, text):
    with pytest.raises(InputError, match=r"1 fault in the recipe\n  line 1: recipe: Input should be a valid dict"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("exports", "message"),
    [
        ("[]", "exports: Tuple should have at least 1 item after validation, not 0"),
        ("[{to: onnx}, {to: onnx}]", "exports: two exports are called onnx-fp32; give each a `name`"),
        (
            "[{to: onnx, name: a}, {to: paddle-lite, name: a}]",
            "exports: two exports are called a; give each a `name`",
        ),
        (
            "[{to: onnx, name: reference}]",
            "exports: reference: not a name for an export, reports call the original so",
        ),
    ],
)
def test_the_list_of_exports(tmp_path, exports, message):
    text = f"model: {{path: m}}\ndata: {{path: d}}\nexports: {exports}\n"
    (line,) = faults(tmp_path, text)
    assert line == f"line 3: {message}"


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "a/b", "..", ".hidden", "a b", "x" * 61, "-o", "a\\b"])
def test_a_name_that_is_a_path_is_refused(tmp_path, name):
    (line,) = faults(tmp_path, GOOD.replace("{to: onnx}", f"{{to: onnx, name: {json.dumps(name)}}}"))
    assert line.startswith("line 4: exports.0.name: String should ")


@pytest.mark.parametrize("name", ["模型", "net-v1.2_final", "größe"])
def test_names_in_any_script(tmp_path, name):
    (export,) = read(tmp_path, GOOD.replace("{to: onnx}", f"{{to: onnx, name: {name}}}")).exports
    assert export_name(export) == name


@pytest.mark.parametrize(
    "options",
    [
        "latency_seconds: -1",
        "latency_seconds: .nan",
        "timeout_s: .inf",
        "timeout_s: 0",
        "threads: 0",
        "threads: 100000",
        "worst_images: -1",
    ],
)
def test_options_of_the_check_out_of_range(tmp_path, options):
    (line,) = faults(tmp_path, GOOD + f"check: {{{options}}}\n")
    assert line.startswith(f"line 5: check.{options.partition(':')[0]}: Input should be ")


def test_anchors_and_merge_keys_are_followed(tmp_path):
    text = """\
model: {path: m}
data: {path: d}
exports:
  - &base {to: onnx, name: a, opset: 13}
  - {<<: *base, name: b, precision: fp16}
"""
    recipe = read(tmp_path, text)
    assert [(export.name, export.opset, export.precision.value) for export in recipe.exports] == [
        ("a", 13, "fp32"),
        ("b", 13, "fp16"),
    ]


def test_a_fault_that_was_merged_in_has_the_line_where_it_stands(tmp_path):
    text = "model: {path: m}\ndata: {path: d}\nexports:\n  - &a {to: onnx, name: a, opst: 1}\n  - {<<: *a, name: b}\n"
    assert [line.split(":")[0] for line in faults(tmp_path, text)] == ["line 4", "line 4"]


def test_a_recipe_cannot_be_changed(tmp_path):
    with pytest.raises(ValidationError, match="frozen"):
        read(tmp_path, GOOD).seed = 3


def test_the_schema_names_every_key_and_refuses_others():
    schema = Recipe.model_json_schema()
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["additionalProperties"] is False
    for name, part in schema["$defs"].items():
        assert part.get("additionalProperties") is False or "enum" in part, name


def test_the_built_in_recipe_is_valid():
    from segexport.commands.run import DEMO_RECIPE

    names = [export_name(export) for export in read_recipe(DEMO_RECIPE).exports]
    assert {"onnx-fp32", "onnx-fp16", "onnx-int8", "paddle-lite-fp32", "paddle-lite-fp16", "paddle-lite-w8"} <= {*names}


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (
            "[{step: qat, params: {steps: 1}}, {step: prune, params: {ratio: 0.5}}]",
            "'prune' comes after 'qat': pruning takes away the weights whose ranges quantization-aware training has "
            "learned; put it before",
        ),
        (
            "[{step: qat}, {step: finetune}]",
            "'finetune' comes after 'qat': fine-tuning moves the weights away from the ranges that quantization-aware "
            "training learned; put it before",
        ),
        (
            "[{step: set_head, params: {head: argmax}}, {step: finetune}]",
            "'finetune' comes after 'set_head', whose argmax has no gradient to train with; put it before",
        ),
    ],
)
def test_an_order_that_makes_no_sense(tmp_path, steps, fault):
    assert faults(tmp_path, GOOD + f"steps: {steps}\n") == [f"line 5: steps: {fault}"]


def test_orders_that_make_sense(tmp_path):
    steps = "[{step: prune}, {step: finetune}, {step: prune}, {step: finetune}, {step: qat}, {step: set_head}]"
    assert len(read(tmp_path, GOOD + f"steps: {steps}\n").steps) == 6


ABLATION = """\
model: {path: m}
data: {path: d}
steps: [{step: prune}, {step: finetune}]
exports:
  - {to: onnx}
  - {to: onnx, name: unpruned, without: [prune, finetune]}
"""


def test_an_export_without_some_of_the_steps(tmp_path):
    recipe = read(tmp_path, ABLATION)
    assert [[entry.step for entry in recipe.steps_for(export)] for export in recipe.exports] == [
        ["prune", "finetune"],
        [],
    ]
    without = recipe.ablated(["finetune"])
    assert [[entry.step for entry in without.steps_for(export)] for export in without.exports] == [["prune"], []]
    with pytest.raises(ValueError, match="no step 'qat' to leave out; its steps are prune, finetune"):
        recipe.ablated(["qat"])
    assert faults(tmp_path, ABLATION.replace("prune, finetune]}", "qat]}")) == [
        "line 1: recipe: the recipe has no step 'qat' to leave out; its steps are prune, finetune"
    ]


def test_a_part_of_the_images(tmp_path):
    assert read(tmp_path, GOOD.replace("{path: d}", "{path: d, part: 2/3}")).data.part == "2/3"
    (fault,) = faults(tmp_path, GOOD.replace("{path: d}", "{path: d, part: half}"))
    assert fault.startswith("line 2: data.part: String should match pattern")
