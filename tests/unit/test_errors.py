"""Codes of errors: every class has one, none disappears, and the page lists them all."""

from __future__ import annotations

import ast
import pickle
import runpy
from pathlib import Path

import pytest

from segexport import errors
from segexport.errors import (
    ExistsError,
    InputError,
    MissingInputError,
    SegexportError,
    UnreadableError,
    WorkerCrashed,
    all_kinds,
    cannot_read,
)

REPOSITORY = Path(__file__).resolve().parents[2]
COMMITTED = Path(__file__).resolve().parents[1] / "golden" / "error_codes.txt"


def kinds_in_errors() -> list[type[SegexportError]]:
    return [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SegexportError)]


def test_every_class_has_a_code_of_its_own_and_says_what_it_means():
    kinds = kinds_in_errors()
    assert len(kinds) > 20
    assert [one.__name__ for one in kinds if "code" not in vars(one) or not one.__doc__] == []
    codes = [one.code for one in kinds]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and code.replace(".", "").replace("-", "").isalpha() for code in codes), codes
    assert all(line.endswith(".") for line in (one.__doc__.partition("\n")[0] for one in kinds))


def test_no_code_disappears():
    """A script may wait for any of them. A new class adds a line to the list; no line ever leaves it."""
    assert sorted(all_kinds()) == COMMITTED.read_text(encoding="utf-8").split()


def test_all_classes_of_errors_are_in_one_file():
    names = {one.__name__ for one in kinds_in_errors()}
    elsewhere = [
        f"{path.relative_to(REPOSITORY)}: {node.name}"
        for room in ("src/segexport", "exporter", "compress", "runtimes")
        for path in (REPOSITORY / room).rglob("*.py")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and names & {base.id for base in node.bases if isinstance(base, ast.Name)}
    ]
    assert elsewhere == [], "an error's class belongs into segexport/errors.py, with a code"


def test_the_page_is_made_from_the_classes():
    made = runpy.run_path(str(REPOSITORY / "docs/make_errors.py"))["text"]()
    assert (REPOSITORY / "docs/errors.md").read_text(encoding="utf-8") == made, "run `python docs/make_errors.py`"
    assert all(f"| `{code}` |" in made for code in all_kinds())


@pytest.mark.parametrize("kind", kinds_in_errors(), ids=lambda kind: kind.code)
def test_an_error_survives_another_process(kind):
    error = pickle.loads(pickle.dumps(kind("what", cause="why", hint="how")))
    assert (type(error), error.what, error.cause, error.hint, error.code) == (kind, "what", "why", "how", kind.code)


def test_a_crash_keeps_its_end():
    assert pickle.loads(pickle.dumps(WorkerCrashed("what", end="SIGSEGV"))).end == "SIGSEGV"


def test_the_path_is_what_the_message_begins_with(tmp_path):
    file = tmp_path / "a file.json"
    file.touch()
    assert UnreadableError(f"{file}: not JSON: at line 1").path == str(file)
    assert ExistsError(f"--labels {file}: exists").path == str(file)
    assert InputError(f"{tmp_path}, split 'val': 3 images are too few").path == str(tmp_path)
    assert InputError("no runtime here can use a GPU").path is None
    assert InputError("device 'gpu:0': none").path is None
    assert InputError("a\0b: strange").path is None
    assert MissingInputError("nowhere/model.pdmodel: no such file").path == "nowhere/model.pdmodel"
    assert MissingInputError("-o nowhere: no such folder").path == "nowhere"
    assert MissingInputError("nothing is named").path is None


def test_a_file_that_cannot_be_opened_is_missing_or_unreadable():
    error = cannot_read("a.yaml", FileNotFoundError(2, "No such file or directory"))
    assert (error.code, error.what, error.cause) == (
        "input.missing",
        "a.yaml: cannot be read",
        "No such file or directory",
    )
    assert cannot_read("a.yaml", PermissionError(13, "Permission denied"), hint="chmod").code == "input.unreadable"
