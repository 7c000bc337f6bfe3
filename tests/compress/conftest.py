"""The compress stages run in the toolchain's interpreter: without paddle their tests cannot even be imported."""

from __future__ import annotations

import importlib.util

_HAS_PADDLE = importlib.util.find_spec("paddle") is not None
collect_ignore_glob = [] if _HAS_PADDLE else ["test_*.py"]


def pytest_report_header() -> str | None:
    return None if _HAS_PADDLE else "tests/compress: left out, this interpreter has no paddle"
