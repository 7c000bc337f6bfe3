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


def require_worker(*modules: str, optional: bool = False) -> Path:
    """As `require`, for modules that only a worker imports; the Python that has them, which may be a toolchain's.

    Args:
        optional: CI need not have them.
    """
    try:
        return interpreter_for(*modules)
    except EnvironmentMissingError as error:
        if optional:
            pytest.skip(error.what)
        _without(error.what)


def require(*modules: str) -> None:
    """Skips the test where a module is not installed; in CI on the Python that has them all, that is a failure."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            _without(f"{module} is not installed")


def _without(what: str) -> NoReturn:
    if os.environ.get("CI") == "true" and sys.version_info[:2] == (3, 10):
        pytest.fail(f"{what}, and CI has to run this test")
    pytest.skip(what)
