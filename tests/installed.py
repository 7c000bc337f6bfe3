"""What a test needs to be installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from segexport.errors import EnvironmentMissingError
from segexport.process.interpreter import interpreter_for


def require(*modules: str) -> None:
    """Skips the test where a module is not installed; in CI on the Python that has them all, that is a failure."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            _leave_out(f"{module} is not installed")


def toolchain_python(module: str) -> Path:
    """The Python of the toolchain that brings a module; skips the test, or fails it, as `require` does."""
    try:
        return interpreter_for(module)
    except EnvironmentMissingError as error:
        _leave_out(error.what)


def _leave_out(why: str) -> NoReturn:
    if os.environ.get("CI") == "true" and sys.version_info[:2] == (3, 10):
        pytest.fail(f"{why}, and CI has to run this test")
    pytest.skip(why)
