"""Workplaces for commands, with a shared or a separate cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from installed import require
from workplace import Workplace, make_workplace


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that do not care what is in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def workplace(tmp_path: Path, shared_cache: Path) -> Workplace:
    require("paddle", "paddle2onnx", "onnx", "onnxruntime", "paddlelite")
    return make_workplace(tmp_path / "work", shared_cache)


@pytest.fixture
def fresh(tmp_path: Path) -> Workplace:
    """A workplace whose cache is empty."""
    require("paddle", "paddle2onnx", "onnx", "onnxruntime", "paddlelite")
    return make_workplace(tmp_path / "fresh", tmp_path / "cache")


@pytest.fixture
def bare(tmp_path: Path, shared_cache: Path) -> Workplace:
    """A workplace for commands that run no model."""
    return make_workplace(tmp_path / "work", shared_cache)
