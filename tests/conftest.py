"""Fixtures that every suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of test models and images beside the repository (or $SEGEXPORT_SHARED); skips where there is none."""
    folder = Path(os.environ.get("SEGEXPORT_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no test models at {folder}")
    return folder
