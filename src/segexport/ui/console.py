"""The only place that prints: messages, progress and errors go to stderr, data goes to stdout.

Everything else returns values or raises. rich is imported with the first output to a terminal, so that
`--help`, and output to a file, stay fast.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

from segexport.errors import SegexportError, StorageError

if TYPE_CHECKING:
    import rich.console
    import rich.progress
    from pydantic import BaseModel

    from segexport.artifact import ModelArtifact

Color = Literal["auto", "always", "never"]

PLAIN_WIDTH = 100  # columns of a report if the width of the page is unknown

# Control characters could move the cursor or recolour earlier output; the bidirectional ones reorder it.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

# Without a terminal, progress is a few lines: after a minimum of time and progress, and at least once per minute,
# because continuous integration ends silent jobs.
_LINE_EVERY_S, _LINE_EVERY_RATIO, _LINE_AT_LEAST_EVERY_S = 5.0, 0.1, 60.0


def printable(text: str) -> str:
    """The text with all control characters escaped, which a terminal would execute instead of showing."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class Progress:
    """The handle of a progress bar."""

    def __init__(self, show: Callable[[int], None]) -> None:
        self._show = show
        self.done = 0

    def advance(self, count: int = 1) -> None:
        """Adds `count` finished items."""
        self.done += count
        self._show(self.done)


class Console:
    """Writes messages, progress and data to the terminal, or to a log.

    Args:
        color: `auto` colours a terminal unless NO_COLOR is set or TERM is `dumb`; the other two values override both.
        quiet: Whether to show only warnings and errors, without progress.
        form: The value of `--format`; `json`: stdout gets one document and nothing else.
        stdout: Stream for data; default: `sys.stdout` at the time of writing.
        stderr: Stream for messages; default: `sys.stderr` at the time of writing.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        color: Color = "auto",
        *,
        quiet: bool = False,
        form: str = "",
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.color = color
        self.quiet = quiet
        self.form = form
        self._out = _Outlet("stdout", stdout)
        self._err = _Outlet("stderr", stderr)
        self._clock = clock
        self._warned: set[str] = set()
        self._rich: rich.console.Console | None = None
        self._bars: rich.progress.Progress | None = None

    @property
    def stdout_color(self) -> bool:
        """Whether data on stdout may be coloured."""
        return self._wants_color(self._out)

    @property
    def stdout_width(self) -> int:
        """Width of stdout for tables, in columns."""
        if self._out.isatty() or os.environ.get("COLUMNS"):
            return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
        return PLAIN_WIDTH

    def data(self, text: str) -> None:
        """Writes data and a newline to stdout.

        Raises:
            StorageError: stdout is a file that cannot be written, for example on a full disk.
        """
        try:
            self._out.write(text if text.endswith("\n") else text + "\n")
            self._out.flush()
        except OSError as error:
            raise StorageError("stdout: cannot be written", cause=str(error)) from error

    def result(self, document: BaseModel) -> None:
        """Writes the result of a command to stdout, if `--format json` asks for it."""
        if self.form == "json":
            from segexport.files.json_writer import to_json

            self.data(to_json(document))

    def say(self, text: str) -> None:
        """Prints a message, such as the current work or the path of a result."""
        if not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """Prints a warning."""
        self._print(text, head="warning", style="yellow")

    def warn_of(self, *models: ModelArtifact) -> None:
        """Prints the warnings from the lineage of these models, each once."""
        for manifest in (model.manifest for model in models):
            for text in (f"{manifest.name}: {warning}" for warning in manifest.warnings):
                if text not in self._warned:
                    self._warned.add(text)
                    self.warn(text)

    def error(self, error: SegexportError) -> None:
        """Prints `error:`, `cause:` and `hint:`, one line each."""
        self._print(error.what, head="error", style="bold red")
        if error.cause:
            self._print(error.cause, head="cause", style="bold")
        if error.hint:
            self._print(error.hint, head="hint", style="bold cyan")

    @contextmanager
    def progress(self, title: str, total: int | None = None) -> Iterator[Progress]:
        """Shows a bar on a terminal, or a few lines in a log. Bars can be nested.

        Args:
            title: Name of the work.
            total: Number of items; None if unknown.
        """
        if self.quiet:
            yield Progress(lambda done: None)
        elif self._err.isatty() and os.environ.get("TERM") != "dumb":
            with self._bar(title, total) as progress:
                yield progress
        else:
            with self._lines(title, total) as progress:
                yield progress

    @contextmanager
    def _bar(self, title: str, total: int | None) -> Iterator[Progress]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        outermost = self._bars is None
        if self._bars is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            # rich would replace sys.stderr by a proxy that prints through this console, which prints to sys.stderr.
            self._bars = Bars(
                *columns,
                console=self._console(),
                transient=True,
                refresh_per_second=8,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        bars, started = self._bars, self._clock()
        task = bars.add_task(printable(title), total=total)
        progress = Progress(lambda done: bars.update(task, completed=done))
        try:
            yield progress
            self.say(_finished(title, progress.done, self._clock() - started))
        finally:
            bars.remove_task(task)
            if outermost:
                bars.stop()
                self._bars = None

    @contextmanager
    def _lines(self, title: str, total: int | None) -> Iterator[Progress]:
        started = said = self._clock()
        said_done = 0

        def show(done: int) -> None:
            nonlocal said, said_done
            now = self._clock()
            further = total is None or done - said_done >= total * _LINE_EVERY_RATIO
            if (now - said >= _LINE_EVERY_S and further) or now - said >= _LINE_AT_LEAST_EVERY_S:
                left = "" if not (total and done) else f", {(now - started) / done * (total - done):.0f} s left"
                self.say(f"{title}: {_count(done, total)}, {now - started:.0f} s{left}")
                said, said_done = now, done

        progress = Progress(show)
        try:
            yield progress
        except BaseException:
            self.say(f"{title}: stopped at {_count(progress.done, total)}")
            raise
        self.say(_finished(title, progress.done, self._clock() - started))

    def _print(self, text: str, *, head: str = "", style: str = "") -> None:
        indent = "\n" + " " * (len(head) + 2) if head else "\n"
        plain = printable(text).rstrip("\n").replace("\n", indent)
        if not self._err.isatty() and not self._wants_color(self._err):  # prints the same as rich, without importing it
            self._err.write(f"{head}: {plain}\n".expandtabs() if head else f"{plain}\n".expandtabs())
            self._err.flush()
            return
        from rich.text import Text

        # Text, not markup: a file called [red] is not an instruction. Never wrapped: a path must stay one word.
        line = Text(plain)
        if head:
            line = Text.assemble((f"{head}:", style), " ", line)
        self._console().print(line, soft_wrap=True, highlight=False)

    def _console(self) -> rich.console.Console:
        if self._rich is None:
            from rich.console import Console as RichConsole

            color = self._wants_color(self._err)
            self._rich = RichConsole(
                file=self._err,  # type: ignore[arg-type]
                force_terminal=color or self._err.isatty(),
                no_color=not color,
                color_system="standard" if color else None,
                legacy_windows=False,
            )
        return self._rich

    def _wants_color(self, outlet: _Outlet) -> bool:
        if self.color == "auto":
            return outlet.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return self.color == "always"


class _Outlet:
    """A text stream that tolerates a closed pipe and characters that its encoding lacks."""

    def __init__(self, name: Literal["stdout", "stderr"], stream: TextIO | None) -> None:
        self._name = name
        self._fixed = stream
        self._gone = False

    @property
    def _stream(self) -> TextIO:
        return self._fixed if self._fixed is not None else getattr(sys, self._name)

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        sayable = text.encode(self.encoding, "replace").decode(self.encoding)
        self._attempt(lambda: self._stream.write(sayable))
        return len(text)

    def flush(self) -> None:
        self._attempt(lambda: self._stream.flush())

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except (AttributeError, ValueError):  # None under pythonw, or closed
            return False

    def fileno(self) -> int:
        return self._stream.fileno()

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            action()
        except OSError as error:
            self._gone = True
            self._point_to_nothing()
            if self._name == "stdout" and error.errno != errno.EPIPE:
                raise  # requested data is lost: an error. A failure of stderr cannot be reported.

    def _point_to_nothing(self) -> None:
        """Redirects the stream to the null device: Python flushes it at exit, which would fail for buffered text."""
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, descriptor)
        os.close(nothing)


def _count(done: int, total: int | None) -> str:
    return f"{done}" if total is None else f"{done}/{total}"


def _finished(title: str, done: int, seconds: float) -> str:
    return f"{title}: {done} in {seconds:.1f} s"
