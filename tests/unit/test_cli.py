"""The command line itself: exit codes, streams, what goes where. The commands' work is in tests/e2e."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import click
import pytest

from segexport.__main__ import main
from segexport.cli import main as cli
from segexport.cli.command import Command, Group
from segexport.errors import InputError
from segexport.recipe.schema import Recipe
from segexport.ui.console import Console


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["segexport", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command `probe` that does what the test says, and returns (exit code, stdout, stderr)."""

    def go(action, *before: str) -> tuple[int, str, str]:
        monkeypatch.setitem(cli.cli.commands, "probe", click.Command("probe", callback=action))
        return run(monkeypatch, capsys, *before, "probe")

    return go


def raising(error: BaseException):
    def action() -> None:
        raise error

    return action


def test_help_goes_to_stdout_with_code_0(monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "--help")
    assert (code, err) == (0, "")
    assert "Exit codes: 0 everything passed; 1 a gate failed" in out
    for name in ("run", "import", "export", "check", "bench", "inspect", "report", "doctor", "cache", "recipe", "demo"):
        assert f"\n  {name} " in out


def test_the_time_of_bench_has_the_name_that_it_has_in_check(monkeypatch, capsys):
    _, out, _ = run(monkeypatch, capsys, "bench", "--help")
    assert "--latency-seconds" in out
    assert "--seconds" not in out
    for name in ("--latency-seconds", "--seconds"):  # the second one was its name in version 0.1
        code, _, err = run(monkeypatch, capsys, "bench", "export", name, "4000")
        assert code == 2
        assert "Invalid value for '--latency-seconds': 4000.0 is not in the range 0<=x<=3600" in err


def test_every_command_has_help(monkeypatch, capsys):
    def walk(group: click.Group, way: tuple[str, ...]):
        for name, found in group.commands.items():
            yield (*way, name), found
            if isinstance(found, click.Group):
                yield from walk(found, (*way, name))

    ways = list(walk(cli.cli, ()))
    assert len(ways) >= 14
    for way, found in ways:
        assert found.help, way
        assert isinstance(found, Group | Command), way
        code, out, err = run(monkeypatch, capsys, *way, "--help")
        assert (code, err) == (0, ""), way
        assert "Usage: " in out
        assert 1 <= len(found.examples) <= 3, way
        assert out.endswith("\nExamples:\n" + "".join(f"  {line}\n" for line in found.examples)), way
        for parameter in found.params:
            assert not isinstance(parameter, click.Option) or parameter.opts[0].startswith("-"), way
            assert not isinstance(parameter, click.Option) or parameter.help, (way, parameter.name)


def test_the_command_line_takes_every_example(monkeypatch, capsys):
    def walk(command: Command | Group):
        yield command
        if isinstance(command, Group):
            for inner in command.commands.values():
                yield from walk(inner)

    called = []
    for command in walk(cli.cli):
        if not isinstance(command, Group):
            monkeypatch.setattr(command, "callback", lambda **options: called.append(options))
    examples = [example for command in walk(cli.cli) for example in command.examples]
    for example in examples:
        program, *arguments = shlex.split(example.partition(" > ")[0])
        assert program == "segexport", example
        assert run(monkeypatch, capsys, *arguments) == (0, "", ""), example
    assert len(called) == len(examples)


def test_help_lists_every_command_in_one_section(monkeypatch, capsys):
    listed = [command.name for commands in cli.SECTIONS.values() for command in commands]
    assert sorted(listed) == sorted(cli.cli.commands)
    out = run(monkeypatch, capsys, "--help")[1]
    titles = [out.index(f"\n{title}:\n") for title in cli.SECTIONS]
    assert titles == sorted(titles)
    assert "\nOther:\n" not in out
    assert titles[0] < out.index("\n  import ") < titles[1] < out.index("\n  check ") < titles[2]


@pytest.mark.parametrize("arguments", [("-q", "cache", "ls"), ("cache", "ls", "-q"), ("cache", "ls", "--quiet")])
def test_quiet_stands_before_or_after_the_command(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path))
    assert run(monkeypatch, capsys, "cache", "ls")[2] == "0 outputs, 0 bytes\n"
    assert run(monkeypatch, capsys, *arguments) == (0, "", "")


def test_color_stands_after_the_command_and_the_last_one_counts(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path))
    plain = ("--color", "never", "cache", "ls")
    assert run(monkeypatch, capsys, *plain)[0] == 0
    chosen = []
    monkeypatch.setattr(
        cli, "_console", lambda color, quiet, form: chosen.append(color) or Console(color, quiet=quiet, form=form)
    )
    for arguments in (plain, ("cache", "ls", "--color", "always"), (*plain, "--color", "always"), ("cache", "ls")):
        run(monkeypatch, capsys, *arguments)
    assert chosen == ["never", "always", "always", "auto"]
    assert run(monkeypatch, capsys, "cache", "ls", "--color", "pink")[0] == 2
    assert run(monkeypatch, capsys, "export", "--help")[1].count("--color [rgb|") == 1


def test_the_version(monkeypatch, capsys):
    from segexport import __version__

    assert run(monkeypatch, capsys, "--version") == (0, f"segexport, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("run",), "Missing argument 'RECIPE...'"),
        (("inspect", "a", "b"), "Got unexpected extra argument (b)"),
        (("--color", "pink", "doctor"), "Invalid value for '--color'"),
        (("check", "x", "--threads", "0", "--reference", "r", "--data", "d"), "Invalid value for '--threads'"),
        (("cache", "gc", "--older-than-days", "soon"), "'soon' is not a valid float"),
    ],
)
def test_what_cannot_be_read_is_code_2_on_stderr(monkeypatch, capsys, arguments, message):
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_a_mistake_has_three_lines_and_no_traceback(command):
    code, out, err = command(raising(InputError("model: no such file", cause="it was moved", hint="look again")))
    assert (code, out) == (2, "")
    assert err.splitlines() == ["error: model: no such file", "cause: it was moved", "hint: look again"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "error: /a/b: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "error: /a/b: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_no_bug(command, error, line):
    code, _, err = command(raising(error))
    assert (code, err.splitlines()) == (2, [line])


def test_a_full_folder_for_temporary_files_is_named(command, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=4096))
    code, _, err = command(raising(OSError(errno.ENOSPC, "No space left on device")))
    first, cause, hint = err.splitlines()
    assert (code, first) == (2, f"error: {tempfile.gettempdir()}: no room for temporary files")
    assert cause == "cause: No space left on device"
    assert "TMPDIR=DIR" in hint


def test_a_bug_keeps_its_traceback_and_is_no_failed_gate(command):
    code, out, err = command(raising(ZeroDivisionError("division by zero")))
    assert (code, out) == (2, "")
    assert "Traceback (most recent call last)" in err
    assert "ZeroDivisionError: division by zero" in err
    assert err.splitlines()[-1] == "error: this is a bug in segexport, please report it with the above"


def test_an_interruption_is_130(command):
    code, _, err = command(raising(KeyboardInterrupt()))
    assert code == 130
    assert err.split("\n")[1:-1] == ["interrupted; the same command goes on after the last step that was finished"]


def test_an_interruption_of_the_first_moments():
    """While the command line is being imported."""
    source = """
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
sys.argv = ["segexport", "--version"]
from segexport.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; the same command goes on after the last step that was finished\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("arguments", "code"), [("cache ls", 0), ("nonsense", 2), ("report nowhere.json", 2)])
def test_streams_that_are_closed_change_no_exit_code(tmp_path, closed, arguments, code):
    """1 would be a gate that failed. What is said has nowhere to go, and lands in no file either."""
    command = f"{shlex.quote(sys.executable)} -m segexport {arguments} {closed}"
    environment = {**os.environ, "SEGEXPORT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_of_a_verdict_is_kept(command, code):
    assert command(lambda: sys.exit(code))[0] == code


def test_the_schema_is_json_on_stdout(monkeypatch, capsys):
    code, out, err = run(monkeypatch, capsys, "recipe", "schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == Recipe.model_json_schema()


def test_a_valid_and_an_invalid_recipe(monkeypatch, capsys, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("model: {path: m}\ndata: {path: d}\nexports: [{to: onnx}]\n")
    code, out, err = run(monkeypatch, capsys, "recipe", "validate", str(path))
    assert (code, out, err) == (0, "", f"{path}: a valid recipe with 1 exports: onnx-fp32\n")
    path.write_text("modle: {path: m}\ndata: {path: d}\nexports: [{to: onnx}]\n")
    code, out, err = run(monkeypatch, capsys, "recipe", "validate", str(path))
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == f"error: {path}: 2 faults in the recipe"
    assert "  line 1: modle: unknown key. did you mean 'model'?" in err


def test_the_cache_commands(monkeypatch, capsys, tmp_path):
    from segexport.files.store import Store

    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    assert run(monkeypatch, capsys, "cache", "ls") == (0, "", "0 outputs, 0 bytes\n")
    Store().keep("ab" * 32, lambda folder: (folder / "a").write_text("12345"))
    code, out, err = run(monkeypatch, capsys, "cache", "ls")
    assert (code, out.split()[:2], err) == (0, ["ab" * 8, "5"], "1 outputs, 5 bytes\n")
    assert run(monkeypatch, capsys, "cache", "gc") == (0, "", "0 outputs removed, 0 bytes freed\n")
    assert run(monkeypatch, capsys, "cache", "gc", "--older-than-days", "0")[2] == "1 outputs removed, 5 bytes freed\n"


def test_quiet_says_nothing_and_data_still_comes(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    assert run(monkeypatch, capsys, "--quiet", "cache", "ls") == (0, "", "")
    assert run(monkeypatch, capsys, "-q", "recipe", "schema")[1] != ""


@pytest.mark.parametrize("module", ["-m segexport", "-c 'from segexport.cli.main import main; main()'"])
def test_a_reader_that_leaves_early_is_no_traceback(module):
    done = subprocess.run(
        f"{sys.executable} {module} recipe schema | head -n 1", shell=True, capture_output=True, text=True
    )
    assert (done.stdout, "Traceback" in done.stderr) == ("{\n", False)


def test_a_full_disk_behind_stdout():
    done = subprocess.run(
        f"{sys.executable} -m segexport recipe schema > /dev/full", shell=True, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0] == "error: stdout: cannot be written"


def test_the_commands_of_a_shared_store(monkeypatch, capsys, tmp_path):
    from segexport.files.store import Store

    mount = tmp_path / "mount"
    mount.mkdir()
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "one"))
    monkeypatch.setenv("SEGEXPORT_STORE", "")
    missing = "error: no shared store is chosen\nhint: name it: --store URL, or $SEGEXPORT_STORE\n"
    assert run(monkeypatch, capsys, "cache", "gc", "--shared") == (2, "", missing)
    assert "--dry-run goes with --shared" in run(monkeypatch, capsys, "cache", "gc", "--dry-run")[2]
    monkeypatch.setenv("SEGEXPORT_STORE", str(mount))
    Store().keep("ab" * 32, lambda folder: (folder / "a.bin").write_bytes(bytes(12_345)))
    monkeypatch.setenv("SEGEXPORT_STORE", "")
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "two"))
    listed = ("abababababababab        12,345 bytes\n", "1 outputs, 12,345 bytes\n")
    assert run(monkeypatch, capsys, "cache", "ls", "--shared", "--store", str(mount)) == (0, *listed)
    assert os.environ["SEGEXPORT_STORE"] == ""
    monkeypatch.setenv("SEGEXPORT_STORE", str(mount))
    assert Store().find("ab" * 32) is not None
    code, out, err = run(monkeypatch, capsys, "cache")
    assert (code, err) == (0, "")
    local, shared, found, saved, published = out.splitlines()
    assert local == f"local: {tmp_path}/two: 1 outputs, 12,345 bytes"
    assert shared == f"shared: {mount}: 1 outputs, 12,345 bytes"
    assert found == "found: 0 times in the local cache, 1 times in a shared store"
    assert saved.startswith("saved by sharing: 12,345 bytes, which took 0.")
    assert published == "published: 0 outputs, 0 bytes"
    gc = ("cache", "gc", "--shared", "--older-than-days", "0")
    stays = "0 outputs removed, 0 bytes freed; 1 in use stay\n"
    assert run(monkeypatch, capsys, *gc) == (0, "", stays)
    for file in (mount / "1").rglob("*"):
        os.utime(file, (0, 0))
    would = "1 outputs would be removed, 12,345 bytes would be freed\n"
    assert run(monkeypatch, capsys, *gc, "--dry-run") == (0, listed[0], would)
    assert run(monkeypatch, capsys, *gc) == (0, "", "1 outputs removed, 12,345 bytes freed\n")


def test_a_shared_store_that_is_not_there(monkeypatch, capsys, tmp_path):
    from segexport.files.store import Store

    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))
    assert run(monkeypatch, capsys, "cache", "--store", str(tmp_path / "nowhere"))[0] == 2
    monkeypatch.setenv("SEGEXPORT_STORE", str(tmp_path / "nowhere"))
    assert run(monkeypatch, capsys, "-q", "cache", "ls") == (0, "", "")
    Store().find("ab" * 32)
    lost = f"warning: shared store {tmp_path}/nowhere: cannot be used, going on with the local cache alone: "
    assert capsys.readouterr().err == lost + "there is no such folder, or it is not mounted\n"
