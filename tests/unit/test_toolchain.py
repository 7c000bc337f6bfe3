"""Environments of toolchains: whole or not at all, made once, found by every project, removed without a trace."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest
from fakes import make_python
from machines import HERE, Machine, bare_machine, forget

from segexport.commands.toolchain import install_toolchains, list_toolchains, remove_toolchains, render
from segexport.errors import EnvironmentMissingError, InputError, NoPythonError, StorageError, WorkerFailed
from segexport.process.interpreter import interpreter_for
from segexport.toolchain import catalog, environments
from segexport.toolchain.install import install

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = "lite_like==1.5\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    with bare_machine(tmp_path, monkeypatch) as made:
        yield made


def left(machine: Machine) -> list[str]:
    """What lies where toolchains are installed, without the locks."""
    return sorted(path.name for path in machine.root.glob("*") if not path.name.endswith(".lock"))


# -- which there are -------------------------------------------------------------------------------------------------


def test_segexports_own_are_found():
    assert set(catalog.toolchains()) >= {"onnx", "paddle", "paddle-lite", "paddleseg"}
    assert catalog.toolchain("paddle-lite").pythons == ("3.10",)


@pytest.mark.parametrize("name", ["onnx", "paddle", "paddle-lite", "paddleseg"])
def test_every_requirement_is_pinned_and_hashed_and_names_no_index(name):
    text = catalog.toolchain(name).lock.read_text()
    statements = text.replace("\\\n", " ").splitlines()
    pinned = [line for line in statements if line and not line.lstrip().startswith("#")]
    assert len(pinned) >= 2
    for line in pinned:
        assert "==" in line.split(";")[0], line
        assert "--hash=sha256:" in line, line
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("name", ["onnx", "paddle", "paddle-lite", "paddleseg", "paddledet"])
def test_the_lock_holds_what_was_asked_for(name):
    """The lock file matches the file beside it that it was made from."""
    lock = catalog.toolchain(name).lock
    asked = [line.split("#")[0].strip() for line in lock.with_suffix(".in").read_text().splitlines()]
    for requirement in filter(None, asked):
        exact = requirement if "==" in requirement else requirement.split(">")[0] + "=="
        assert any(line.lower().startswith(exact.lower()) for line in lock.read_text().splitlines()), requirement


def test_a_broken_package_spoils_nothing_but_itself(machine):
    machine.add("lite", {"lite_like": ""})
    machine.entries["broken"] = lambda: 1 / 0
    forget()
    assert list(catalog.toolchains()) == ["lite"]


def test_a_name_that_is_not_there_is_told_its_neighbour(machine):
    machine.add("paddle-lite", {})
    with pytest.raises(InputError) as caught:
        install_toolchains(["paddle_lite"])
    assert caught.value.what == "there is no toolchain 'paddle_lite'"
    assert caught.value.hint == "did you mean 'paddle-lite'?"


def test_what_paddleseg_asks_for_and_does_not_need_is_left_out():
    """Its own requirements name an opencv-python of 2022 and VisualDL, which brings a cloud SDK."""
    lock = catalog.toolchain("paddleseg").lock.read_text()
    names = {line.split("==")[0] for line in lock.splitlines() if "==" in line.split(" ;")[0]}
    assert {"paddleseg", "opencv-python-headless", "six"} <= names
    assert not names & {"visualdl", "opencv-python"}


# -- installing ------------------------------------------------------------------------------------------------------


def test_what_was_installed_is_found_and_has_what_the_lock_pins(machine):
    log = machine.add_uv()
    tried = []
    chain = machine.add("lite", {"lite_like": ""}, lock=LOCK, prove=tried.append)
    made = install(chain)
    assert made.path == machine.root / f"lite-{chain.digest}-cp{HERE.replace('.', '')}"
    assert made.versions == {"lite_like": "1.5"}
    assert made.size_bytes > 0
    assert environments.installed(chain) == made
    assert tried[0].parent.parent.parent == machine.root  # before it counted, in another folder
    assert tried[0].parent.parent != made.path
    assert left(machine) == [made.path.name]
    arguments = log.read_text().splitlines()[-1]
    assert arguments.startswith("pip install --python ")
    assert arguments.endswith(f"--no-deps --require-hashes --only-binary :all: -r {chain.lock}")
    source = "import lite_like; print(lite_like.VERSION)"
    done = subprocess.run([made.python, "-I", "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "1.5\n"


def test_the_second_time_nothing_is_done(machine):
    log = machine.add_uv()
    chain = machine.add("lite", {"lite_like": ""}, lock=LOCK)
    first = install(chain)
    before = log.read_text()
    assert install(chain) == first
    assert log.read_text() == before


def test_a_question_that_was_answered_before_is_answered_anew(machine):
    machine.add_uv()
    chain = machine.add("lite", {"lite_like": ""}, lock=LOCK)
    with pytest.raises(EnvironmentMissingError):
        interpreter_for("lite_like")
    made = install(chain)
    assert interpreter_for("lite_like") == made.python
    remove_toolchains(["lite"])
    with pytest.raises(EnvironmentMissingError):
        interpreter_for("lite_like")


def test_a_tool_that_does_not_work_is_not_kept(machine):
    def prove(_python: Path) -> None:
        raise WorkerFailed("Opt gives wrong scores", cause="float32 [1, 2]")

    machine.add_uv()
    chain = machine.add("lite", {"lite_like": ""}, lock=LOCK, prove=prove)
    with pytest.raises(EnvironmentMissingError) as caught:
        install(chain)
    assert caught.value.what == "the toolchain lite does not work on this machine, so it was not kept"
    assert caught.value.cause == "Opt gives wrong scores: float32 [1, 2]"
    assert left(machine) == []


def test_packages_that_cannot_be_had_are_an_error_that_quotes_the_tool(machine):
    machine.add_uv()
    lock = "# print('Using CPython'); sys.exit('error: Failed to fetch: dns error')\n"
    chain = machine.add("lite", {"lite_like": ""}, lock=lock)
    with pytest.raises(EnvironmentMissingError) as caught:
        install(chain)
    assert caught.value.what == "the toolchain lite cannot be installed: uv exited with code 1"
    assert caught.value.cause == "error: Failed to fetch: dns error"
    assert "a network" in caught.value.hint
    assert str(chain.lock) in caught.value.hint
    assert left(machine) == []


def test_a_full_disk_is_a_storage_error(machine):
    machine.add_uv()
    chain = machine.add("lite", {}, lock="# sys.exit('OSError: [Errno 28] No space left on device')\n")
    with pytest.raises(StorageError, match="No space left on device"):
        install(chain)
    assert left(machine) == []


def test_a_place_that_cannot_be_written_is_a_storage_error(machine):
    machine.add_uv()
    machine.root.write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        install(machine.add("lite", {}))


def test_without_a_python_for_it_the_error_says_which_one(machine):
    chain = machine.add("lite", {"lite_like": ""}, pythons=("3.5", "3.4"))
    with pytest.raises(NoPythonError) as caught:
        install(chain)
    assert caught.value.what == "the toolchain lite needs CPython 3.5 or 3.4, and there is none here"
    assert "`apt-get install python3.5-venv` (or 3.4, whichever your system has)" in caught.value.hint
    assert left(machine) == []


def test_where_uv_cannot_bring_the_python_either_the_error_says_that(machine):
    machine.add_uv()
    chain = machine.add("lite", {"lite_like": ""}, pythons=("3.5",))
    with pytest.raises(NoPythonError) as caught:
        install(chain)
    assert caught.value.what == "the toolchain lite needs CPython 3.5, and uv could not bring one"
    assert caught.value.cause == "error: No interpreter found for Python 3.5; the download failed"
    assert "`pyenv install 3.5`" in caught.value.hint


def test_settings_that_would_lead_packages_elsewhere_are_left_behind(machine, monkeypatch):
    machine.add_uv()
    lock = "# import os; assert not {'PIP_TARGET', 'PYTHONPATH', 'VIRTUAL_ENV'} & set(os.environ), os.environ\n"
    for name in ("PIP_TARGET", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, str(machine.folder))
    assert install(machine.add("lite", {}, lock=lock))


# -- killed, and at the same time ------------------------------------------------------------------------------------

_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import pytest
from machines import bare_machine
from segexport.toolchain.install import install
folder = Path({folder!r})
with bare_machine(folder, pytest.MonkeyPatch()) as machine:
    chain = machine.add("lite", {{"lite_like": ""}}, lock={lock!r})
    machine.add_uv()
    print("ready", flush=True)
    made = install(chain, say=lambda text: print(text, flush=True))
    print(made.path, flush=True)
"""


def child(machine: Machine, lock: str, name: str) -> subprocess.Popen:
    """Another process that installs the same toolchain into the same place."""
    folder = machine.folder / name
    folder.mkdir()
    (folder / "toolchains").symlink_to(machine.root)
    source = _CHILD.format(tests=str(REPOSITORY / "tests"), folder=str(folder), lock=lock)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)


def wait_for(what, process: subprocess.Popen) -> None:
    for _ in range(600):
        if what():
            return
        assert process.poll() is None, "it ended too early"
        time.sleep(0.1)
    raise AssertionError("it never happened")


def test_a_killed_installation_leaves_nothing_that_counts_and_the_next_one_clears_it_away(machine):
    machine.root.mkdir()
    machine.add_uv()
    uv, hangs = machine.folder / "pid", machine.folder / "hangs"
    hangs.touch()
    lock = f"{LOCK}# import os; pathlib.Path({str(uv)!r}).write_text(str(os.getpid()))\n"
    lock += f"# while pathlib.Path({str(hangs)!r}).exists(): time.sleep(0.05)\n"
    process = child(machine, lock, "other")
    wait_for(lambda: uv.exists() and uv.read_text(), process)
    process.kill()
    process.wait()
    process.stdout.close()
    os.kill(int(uv.read_text()), signal.SIGKILL)
    hangs.unlink()
    chain = machine.add("lite", {"lite_like": ""}, lock=lock)
    assert environments.installed(chain) is None
    assert [row.state for row in list_toolchains()] == ["missing"]
    (leftover,) = left(machine)
    assert leftover.startswith(".unfinished-lite-")
    made = install(chain)
    assert left(machine) == [made.path.name]


def test_two_at_once_make_one_environment(machine):
    machine.root.mkdir()
    gate = machine.folder / "go"
    lock = f"{LOCK}# while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n"
    first = child(machine, lock, "first")
    wait_for(lambda: list(machine.root.glob(".unfinished-*/lib")), first)
    second = child(machine, lock, "second")
    assert second.stdout.readline() == "ready\n"
    assert second.stdout.readline() == "another process installs lite: waiting for it\n"
    gate.touch()
    outputs = [Path(process.communicate(timeout=60)[0].splitlines()[-1]).resolve() for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(set(outputs)) == 1
    assert len(left(machine)) == 1
    assert "pip install" in (machine.folder / "first/uv.log").read_text()
    assert not (machine.folder / "second/uv.log").exists()


# -- with venv and pip -----------------------------------------------------------------------------------------------


def make_wheel(folder: Path, name: str, version: str) -> Path:
    information = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{information}/RECORD"] = "".join(f"{file},,\n" for file in files)
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return path


@pytest.fixture
def wheel(machine, monkeypatch) -> Path:
    """All that the real pip can get."""
    path = make_wheel(machine.folder / "wheels", "lite_like", "1.5")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def test_without_uv_it_is_venv_and_pip(machine, wheel):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    chain = machine.add("lite", {"lite_like": ""}, lock=f"lite_like==1.5 \\\n    --hash=sha256:{digest}\n")
    made = install(chain)
    assert made.versions == {"lite_like": "1.5"}
    assert interpreter_for("lite_like") == made.python
    assert left(machine) == [made.path.name]


@pytest.mark.slow
def test_a_package_with_another_hash_is_refused(machine, wheel):
    bad = machine.add("bad", {"lite_like": ""}, lock=f"lite_like==1.5 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(EnvironmentMissingError) as caught:
        install(bad)
    assert caught.value.what == "the toolchain bad cannot be installed: pip exited with code 1"
    assert "hash" in caught.value.cause.lower()
    assert left(machine) == []


# -- the commands ----------------------------------------------------------------------------------------------------


def test_what_this_environment_has_in_a_tested_version_is_used_and_not_installed(machine):
    log = machine.add_uv()
    tried, said = [], []
    machine.add("lite", {"click": "8."}, prove=tried.append)
    assert install_toolchains(say=said.append) == []
    assert tried == [Path(sys.executable)]
    assert said[-1].startswith("lite: this environment has it (click 8.")
    assert not log.exists() or "venv" not in log.read_text()
    (row,) = list_toolchains()
    assert (row.state, row.path, row.size_bytes) == ("own", sys.prefix, 0)


def test_what_this_environment_has_and_does_not_work_is_an_error(machine):
    def prove(_python: Path) -> None:
        raise WorkerFailed("died")

    machine.add("lite", {"click": "8."}, prove=prove)
    ((name, error),) = install_toolchains()
    assert name == "lite"
    assert error.what == f"lite: {sys.prefix} has it, but it does not work there"
    assert error.hint == f"repair it; or `{sys.executable} -m pip uninstall click`, then install the toolchain"


def test_without_names_all_that_this_machine_can_hold_are_installed(machine):
    said = []
    machine.add("no-python", {"lite_like": ""}, pythons=("3.5",))
    assert install_toolchains(say=said.append) == []
    assert said[-1].startswith("no-python: left out, the toolchain no-python needs CPython 3.5, and there is none here")
    ((name, error),) = install_toolchains(["no-python"], say=said.append)
    assert (name, type(error)) == ("no-python", NoPythonError)


def test_one_that_fails_does_not_stop_the_others(machine):
    machine.add_uv()
    machine.add("a-bad", {"no_such": ""}, lock="# sys.exit('error: no')\n")
    machine.add("good", {"lite_like": ""}, lock=LOCK)
    assert [name for name, _ in install_toolchains()] == ["a-bad"]
    assert [(row.name, row.state) for row in list_toolchains()] == [("a-bad", "missing"), ("good", "installed")]


def test_the_list_shows_every_state(machine):
    machine.add_uv()
    machine.add("absent", {"no_such": ""})
    install(machine.add("here", {"lite_like": ""}, lock=LOCK))
    install(machine.add("old", {"lite_like": ""}, lock=LOCK))
    machine.add("old", {"lite_like": ""}, lock="other==1\n")
    gone = install(machine.add("gone", {"lite_like": ""}, lock=LOCK))
    gone.python.unlink()
    rows = list_toolchains()
    assert [(row.name, row.state) for row in rows] == [
        ("absent", "missing"),
        ("gone", "missing"),
        ("gone", "broken"),
        ("here", "installed"),
        ("old", "missing"),
        ("old", "outdated"),
    ]
    text = render(rows, "table", color=False, width=200)
    assert "does here" in text
    assert "lite_like 1.5" in text
    assert "segexport toolchain install absent" in text
    stored = json.loads(render(rows, "json", color=False, width=80))
    assert stored["folder"] == str(machine.root)
    assert stored["toolchains"][3]["versions"] == {"lite_like": "1.5"}


def test_a_broken_environment_is_replaced(machine):
    machine.add_uv()
    chain = machine.add("lite", {"lite_like": ""}, lock=LOCK)
    install(chain).python.unlink()
    made = install(chain)
    assert made.runs
    assert left(machine) == [made.path.name]


def test_removing_frees_it_and_nothing_else(machine):
    machine.add_uv()
    made = install(machine.add("lite", {"lite_like": ""}, lock=LOCK))
    other = install(machine.add("other", {"lite_like": ""}, lock=LOCK))
    (machine.root / "somebody's").mkdir()
    assert remove_toolchains(["lite"]) == (1, made.size_bytes)
    assert left(machine) == sorted([other.path.name, "somebody's"])
    assert remove_toolchains(["lite"]) == (0, 0)
    with pytest.raises(InputError, match="there is no toolchain 'nobody'"):
        remove_toolchains(["nobody"])


def test_outdated_ones_are_removed_together(machine):
    machine.add_uv()
    install(machine.add("lite", {"lite_like": ""}, lock=LOCK))
    newer = install(machine.add("lite", {"lite_like": ""}, lock="lite_like==1.6\n"))
    install(machine.add("of-a-package-that-is-gone", {"lite_like": ""}, lock=LOCK))
    del machine.entries["of-a-package-that-is-gone"]
    forget()
    assert remove_toolchains(outdated=True)[0] == 2
    assert left(machine) == [newer.path.name]


def test_a_record_that_is_damaged_is_no_environment(machine):
    machine.add_uv()
    chain = machine.add("lite", {"lite_like": ""}, lock=LOCK)
    made = install(chain)
    (made.path / "toolchain.json").write_text("{")
    assert environments.installed(chain) is None


def segexport(machine: Machine, *arguments: str) -> subprocess.CompletedProcess:
    """The command line, with segexport's own toolchains."""
    environment = {**os.environ, environments.OVERRIDE: str(machine.root)}
    command = [sys.executable, "-m", "segexport", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_command_line(machine):
    listed = segexport(machine, "toolchain", "list", "--format", "json")
    assert listed.returncode == 0, listed.stderr
    assert {row["name"] for row in json.loads(listed.stdout)["toolchains"]} >= {
        "onnx",
        "paddle",
        "paddle-lite",
        "paddleseg",
    }
    removed = segexport(machine, "toolchain", "remove")
    assert removed.returncode == 2
    assert "name a toolchain, or give --outdated" in removed.stderr
    unknown = segexport(machine, "toolchain", "install", "padle")
    assert unknown.returncode == 2
    assert unknown.stderr == "error: there is no toolchain 'padle'\nhint: did you mean 'paddle'?\n"


def test_a_worker_imports_segexport_from_where_it_is_without_what_lies_beside_it(tmp_path):
    from segexport.process.worker import Worker

    script = tmp_path / "own.py"
    script.write_text(
        textwrap.dedent("""
        import importlib.util
        import segexport.errors
        def look(arguments, arrays):
            beside = importlib.util.find_spec("click") is not None
            return {"file": segexport.errors.__file__, "beside": beside}, []
        COMMANDS = {"look": look}
        """)
    )
    python = make_python(tmp_path / "other", {})
    with Worker(script, python=python, own_code=True) as worker:
        answer, _ = worker.call("look", timeout_s=60)
    import segexport.errors

    assert answer == {"file": segexport.errors.__file__, "beside": False}
    with Worker(script, python=python) as worker, pytest.raises(EnvironmentMissingError, match="segexport"):
        worker.call("look", timeout_s=60)
