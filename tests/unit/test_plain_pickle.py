"""Pickles as plain data: NumPy's and Paddle's arrays come out as they were, everything else is named and not run."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections import OrderedDict

import numpy as np
import pytest

from segexport.files import plain_pickle


def read(content: bytes):
    return plain_pickle.load(io.BytesIO(content))


ARRAYS = {
    "float32": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "one number": np.array(3.5, np.float32),
    "no numbers": np.zeros((0, 4), np.float32),
    "half": np.array([1.5, -2], np.float16),
    "int64": np.array([[1, -(2**40)]], np.int64),
    "bool": np.array([True, False]),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "big-endian": np.array([1, 2], ">f4"),
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_out_as_they_were(name, protocol):
    array = ARRAYS[name]
    found = np.asarray(read(pickle.dumps({"w": array}, protocol))["w"])
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_out_as_they_were(protocol):
    content = {"a": [1, 2.5, None, True, "text", b"bytes"], "b": OrderedDict(x=(1, 2)), "c": np.float64(0.25)}
    assert read(pickle.dumps(content, protocol)) == content


class _Call:
    def __init__(self, function, *arguments):
        self._what = function, arguments

    def __reduce__(self):
        return self._what


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_tensor_as_paddle_writes_it_is_its_array(protocol):
    """`paddle.save` reduces a tensor to `tuple((name, array))`, one of its static mode to an expression."""
    array = ARRAYS["float32"]
    content = {"t": _Call(tuple, ("linear_0.w_0", array)), "s": _Call(eval, "data", {"data": array})}
    found = read(pickle.dumps(content, protocol))
    assert found["t"][0] == "linear_0.w_0"
    np.testing.assert_array_equal(found["t"][1], array)
    np.testing.assert_array_equal(found["s"], array)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (_Call(os.system, "touch run"), f"{os.system.__module__}.system"),
        (_Call(eval, "open('run', 'w')", {"data": 1}), "an expression"),
        (_Call(getattr, "text", "upper"), "builtins.getattr"),
        (_Call(np.load, "run"), "load"),
        (np.array([{"a": 1}], dtype=object), "an array of 'O8'"),
        (np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]), "an array of 'V8'"),
        (np.array(["text"]), "an array of 'U4'"),
    ],
    ids=["a command", "an expression", "a builtin", "a function of numpy", "objects", "records", "texts"],
)
def test_anything_else_is_named_and_not_run(value, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match=named):
        read(pickle.dumps({"w": value}))
    assert list(tmp_path.iterdir()) == []


def test_an_array_of_more_bytes_than_it_has_is_refused():
    content = pickle.dumps(np.zeros(1000, np.uint8), 2)
    place = next(at for op, value, at in pickletools.genops(content) if value == 1000)
    longer = content[: place + 1] + (2000).to_bytes(2, "little") + content[place + 3 :]
    with pytest.raises(pickle.UnpicklingError, match=r"an array of uint8 \[2000\] has 1000 bytes"):
        read(longer)


def test_a_type_cannot_be_turned_into_pointers():
    """NumPy's own type takes a state that makes an array of objects read its bytes as addresses."""

    class Type:
        def __reduce__(self):
            return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)

    with pytest.raises(pickle.UnpicklingError, match="an array of 'O8'"):
        read(pickle.dumps(Type()))


def test_a_memo_of_more_objects_than_bytes_is_refused():
    with pytest.raises(pickle.UnpicklingError, match="LONG_BINPUT 2147483647 in 9 bytes"):
        read(b"\x80\x04Nr\xff\xff\xff\x7f.")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_what_is_cut_off_is_an_error(share):
    content = pickle.dumps(ARRAYS)
    with pytest.raises(pickle.UnpicklingError):
        read(content[: int(share * len(content))])
