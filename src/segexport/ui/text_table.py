"""Formats tables as text, for a terminal or a file."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def table(head: Sequence[str], body: Sequence[Sequence[str]], *, title: str, color: bool, width: int) -> str:
    """Formats a table with a title; wraps long cells."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from segexport.ui.console import printable

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_header=any(head))
    for name in head:
        drawn.add_column(name, overflow="fold")
    for row in body:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return to_text(Group(Text(printable(title), style="bold"), drawn), width, color)


def to_text(content: RenderableType, width: int, color: bool) -> str:
    """Renders with rich at this width, without trailing blanks."""
    from rich.console import Console

    stream = StringIO()
    Console(
        file=stream,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        legacy_windows=False,
    ).print(content)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"
