"""The search for a Python that can run a runtime: every candidate is executed, none is believed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from fakes import make_python, make_shim

from segexport.errors import EnvironmentMissingError
from segexport.pipeline.step import _version, tool_versions
from segexport.process.interpreter import OVERRIDE, interpreter_for, probe
from segexport.process.worker import Worker


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without other Pythons; the folder is on PATH."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name: str(binaries / name) if (binaries / name).exists() else None)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.delenv(OVERRIDE, raising=False)
    interpreter_for.cache_clear()
    _version.cache_clear()
    yield binaries
    interpreter_for.cache_clear()
    _version.cache_clear()


def test_our_own_python_comes_first():
    assert interpreter_for("numpy") == Path(sys.executable)
    assert interpreter_for("numpy.linalg") == Path(sys.executable)


def test_a_shim_that_exits_127_is_passed_over(nothing_installed, tmp_path):
    make_shim(nothing_installed / "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    make_shim(nothing_installed / "python3", "exit 0")  # succeeds without having done a thing
    good = make_python(tmp_path / "pyenv/versions/3.10.99", {"lite_like": ""})
    assert interpreter_for("lite_like") == good


def test_a_shim_that_hangs_costs_its_time_and_no_more(tmp_path):
    shim = make_shim(tmp_path / "python3.10", "sleep 600")
    start = time.monotonic()
    assert probe(shim, "numpy", timeout_s=0.5) is None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("output", ["", "not json", "{"])
def test_a_python_that_answers_nonsense_is_none(tmp_path, output):
    assert probe(make_shim(tmp_path / "python", f"echo '{output}'"), "numpy") is None


def test_files_that_cannot_be_executed_are_none(tmp_path):
    plain = tmp_path / "python"
    plain.write_text("no program")
    assert probe(plain, "numpy") is None
    assert probe(tmp_path, "numpy") is None
    assert probe(tmp_path / "missing", "numpy") is None


def test_a_python_without_numpy_cannot_run_a_worker(tmp_path):
    without = make_python(tmp_path / "a", {"lite_like": ""}, numpy=False)
    having = make_python(tmp_path / "b", {"lite_like": ""})
    assert probe(without, "lite_like") is None
    assert probe(having, "lite_like")["python"].startswith("3.")


def test_a_module_that_fails_on_import_is_not_there(tmp_path):
    python = make_python(tmp_path / "a", {"broken": "raise ImportError('libfoo.so.1: cannot open')", "died": "1 / 0"})
    assert probe(python, "broken") is None
    assert probe(python, "died") is None


def test_uv_and_pyenv_are_searched_newest_name_last_in_the_alphabet_first(tmp_path):
    make_python(tmp_path / "uv/cpython-3.8", {"other": ""})
    good = make_python(tmp_path / "uv/cpython-3.10", {"lite_like": ""})
    assert interpreter_for("lite_like") == good


def test_the_override_comes_before_our_own(tmp_path, monkeypatch):
    python = make_python(tmp_path / "mine", {"lite_like": ""})
    monkeypatch.setenv(OVERRIDE, str(python))
    assert interpreter_for("lite_like") == python
    assert interpreter_for("numpy") == python


def test_what_the_override_lacks_is_found_elsewhere(tmp_path, monkeypatch):
    """The hint for Paddle-Lite tells people to name a Python that has little else."""
    monkeypatch.setenv(OVERRIDE, str(make_python(tmp_path / "mine", {"lite_like": ""})))
    assert interpreter_for("pydantic") == Path(sys.executable)


@pytest.mark.parametrize("kind", ["missing", "shim", "no numpy"])
def test_an_override_that_does_not_run_is_an_error_not_a_fallback(tmp_path, monkeypatch, kind):
    path = tmp_path / "named"
    if kind == "shim":
        make_shim(path, "exit 127")
    if kind == "no numpy":
        path = make_python(tmp_path / "mine", {}, numpy=False)
    monkeypatch.setenv(OVERRIDE, str(path))
    with pytest.raises(EnvironmentMissingError) as caught:
        interpreter_for("numpy")
    assert caught.value.what == f"$SEGEXPORT_PYTHON is {path}, which is not a Python that runs here and has NumPy"
    assert "unset SEGEXPORT_PYTHON" in caught.value.hint


def test_nobody_has_it(nothing_installed):
    shim = make_shim(nothing_installed / "python3.10", "exit 127")
    with pytest.raises(EnvironmentMissingError) as caught:
        interpreter_for("a_module_of_nobody")
    assert caught.value.what == "no Python here can import 'a_module_of_nobody'"
    assert caught.value.cause == f"tried {sys.executable}, {shim}"
    assert caught.value.hint == "pip install a_module_of_nobody"


def test_the_hint_for_paddle_lite_names_the_python_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "paddlelite", None)  # as if it were not installed
    with pytest.raises(EnvironmentMissingError) as caught:
        interpreter_for("paddlelite")
    assert "CPython 3.10" in caught.value.hint
    assert "$SEGEXPORT_PYTHON" in caught.value.hint


def test_versions_are_those_of_the_python_that_runs_the_tool(tmp_path, monkeypatch):
    python = make_python(tmp_path / "mine", {"lite_like": ""})
    info = python.parent.parent / "lib" / f"python3.{sys.version_info.minor}" / "site-packages/lite_like-9.8.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lite-like\nVersion: 9.8\n")
    (info / "top_level.txt").write_text("lite_like\n")
    (info / "RECORD").write_text("lite_like.py,,\n")
    monkeypatch.setenv(OVERRIDE, str(python))
    assert tool_versions(("lite_like", "nobody_has_this")) == {"lite_like": "9.8", "nobody_has_this": ""}


def test_a_worker_runs_in_the_python_that_was_found(tmp_path, monkeypatch):
    python = make_python(tmp_path / "mine", {"lite_like": "VALUE = 5"})
    monkeypatch.setenv(OVERRIDE, str(python))
    script = tmp_path / "where.py"
    script.write_text(
        "import sys, lite_like\nCOMMANDS = {'where': lambda a, b: ({'at': sys.executable, 'v': lite_like.VALUE}, [])}\n"
    )
    with Worker(script, needs="lite_like") as worker:
        assert worker.call("where", timeout_s=10)[0] == {"at": str(python), "v": 5}
