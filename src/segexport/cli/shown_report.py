"""Prints a report, and ends a command with its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segexport.report.places import Places
    from segexport.report.schema import Report
    from segexport.ui.console import Console


def finish(
    say: Console,
    result: Report,
    folder: Path | None,
    form: str = "table",
    *,
    places: Callable[[], Places] | None = None,
) -> None:
    """Shows a report and exits with its exit code.

    Args:
        places: Returns the paths of models and images, for a command that can be pasted.
    """
    from segexport.report.places import Places
    from segexport.report.wording import where_to_look
    from segexport.verdict import exit_code

    show(say, result, form, folder, places)
    if form == "table" and (told := where_to_look(result, places() if places is not None else Places())):
        say.say(told)  # one line, for any width of the table
    if folder is not None:
        say.say(f"report: {folder / 'report.html'}")
    sys.exit(exit_code(result.verdict))


def show(
    say: Console, result: Report, form: str, folder: Path | None, places: Callable[[], Places] | None = None
) -> None:
    """Prints a report; a table fits the terminal and may be coloured, other formats do not depend on it."""
    from segexport.report import render, terminal

    if form == "table":
        say.data(terminal.render(result, folder, width=say.stdout_width, color=say.stdout_color))
    else:
        say.data(render(result, form, folder, places() if places is not None else None))
