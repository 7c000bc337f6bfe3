"""The console, on terminals, pipes and files that are real."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from segexport.artifact import LineageEntry, Manifest, ModelArtifact, TargetDevice, file_entry, warning, write_artifact
from segexport.errors import InputError
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec
from segexport.ui.console import PLAIN_WIDTH, Console, printable

_ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}

SPEAK = """
from segexport.ui.console import Console
from segexport.errors import InputError
console = Console({color!r})
console.say("saying")
console.error(InputError("what", cause="why", hint="how"))
console.data("data")
"""


def _run(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], env=_ENVIRONMENT, timeout=60, **options)


def _on_a_terminal(code: str, **environment: str) -> str:
    """What a program shows whose three streams are a pseudo terminal of 90 columns."""
    controller, terminal = pty.openpty()
    variables = {**_ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "90", **environment}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, env=variables
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while block := os.read(controller, 65536):
                shown += block
        except OSError:  # Linux's way to say that the other side is closed
            pass
        assert process.wait(30) == 0, shown.decode()
    os.close(controller)
    return shown.decode()


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


def _console(streams, **options) -> Console:
    return Console(stdout=streams[0], stderr=streams[1], **options)


def test_data_goes_to_stdout_and_everything_else_to_stderr(streams) -> None:
    console = _console(streams)
    console.data("data")
    console.data("ends\n")
    console.say("saying")
    console.warn("careful")
    assert streams[0].getvalue() == "data\nends\n"
    assert streams[1].getvalue() == "saying\nwarning: careful\n"


def test_what_was_assumed_for_a_model_is_said_once(streams, tmp_path) -> None:
    model = sample_artifact(
        tmp_path,
        LineageEntry(step="import", version="1", notes=("read from x", warning("a resize was added"))),
        LineageEntry(step="onnx_int8", version="1", notes=(warning("calibrated on one image"),)),
    )
    console = _console(streams, quiet=True)
    console.warn_of(model, model)
    console.warn_of(model)
    assert streams[1].getvalue() == "warning: net: a resize was added\nwarning: net: calibrated on one image\n"


def sample_artifact(folder: Path, *lineage: LineageEntry) -> ModelArtifact:
    (folder / "model.onnx").write_bytes(b"weights")
    manifest = Manifest(
        name="net",
        format=Format.ONNX,
        files=(file_entry(folder, "model.onnx"),),
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, 4, 4)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2, 4, 4)),),
        preprocess=Preprocess(),
        labels=(Label(id=0, name="a", rgb=(0, 0, 0)),),
        target=TargetDevice(arch="any", precision=Precision.FP32),
        lineage=lineage,
    )
    return write_artifact(folder, manifest)


def test_an_error_says_what_why_and_how(streams) -> None:
    _console(streams).error(InputError("recipe.yaml: 2 faults\nline 3\nline 4", cause="why", hint="run `this`"))
    assert streams[1].getvalue() == (
        "error: recipe.yaml: 2 faults\n       line 3\n       line 4\ncause: why\nhint: run `this`\n"
    )


def test_an_error_says_only_what_it_knows(streams) -> None:
    _console(streams).error(InputError("what"))
    assert streams[1].getvalue() == "error: what\n"


def test_quiet_keeps_warnings_and_errors(streams) -> None:
    console = _console(streams, quiet=True)
    console.say("saying")
    with console.progress("working", 2) as progress:
        progress.advance(2)
    console.warn("careful")
    console.error(InputError("what"))
    assert streams[1].getvalue() == "warning: careful\nerror: what\n"


def test_text_is_neither_markup_nor_commands_nor_wrapped(streams) -> None:
    path = "/data/" + "long/" * 60
    _console(streams).say(f"[red]{path}[/red] \x1b[2J\x9b\u202e 中文")
    assert streams[1].getvalue() == f"[red]{path}[/red] \\x1b[2J\\x9b\\u202e 中文\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\r\x00\x7f\x85", r"\r\x00\x7f\x85"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("\ud800", r"\ud800"),
        ("日本語 é 👍", "日本語 é 👍"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


# Colour


def test_color_on_a_terminal_and_not_in_a_pipe() -> None:
    assert "\x1b[1;31merror:\x1b[0m what" in _on_a_terminal(SPEAK.format(color="auto"))
    done = _run(SPEAK.format(color="auto"), capture_output=True)
    assert done.stderr == b"saying\nerror: what\ncause: why\nhint: how\n"
    assert done.stdout == b"data\n"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_where_it_is_not_wanted(environment) -> None:
    assert "\x1b[" not in _on_a_terminal(SPEAK.format(color="auto"), **environment)
    assert "\x1b[1;31merror:" in _on_a_terminal(SPEAK.format(color="always"), **environment)


def test_options_overrule_what_the_stream_is() -> None:
    assert "\x1b[" not in _on_a_terminal(SPEAK.format(color="never"))
    assert b"\x1b[1;31merror:" in _run(SPEAK.format(color="always"), capture_output=True).stderr


def test_stdout_color_and_width(streams, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert _console(streams).stdout_width == PLAIN_WIDTH
    assert not _console(streams).stdout_color
    assert _console(streams, color="always").stdout_color
    code = "from segexport.ui.console import Console; c = Console(); c.data(f'{c.stdout_color} {c.stdout_width}')"
    assert _on_a_terminal(code) == "True 90\r\n"


# Progress


def test_a_log_gets_few_lines(streams) -> None:
    clock = _Clock()
    with _console(streams, clock=clock).progress("working", 1000) as progress:
        for _ in range(1000):
            clock.now += 0.1
            progress.advance()
    lines = streams[1].getvalue().splitlines()
    assert lines[0] == "working: 100/1000, 10 s, 90 s left"
    assert lines[-1] == "working: 1000 in 100.0 s"
    assert len(lines) == 11


def test_a_slow_job_is_never_silent_for_long(streams) -> None:
    clock = _Clock()
    with _console(streams, clock=clock).progress("working", 1000) as progress:
        for _ in range(10):
            clock.now += 30.0
            progress.advance()
    assert streams[1].getvalue().splitlines() == [
        *(f"working: {done}/1000, {done * 30} s, {30_000 - done * 30} s left" for done in (2, 4, 6, 8, 10)),
        "working: 10 in 300.0 s",
    ]


def test_a_short_job_is_one_line(streams) -> None:
    with _console(streams, clock=_Clock()).progress("working") as progress:
        progress.advance(7)
    assert streams[1].getvalue() == "working: 7 in 0.0 s\n"


def test_a_job_that_fails_says_where(streams) -> None:
    def work() -> None:
        with _console(streams).progress("working", 9) as progress:
            progress.advance(4)
            raise InputError("no")

    with pytest.raises(InputError):
        work()
    assert streams[1].getvalue() == "working: stopped at 4/9\n"


NESTED = """
import sys
from segexport.ui.console import Console
console = Console()
with console.progress("outer [b]", 2) as outer:
    for _ in range(2):
        with console.progress("inner", 3) as inner:
            for _ in range(3):
                inner.advance()
        console.say("between")
        outer.advance()
console.data("data")
"""


def test_bars_on_a_terminal_leave_only_their_last_line() -> None:
    shown = _on_a_terminal(NESTED)
    assert "0/2" in shown
    assert "outer [b]" in shown
    assert shown.count("between\r\n") == 2
    assert "inner: 3 in " in shown
    assert "outer [b]: 2 in " in shown
    assert "\x1b[?25h" in shown  # the cursor is back
    assert shown.endswith("data\r\n")


def test_a_bar_that_is_interrupted_gives_the_cursor_back() -> None:
    code = """
from segexport.ui.console import Console
try:
    with Console().progress("working", 3) as progress:
        progress.advance()
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print("stopped")
"""
    shown = _on_a_terminal(code)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "stopped" in shown
    assert "working: 1 in" not in shown


# Streams that go away


def test_a_reader_that_leaves_is_no_error() -> None:
    code = """
import sys
from segexport.ui.console import Console
console = Console()
sys.stdin.read()
for _ in range(1000):
    console.data("x" * 1000)
    console.say("y" * 1000)
sys.exit(7)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
    ) as process:
        process.stdout.close()
        process.stdin.close()
        said = process.stderr.read()
        assert process.wait(30) == 7
    assert said == (b"y" * 1000 + b"\n") * 1000  # and nothing about a broken pipe


def test_a_listener_that_leaves_does_not_stop_the_data() -> None:
    code = """
import sys
from segexport.ui.console import Console
console = Console()
sys.stdin.read()
console.say("nobody listens")
console.warn("nobody")
console.data("data")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
    ) as process:
        process.stderr.close()
        process.stdin.close()
        assert process.stdout.read() == b"data\n"
        assert process.wait(30) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_an_error() -> None:
    code = """
from segexport.ui.console import Console
from segexport.errors import StorageError
try:
    Console().data("x" * 100_000)
except StorageError as error:
    Console().error(error)
"""
    with open("/dev/full", "w") as full:
        done = _run(code, stdout=full, stderr=subprocess.PIPE)
    assert done.stderr == b"error: stdout: cannot be written\ncause: [Errno 28] No space left on device\n"
    assert done.returncode == 0  # Python, flushing at exit, has nothing left to complain about


def test_a_terminal_of_another_encoding_gets_what_it_can_show() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(stdout=out).data("Δ mIoU é")
    assert out.buffer.getvalue() == b"? mIoU ?\n"


def test_the_console_imports_nothing_heavy() -> None:
    code = "import sys, segexport.ui.console; print(sorted({'rich', 'numpy', 'pydantic', 'cv2'} & set(sys.modules)))"
    assert _run(code, capture_output=True).stdout == b"[]\n"
