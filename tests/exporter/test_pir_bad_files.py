"""Damaged, hostile and mistaken files of Paddle 3: an `InputError` that says what is wrong, never a traceback."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pir_cases
import pytest

from segexport.errors import InputError
from segexport.exporter import pir
from segexport.exporter.pir.file import MAX_BYTES

CASES = pir_cases.read(Path(__file__).resolve().parent.parent / "golden" / "pir" / "cases.zip")
CASE = CASES["segmentation"]
MUTATIONS = 500


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return CASE.write(tmp_path)


def refused(model: Path, params: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        pir.read_program(model, params)
    assert str(model) in caught.value.what or str(params) in caught.value.what
    assert caught.value.cause
    return caught.value


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "0 bytes"),
        (b"{", "Expecting property name"),
        (b'{"\xff": 1}', "codec can't decode"),
        (b"[]", "has no 'base_code' that is a dict"),
        (b"{}", "has no 'base_code' that is a dict"),
        (b'{"base_code": {"magic": "pir", "version": 1}, "program": {}}', "program has no 'regions' that is a list"),
        (b'{"base_code": {"magic": "pit", "version": 1}, "program": {}}', "its magic word is 'pit'"),
        (b'{"base_code": {"magic": "pir", "version": true}, "program": {}}', "has no 'version' that is a int"),
        (b'{"base_code": {"magic": "pir", "version": 1}, "program": {"regions": []}}', "the program has 0 regions"),
        (b'{"base_code": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"base_code": ' + b"9" * 1_000_000 + b"}", "an integer of 1000000 digits"),
        (b'{"base_code": NaN}', "bare word NaN"),
    ],
)
def test_what_is_no_program(files: tuple[Path, Path], data: bytes, cause: str) -> None:
    files[0].write_bytes(data)
    assert cause in refused(*files).cause


def test_a_file_too_large_is_not_read(files: tuple[Path, Path]) -> None:
    with files[0].open("r+b") as stream:
        stream.truncate(MAX_BYTES + 1)
    assert "too many for a program's graph" in refused(*files).what


def test_files_that_are_not_there(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[1].unlink()
    assert "no parameters file there" in refused(*files).what
    files[0].unlink()
    assert "cannot be read" in refused(*files).what
    assert "cannot be read" in refused(tmp_path, files[1]).what


def test_parameters_of_another_program(files: tuple[Path, Path]) -> None:
    files[1].write_bytes(CASES["convolutions"].params)
    assert "belong to another program" in refused(*files).cause


def test_parameters_cut_off(files: tuple[Path, Path]) -> None:
    files[1].write_bytes(CASE.params[:-1])
    assert "ends early" in refused(*files).what
    files[1].write_bytes(CASE.params + b"\0")
    assert "1 bytes are left" in refused(*files).what


def test_swapped_files(files: tuple[Path, Path]) -> None:
    assert "not a program of Paddle 3" in refused(files[1], files[0]).what


def test_a_program_cut_off_anywhere(files: tuple[Path, Path]) -> None:
    for end in range(1, len(CASE.model), len(CASE.model) // 40):
        files[0].write_bytes(CASE.model[:end])
        assert "not a program of Paddle 3, or a damaged one" in refused(*files).what


def _change(path: tuple, value: Any) -> dict:
    """The case with one place changed; None removes it."""
    program = json.loads(CASE.model)
    place = program["program"]["regions"][0]["blocks"][0]["ops"]
    conv = next(index for index, op in enumerate(place) if op["#"] == "1.conv2d")
    for key in (conv, *path[:-1]):
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return program


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("#",), "conv2d", "without a dialect"),
        (("#",), None, "has no '#' that is a str"),
        (("I",), "x", "has no 'I' that is a list"),
        (("I", 0, "%"), 10**6, "reads value 1000000, which no earlier operator creates"),
        (("I", 1, "%"), 0, "its operand 1 is missing"),
        (("O", 0, "%"), 1, "creates value 1 a second time"),
        (("A", 2, "AT", "D"), "\ud800", "surrogates not allowed"),
        (("O", 0, "TT", "D", 0, "#"), "0.t_f13", "element type 't_f13'"),
        (("O", 0, "TT", "D", 1), [1, -(2**31)], "invalid sizes [1, -2147483648]"),
        (("O", 0, "TT", "D", 1), [1.5], "'size' that is a int"),
        (("O", 0, "TT", "#"), "0.t_vec", "its result 0 is not a tensor"),
        (("A",), {}, "has no 'A' that is a list"),
        (("A", 0), None, "it has no attribute 'strides'"),
        (("A", 0, "AT", "D"), 7, "has no 'D' that is a list"),
        (("A", 0, "AT"), {"#": "0.a_str", "D": "x"}, "x is not of type INTS"),
        (("A", 0, "AT"), {"#": "0.a_i64", "D": 2**40}, "1099511627776 is not of type INTS"),
    ],
)
def test_a_damaged_operator(files: tuple[Path, Path], path: tuple, value: Any, message: str) -> None:
    files[0].write_text(json.dumps(_change(path, value)))
    assert message in str(refused(*files))


def test_random_bytes_changed(files: tuple[Path, Path]) -> None:
    """Nothing but InputError, whatever byte is another."""
    chance = random.Random(1)
    for _ in range(MUTATIONS):
        data = bytearray(CASE.model)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        files[0].write_bytes(bytes(data))
        try:
            pir.read_program(*files)
        except InputError as error:
            assert error.cause  # noqa: PT017 (not every change is a fault)


def test_random_values_changed(files: tuple[Path, Path]) -> None:
    """The same with JSON that stays whole: values of other types, of other places, and places removed."""
    chance, original = random.Random(2), json.loads(CASES["slices"].model)
    faults = 0
    for _ in range(MUTATIONS):
        program = copy.deepcopy(original)
        _mutate(program["program"]["regions"][0]["blocks"][0]["ops"], chance)
        files[0].write_text(json.dumps(program))
        try:
            pir.read_graph(files[0])
        except InputError:
            faults += 1
    assert faults > MUTATIONS / 2


def _mutate(ops: list, chance: random.Random) -> None:
    place: Any = chance.choice(ops)
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.8:
            place = inner
            continue
        if chance.random() < 0.3:
            del place[key]
        else:
            place[key] = chance.choice([None, True, -1, 0, 3, 2**63, 1e300, "", "x", [], [[]], {}, {"#": "0.a_i32"}])
        return
