"""Commands that install a toolchain, or a Python for it, for error messages."""

from __future__ import annotations

from segexport.process import pythons
from segexport.toolchain.catalog import Toolchain


def how_to_get(toolchain: Toolchain) -> str:
    """The command that installs a toolchain; without a Python for it and without uv, also one for a Python."""
    if pythons.find_uv() or pythons.find(toolchain.pythons, makes_environments=True) is not None:
        return f"segexport toolchain install {toolchain.name}"
    return f"it needs CPython {' or '.join(toolchain.pythons)}, and none is here: {how_to_get_a_python(toolchain)}"


def how_to_get_a_python(toolchain: Toolchain) -> str:
    """Alternative commands for uv, pyenv and apt."""
    best, *others = toolchain.pythons
    more = f" (or {', '.join(others)}, whichever your system has)" if others else ""
    return (
        f"`pip install uv` (it brings one), or `pyenv install {best}`, or `apt-get install python{best}-venv`{more}; "
        f"then `segexport toolchain install {toolchain.name}`"
    )
