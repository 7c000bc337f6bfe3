"""What a test needs to be installed."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

from segexport.errors import EnvironmentMissingError
from segexport.process.interpreter import interpreter_for


def require(*modules: str) -> None:
    """Skips the test where a module is not installed; in CI on the Python that has them all, that is a failure."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            _missing(module)


def require_somewhere(*modules: str) -> None:
    """Skips the test where neither this Python nor a toolchain has the modules; in CI as in `require`."""
    try:
        interpreter_for(*modules)
    except EnvironmentMissingError:
        _missing(" and ".join(modules))


def _missing(what: str) -> None:
    if os.environ.get("CI") == "true" and sys.version_info[:2] == (3, 10):
        pytest.fail(f"{what} is not installed, and CI has to run this test")
    pytest.skip(f"{what} is not installed")
