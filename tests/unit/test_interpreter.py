"""The search for a Python that can run a worker: every candidate is executed, none is believed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from fakes import make_python, make_shim
from machines import Machine, bare_machine

from segexport.errors import EnvironmentMissingError
from segexport.pipeline.step import tool_versions
from segexport.process import pythons
from segexport.process.interpreter import OVERRIDE, interpreter_for
from segexport.process.worker import Worker


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    with bare_machine(tmp_path, monkeypatch) as made:
        yield made


def test_our_own_python_comes_first():
    assert interpreter_for("numpy") == Path(sys.executable)
    assert interpreter_for("numpy.linalg") == Path(sys.executable)


def test_a_shim_that_exits_127_is_passed_over(machine, tmp_path):
    make_shim(machine.folder / "bin" / "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    make_shim(machine.folder / "bin" / "python3", "exit 0")  # succeeds without having done a thing
    good = make_python(tmp_path / "pyenv/versions/3.10.99", {"lite_like": ""})
    assert interpreter_for("lite_like") == good


def test_a_shim_that_hangs_costs_its_time_and_no_more(tmp_path):
    shim = make_shim(tmp_path / "python3.10", "sleep 600")
    start = time.monotonic()
    assert not pythons.imports(shim, timeout_s=0.5)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("output", ["", "not json", "{", "[]"])
def test_a_python_that_answers_nonsense_is_none(tmp_path, output):
    shim = make_shim(tmp_path / "python", f"echo '{output}'")
    assert not pythons.imports(shim)
    assert pythons.versions(shim, "numpy") == {"numpy": ""}
    assert pythons.python_version(shim) == ""


def test_files_that_cannot_be_executed_are_none(tmp_path):
    plain = tmp_path / "python"
    plain.write_text("no program")
    for path in (plain, tmp_path, tmp_path / "missing"):
        assert not pythons.imports(path)
        assert pythons.python_version(path) == ""


def test_a_python_without_numpy_cannot_run_a_worker(tmp_path):
    without = make_python(tmp_path / "a", {"lite_like": ""}, numpy=False)
    having = make_python(tmp_path / "b", {"lite_like": ""})
    assert not pythons.imports(without, "lite_like")
    assert pythons.imports(having, "lite_like")


def test_a_module_that_fails_on_import_is_not_there(tmp_path):
    python = make_python(tmp_path / "a", {"broken": "raise ImportError('libfoo.so.1: cannot open')", "died": "1 / 0"})
    assert not pythons.imports(python, "broken")
    assert not pythons.imports(python, "died")


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


def test_nobody_has_it(machine):
    shim = make_shim(machine.folder / "bin" / "python3.10", "exit 127")
    with pytest.raises(EnvironmentMissingError) as caught:
        interpreter_for("a_module_of_nobody")
    assert caught.value.what == "no Python here can import 'a_module_of_nobody'"
    assert caught.value.cause == f"tried {sys.executable}, {shim}"
    assert caught.value.hint == "pip install a_module_of_nobody"


def test_a_toolchain_that_is_installed_comes_before_other_pythons(machine, tmp_path):
    make_python(tmp_path / "pyenv/versions/3.10.99", {"lite_like": ""})
    made = machine.install(machine.add("lite", {"lite_like": ""}))
    assert interpreter_for("lite_like") == made.python
    assert interpreter_for("lite_like.part") == made.python


def test_our_own_python_is_used_before_a_toolchain_where_it_has_what_was_tested(machine):
    machine.install(machine.add("lite", {"click": "8."}))
    assert interpreter_for("click") == Path(sys.executable)


def test_a_toolchain_is_used_before_our_own_python_where_that_has_another_version(machine):
    chain = machine.add("lite", {"click": "2.6."})
    assert interpreter_for("click") == Path(sys.executable)  # better than nothing
    made = machine.install(chain)
    assert interpreter_for("click") == made.python


def test_an_environment_of_other_requirements_does_not_count(machine):
    chain = machine.add("lite", {"lite_like": ""})
    machine.install(chain)
    assert interpreter_for("lite_like")
    machine.add("lite", {"lite_like": ""}, lock="# newer")
    with pytest.raises(EnvironmentMissingError):
        interpreter_for("lite_like")


def test_an_environment_whose_python_was_removed_does_not_count(machine):
    made = machine.install(machine.add("lite", {"lite_like": ""}))
    made.python.unlink()
    made.python.symlink_to("/no/such/python")
    with pytest.raises(EnvironmentMissingError):
        interpreter_for("lite_like")


def test_modules_that_are_needed_together_come_from_one_environment(machine, tmp_path):
    make_python(tmp_path / "pyenv/versions/3.10.98", {"lite_like": ""})
    both = make_python(tmp_path / "pyenv/versions/3.10.10", {"lite_like": "", "other": ""})
    assert interpreter_for("lite_like", "other") == both
    assert interpreter_for("lite_like") != both


def test_a_toolchain_that_is_missing_is_named_with_the_command_that_installs_it(machine):
    machine.add("lite", {"lite_like": ""})
    with pytest.raises(EnvironmentMissingError) as caught:
        interpreter_for("lite_like")
    assert caught.value.what == "the toolchain lite is not installed: it does lite"
    assert caught.value.cause == f"no Python here can import 'lite_like'; tried {sys.executable}"
    assert caught.value.hint == "segexport toolchain install lite"


def test_where_no_python_can_hold_it_the_error_says_which_one_and_how_to_get_it(machine):
    machine.add("lite", {"lite_like": ""}, pythons=("3.5",))
    with pytest.raises(EnvironmentMissingError) as caught:
        interpreter_for("lite_like")
    assert caught.value.hint == (
        "it needs CPython 3.5, and none is here: `pip install uv` (it brings one), or `pyenv install 3.5`, or "
        "`apt-get install python3.5-venv`; then `segexport toolchain install lite`"
    )
    machine.add_uv()  # which installs a Python
    with pytest.raises(EnvironmentMissingError) as caught:
        interpreter_for("lite_like")
    assert caught.value.hint == "segexport toolchain install lite"


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
