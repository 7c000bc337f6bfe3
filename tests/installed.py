"""What a test needs to be installed."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest


def require(*modules: str) -> None:
    """Skips the test where a module is not installed; in CI on the Python that has them all, that is a failure."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            if os.environ.get("CI") == "true" and sys.version_info[:2] == (3, 10):
                pytest.fail(f"{module} is not installed, and CI has to run this test")
            pytest.skip(f"{module} is not installed")
