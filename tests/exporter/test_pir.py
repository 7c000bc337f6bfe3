"""Programs of Paddle 3: translated ones compute in Paddle 2.6.2 what Paddle 3 recorded; what cannot be is named."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pir_cases
import pytest
from toolchain import Toolchain

from segexport.errors import UnsupportedModelError
from segexport.exporter import pir
from segexport.exporter import program as programs
from segexport.exporter.layers import layer_path
from segexport.exporter.pir.custom_rules import SPECIAL
from segexport.exporter.pir.rule_grammar import attributes, operands, results
from segexport.exporter.pir.rules import RULES
from segexport.exporter.program import Attr, Program, read_graph

CASES = pir_cases.read(Path(__file__).resolve().parent.parent / "golden" / "pir" / "cases.zip")
REFUSED = {name for name in CASES if name.startswith("refused_")}


def content(name: str) -> dict:
    """A case's program as JSON, to be changed by a test."""
    return json.loads(CASES[name].model)


def ops(program: dict) -> list[dict]:
    return program["program"]["regions"][0]["blocks"][0]["ops"]


def find(program: dict, name: str) -> dict:
    return next(op for op in ops(program) if op["#"] == name)


def attr(name: str, kind: str, value: Any) -> dict:
    return {"N": name, "AT": {"#": kind, "D": value}}


@pytest.fixture
def translated(tmp_path: Path):
    """Translates a program that a test has changed."""

    def translate(program: dict) -> Program:
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(program))
        return pir.read_graph(file)

    return translate


@pytest.mark.parametrize("name", sorted(set(CASES) - REFUSED))
def test_the_result_is_that_of_paddle_3(name: str, tools: Toolchain, tmp_path: Path) -> None:
    case = CASES[name]
    program = pir.read_program(*case.write(tmp_path))
    if not program.params:  # Paddle Inference loads no program without parameters
        program.add_param("unused", np.zeros(1, np.float32))
    found = tools.paddle(program, case.feed)
    assert len(found) == len(case.shapes) > 0
    for index, value in enumerate(found):
        assert (value.shape, str(value.dtype)) == (case.shapes[index], case.dtypes[index]), f"output {index}"
        assert program.dtype(program.fetch_names[index]) == case.dtypes[index]
        difference = pir_cases.relative_difference(pir_cases.sample(value), case.samples[index])
        assert difference <= 1e-5, f"output {index} ({program.fetch_names[index]})"


def test_every_rule_is_covered() -> None:
    met = set()
    for name in CASES:
        for op in ops(content(name)):
            dialect, _, short = op["#"].rpartition(".")
            met.add(f"builtin.{short}" if dialect == "0" else short)
    met |= {name[:-1] for name in met if name.endswith("_")}
    elsewhere = {"feed", "shape", "sync_batch_norm", "builtin.slice"}  # see the tests below
    random = {"uniform", "gaussian", "randint", "randperm", "bernoulli", "poisson", "multinomial"}  # nothing to compare
    assert (set(RULES) | set(SPECIAL)) - met == elsewhere | random


def test_rules_speak_of_what_paddle_has() -> None:
    """Paddle 2.6.2 has the slots and the attributes of each rule, with that type, and requires no other slot."""
    from paddle.base import core
    from paddle.base.proto import framework_pb2 as framework

    protos = {proto.type: proto for proto in map(framework.OpProto.FromString, core.get_all_op_protos())}
    for name, rule in RULES.items():
        proto = protos[rule.op]
        inputs = {slot.name: slot for slot in proto.inputs}
        outputs = {slot.name: slot for slot in proto.outputs}
        types = {found.name: framework.AttrType.Name(found.type) for found in proto.attrs}
        words = operands(rule.operands)
        for word in words:
            assert word.slot in ("", "VARS") or not inputs[word.slot].duplicable, (name, word)
            assert not word.list_slot or inputs[word.list_slot].duplicable, (name, word)
        required = {slot.name for slot in proto.inputs if not slot.dispensable}
        assert required <= {word.slot or word.list_slot for word in words if not word.attr}, name
        for word in results(rule.results):
            assert not word.slot or outputs[word.slot].duplicable == word.is_list, (name, word)
        typed = [(word.attr, word.type) for word in words if word.attr]
        typed += [(word.legacy, word.type) for word in attributes(rule.attrs) if word.legacy]
        for attribute, type in typed:
            if (name, attribute) == ("swish", "beta"):  # Paddle-Lite wants it; Paddle takes it, unlisted
                continue
            assert types[attribute] == {"DTYPE": "INT", "BOUNDS": "INTS"}.get(type, type), (name, attribute)


# -- what is kept ----------------------------------------------------------------------------------------------


def test_inputs_and_outputs_keep_their_order_and_names(tmp_path: Path) -> None:
    program = pir.read_program(*CASES["several"].write(tmp_path))
    assert program.feed_names == ["input_0", "input_1", "input_2"]
    assert program.fetch_names == ["fetch_name_0", "fetch_name_1", "fetch_name_2"]
    assert [program.shape(name) for name in program.fetch_names] == [(2,), (4, 2), (1, 8, 8)]


def test_free_sizes_stay_free(tmp_path: Path) -> None:
    program = pir.read_program(*CASES["segmentation_dynamic"].write(tmp_path))
    (image,), (mask,) = program.inputs(), program.outputs()
    assert (image.shape, image.layout, image.semantics) == ((-1, 3, -1, -1), "NCHW", "image")
    assert (mask.shape, mask.layout, mask.semantics) == ((-1, 4, -1, -1), "NCHW", "probability")


def test_layer_paths_travel_with_the_program(tmp_path: Path) -> None:
    program = pir.read_program(*CASES["segmentation"].write(tmp_path))
    program.strip_build_paths()
    written = programs.read(*program.write(tmp_path / "written"))
    paths = {op.type: layer_path(op) for op in written.ops}
    assert paths["conv2d"] == "/Sequential_2/Conv2D/"
    assert paths["hard_swish"] == "/Sequential_1/Hardswish/"
    assert paths["arg_max"] == "/"  # made by the net itself, which is not below another layer


def test_parameters_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("convolutions", "attention", "segmentation@3.0.0"):
        program = pir.read_program(*CASES[name].write(tmp_path))
        assert program.write(tmp_path / "written")[1].read_bytes() == CASES[name].params


def test_constants_become_attributes(tmp_path: Path) -> None:
    """Sizes and axes are operands in Paddle 3; none stays a separate operator."""
    program = pir.read_program(*CASES["segmentation"].write(tmp_path))
    assert {op.type for op in program.ops} == {
        "feed", "fetch", "conv2d", "depthwise_conv2d", "batch_norm", "relu", "hard_swish", "reshape2",
        "elementwise_add", "bilinear_interp_v2", "arg_max",
    }  # fmt: skip
    (argmax,) = [op for op in program.ops if op.type == "arg_max"]
    kept = {name: argmax.attrs[name] for name in ("axis", "keepdims", "flatten", "dtype")}
    assert kept == {
        "axis": Attr("LONG", 1),
        "keepdims": Attr("BOOLEAN", False),
        "flatten": Attr("BOOLEAN", False),
        "dtype": Attr("INT", 2),
    }


def test_the_zoo_is_what_a_legacy_export_has(shared_dir: Path) -> None:
    """Per operator type as many as in the legacy export of the same network; Paddle 3 makes sizes otherwise."""
    found = sorted((shared_dir / "zoo" / "pir").glob("*.json"))
    assert len(found) == 8
    loose = {"fill_constant", "scale", "slice", "assign_value", "dropout"}
    for file in found:
        translated, legacy = pir.read_graph(file), read_graph(shared_dir / "zoo" / f"{file.stem}.pdmodel")
        counts = [
            {kind: sum(op.type == kind for op in program.ops) for kind in {op.type for op in program.ops} - loose}
            for program in (translated, legacy)
        ]
        assert counts[0] == counts[1], file.stem
        paths = {layer_path(op) for op in translated.ops if op.type == "conv2d"}
        assert len(paths) >= 10
        assert all(re.fullmatch(r"(/\w+)+/", path) for path in paths)


# -- operators that the cases do not contain ---------------------------------------------------------------------


def test_sync_batch_norm_is_batch_norm(translated) -> None:
    program = content("segmentation")
    expected = [(op.type, op.attrs) for op in translated(program).ops]
    assert ("batch_norm", "relu") in [(a[0], b[0]) for a, b in itertools.pairwise(expected)]
    for op in ops(program):
        op["#"] = op["#"].replace("batch_norm_", "sync_batch_norm_")
    assert [(op.type, op.attrs) for op in translated(program).ops] == expected


def test_feed_operators_say_their_order(translated) -> None:
    """As programs have them that Paddle 3 read from a legacy export."""
    program = content("several")
    feeds = [op for op in ops(program) if op["#"] == "1.data"]
    for op, column in zip(feeds, (2, 0, 1), strict=True):
        op["#"], op["A"] = "1.feed", [op["A"][0], attr("col", "0.a_i32", column)]
    assert translated(program).feed_names == ["input_1", "input_2", "input_0"]


def test_an_item_of_a_list_is_taken_alone_or_with_the_others(translated) -> None:
    program = content("shapes")
    expected = translated(program).to_bytes()
    place = ops(program)
    number = next(index for index, op in enumerate(place) if op["#"] == "0.split")
    split = place[number]
    place[number : number + 1] = [
        {**split, "#": "0.slice", "O": [result], "A": [attr("index", "0.a_i32", index)]}
        for index, result in enumerate(split["O"])
    ]
    assert translated(program).to_bytes() == expected


def test_sizes_that_come_one_by_one(translated) -> None:
    """A list of tensors in place of one: as programs have them that Paddle 3 read from a legacy export."""
    program = content("dynamic")
    reshape = next(op for op in ops(program) if op["#"] == "1.reshape" and _made_by(program, op, 1)["#"] == "1.stack")
    reshape["I"][1] = _made_by(program, reshape, 1)["I"][0]
    (found,) = [op for op in translated(program).ops if op.type == "reshape2" and op.inputs.get("ShapeTensor")]
    assert len(found.inputs["ShapeTensor"]) == 4
    assert found.attrs["shape"] == Attr("INTS", [-1, -1, -1, -1])


def _made_by(program: dict, op: dict, operand: int) -> dict:
    number = op["I"][operand]["%"]
    made = (other for other in ops(program) if other["#"] != "p" and number in [value["%"] for value in other["O"]])
    return next(made)


def test_shape_of_32_bits_needs_no_cast(translated) -> None:
    program = content("segmentation_dynamic")
    before = [op.type for op in translated(program).ops]
    op = find(program, "1.shape64")
    op["#"], op["O"][0]["TT"]["D"][0]["#"] = "1.shape", "0.t_i32"
    after = [op.type for op in translated(program).ops]
    assert before.count("cast") == 1 + after.count("cast")
    assert len(before) == len(after) + 1


# -- what is refused ---------------------------------------------------------------------------------------------


def test_loops_and_branches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        pir.read_program(*CASES["refused_control_flow"].write(tmp_path))
    assert "cannot be translated: if (1x, layer /), while (1x, layer /)" in caught.value.what
    assert "loops or branches" in caught.value.cause
    assert "FLAGS_enable_pir_api" not in caught.value.hint  # a legacy export would hold them too


def test_unknown_operators_are_all_named_with_their_layers(translated) -> None:
    program = content("segmentation")
    for op in ops(program):
        op["#"] = {"1.relu": "1.flash_attn", "1.hardswish": "1.fused_bias_act"}.get(op["#"], op["#"])
    with pytest.raises(UnsupportedModelError) as caught:
        translated(program)
    assert caught.value.what.endswith(
        "flash_attn (1x, layer /Sequential/ReLU/), fused_bias_act (1x, layer /Sequential_1/Hardswish/)"
    )
    assert "FLAGS_enable_pir_api=0" in caught.value.hint


def test_operators_of_a_plugin_are_refused(translated) -> None:
    program = content("segmentation")
    find(program, "1.relu")["#"] = "3.relu"
    with pytest.raises(UnsupportedModelError, match=r"custom_op\.relu \(1x, layer /Sequential/ReLU/\)"):
        translated(program)


def test_a_buffer_that_was_not_saved_is_named(translated) -> None:
    program = content("segmentation")
    weight = next(op for op in ops(program) if op["#"] == "p" and op["A"][3] == "conv2d_0.w_0")
    weight["OA"][0] = 0  # persistable
    with pytest.raises(UnsupportedModelError) as caught:
        translated(program)
    assert caught.value.cause == "it reads conv2d_0.w_0, a buffer that Paddle does not save"


def test_sizes_of_a_resize_are_int32(tmp_path: Path) -> None:
    """Paddle 3 computes them in int64; the legacy operators read nothing else than int32."""
    program = pir.read_program(*CASES["free_sizes"].write(tmp_path))
    slots = {"bilinear_interp_v2": "SizeTensor", "nearest_interp_v2": "OutSize", "linspace": "Num"}
    read = {op.type: op.inputs[slots[op.type]] for op in program.ops if op.type in slots}
    assert {kind: {program.dtype(name) for name in names} for kind, names in read.items()} == {
        kind: {"int32"} for kind in slots
    }


def test_a_size_of_several_free_ones_is_free(tmp_path: Path) -> None:
    """instance_norm's statistics of a dynamic batch have -1 * 4 elements in the file."""
    program = pir.read_program(*CASES["free_sizes"].write(tmp_path))
    norm = next(op for op in program.ops if op.type == "instance_norm")
    assert program.shape(norm.output("SavedMean") or "") == (-1,)


def test_an_attribute_that_is_not_known_is_not_dropped(translated) -> None:
    program = content("segmentation")
    find(program, "1.relu")["A"].append(attr("slope", "0.a_f32", 0.5))
    with pytest.raises(UnsupportedModelError) as caught:
        translated(program)
    assert "(relu, layer /Sequential/ReLU/) cannot be translated" in caught.value.what
    assert caught.value.cause == "its attribute slope (0.5) has no legacy counterpart"


def test_a_choice_that_the_legacy_operator_lacks_is_refused(translated) -> None:
    program = content("unary")
    (decimals,) = [a for a in find(program, "1.round")["A"] if a["N"] == "decimals"]
    decimals["AT"]["D"] = 2
    with pytest.raises(UnsupportedModelError) as caught:
        translated(program)
    assert caught.value.cause == "its decimals is 2, which the legacy operator does not have"


def test_a_computed_axis_is_refused(translated) -> None:
    program = content("segmentation")
    argmax, conv = find(program, "1.argmax"), find(program, "1.conv2d")
    argmax["I"][1] = {"%": conv["O"][0]["%"]}
    with pytest.raises(UnsupportedModelError) as caught:
        translated(program)
    assert caught.value.cause == "its axis is computed; the legacy operator takes a constant"


def test_a_value_that_was_overwritten_is_not_read(translated) -> None:
    """In place, and no operator reads the old value: the same program; otherwise readers would get a wrong value."""
    program = content("segmentation")
    expected = [op.type for op in translated(program).ops]
    relu, hardswish = find(program, "1.relu"), find(program, "1.hardswish")
    relu["#"] = "1.relu_"
    assert [op.type for op in translated(program).ops] == expected
    hardswish["I"] = relu["I"]
    with pytest.raises(UnsupportedModelError, match=r"hardswish, layer /Sequential_1/Hardswish/\)") as caught:
        translated(program)
    assert caught.value.cause.endswith("(relu_, layer /Sequential/ReLU/) has overwritten")


def test_a_newer_format_is_tried_and_named_when_it_fails(translated) -> None:
    program = content("segmentation")
    program["base_code"]["version"] = 99
    translated(program)
    find(program, "1.relu")["#"] = "1.relu_of_tomorrow"
    with pytest.raises(UnsupportedModelError) as caught:
        translated(program)
    assert "format 99, newer than 4" in caught.value.cause
