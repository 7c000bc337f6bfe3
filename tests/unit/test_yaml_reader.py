"""YAML from strangers: bounded, plain, and clear about what is wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from segexport.errors import InputError
from segexport.files.yaml_reader import MAX_BYTES, read_yaml


def refused(tmp_path: Path, content: str | bytes) -> InputError:
    path = tmp_path / "x.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert time.process_time() - start < 5
    assert caught.value.what.startswith(f"{path}: ")
    caught.value.what = caught.value.what.removeprefix(f"{path}: ")
    return caught.value


def test_plain_data(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("\ufeffa: [1, 2.5, true, null, text]\nb: {c: 'd'}\n", encoding="utf-8")
    assert read_yaml(path) == {"a": [1, 2.5, True, None, "text"], "b": {"c": "d"}}


@pytest.mark.parametrize(
    ("content", "what", "cause"),
    [
        (
            "a:\n\tb: 1\n",
            "not valid YAML",
            "line 2, column 1: while scanning for the next token, found character '\\t' that cannot start any token",
        ),
        ("a: [1, 2\nb: 3\n", "not valid YAML", "line 2, column 2: while parsing a flow sequence"),
        ("a: 'unclosed\n", "not valid YAML", "found unexpected end of stream"),
        ("a: b: c\n", "not valid YAML", "mapping values are not allowed here"),
        ("a: *nowhere\n", "not valid YAML", "found undefined alias"),
        ("--- 1\n--- 2\n", "not valid YAML", "expected a single document"),
        ("a: \x00\n", "not valid YAML", "special characters are not allowed"),
        (b"a: \xff\xfe\n", "not UTF-8 text", "can't decode byte 0xff"),
        ("", "empty", ""),
        ("# only a comment\n", "empty", ""),
        ("a: !!python/object/apply:os.system ['touch /tmp/owned']\n", "not plain YAML data", "could not determine"),
        ("a: !!binary 'abc'\n", "not plain YAML data", "line 1, column 4: failed to decode base64"),
        ("a: 2023-13-45\n", "not plain YAML data", "month must be in"),
        ("? [1, 2]\n: x\n", "not plain YAML data", "found unhashable key"),
        ("a: !!bool foo\n", "not plain YAML data", "foo"),
        ("a: !!int ''\n", "not plain YAML data", "index out of range"),
        ("a: !!float ''\n", "not plain YAML data", "index out of range"),
        ("a: !!int [1]\n", "not plain YAML data", "expected a scalar node"),
        ("a: !!timestamp x\n", "not plain YAML data", ""),
        ("a: !!pairs 3\n", "not plain YAML data", ""),
    ],
    ids=lambda value: str(value)[:24].strip(),
)
def test_what_is_not_plain_yaml(tmp_path, content, what, cause):
    error = refused(tmp_path, content)
    assert error.what == what
    assert cause in error.cause


def test_a_key_given_twice_names_both_lines(tmp_path):
    assert refused(tmp_path, "a: 1\nb: 2\na: 3\n").what == "line 3: 'a' is given twice, first in line 1"


def test_a_bomb_of_aliases(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert refused(tmp_path, "\n".join(lines)).what == "too much YAML: over 20000 values or 100 levels"


def test_a_bomb_of_merge_keys(tmp_path):
    lines = ["a0: &a0 {k0: 1, k1: 2, k2: 3}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], n{n}: 1}}" for n in range(1, 10)]
    assert "too much YAML" in refused(tmp_path, "\n".join(lines)).what


def test_an_alias_to_itself(tmp_path):
    assert "too much YAML" in refused(tmp_path, "a: &a [*a]\n").what
    assert "too much YAML" in refused(tmp_path, "a: &a {b: *a}\n").what


@pytest.mark.parametrize("content", ["[" * 50_000, "{a: " * 50_000, "- " * 50_000, "[" * 200 + "]" * 200])
def test_deep_nesting(tmp_path, content):
    assert refused(tmp_path, content).what.startswith(("not valid YAML", "too much YAML"))


def test_a_huge_file(tmp_path):
    assert refused(tmp_path, b"a: " + b"x" * MAX_BYTES).what == f"more than {MAX_BYTES} bytes of YAML"


def test_a_file_without_end():
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero")
    with pytest.raises(InputError, match="/dev/zero: not a file"):
        read_yaml(Path("/dev/zero"))


def test_a_pipe_is_read():
    """What a shell gives for `<(...)`."""
    out, into = os.pipe()
    os.write(into, b"a: 1\n")
    os.close(into)
    assert read_yaml(Path(f"/dev/fd/{out}")) == {"a": 1}
    os.close(out)


@pytest.mark.parametrize(("name", "cause"), [("nothing", "No such file or directory"), ("", "Is a directory")])
def test_files_that_cannot_be_read(tmp_path, name, cause):
    with pytest.raises(InputError) as caught:
        read_yaml(tmp_path / name)
    assert caught.value.what.endswith(": cannot be read")
    assert caught.value.cause == cause
