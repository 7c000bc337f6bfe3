"""Fixtures that every suite shares."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))  # fakes.py, installed.py


@pytest.fixture
def console():
    """A console whose words can be read: `console.stdout` and `console.stderr` are io.StringIO."""
    import io

    from segexport.ui.console import Console

    out, err = io.StringIO(), io.StringIO()
    made = Console("never", stdout=out, stderr=err)
    made.stdout, made.stderr = out, err
    return made


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of test models and images beside the repository (or $SEGEXPORT_SHARED); skips where there is none."""
    folder = Path(os.environ.get("SEGEXPORT_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no test models at {folder}")
    return folder
