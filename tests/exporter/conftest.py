from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toolchain import Toolchain
from workshop import Workshop


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolchain]:
    """The real Paddle, paddle2onnx, ONNX Runtime and Paddle-Lite."""
    toolchain = Toolchain(tmp_path_factory.mktemp("tools"))
    yield toolchain
    toolchain.close()


@pytest.fixture
def importable_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of `exporter/workers`, and what they import, as their processes import them."""
    repository = Path(__file__).resolve().parents[2]
    for folder in ("exporter/workers", "src/segexport/process"):
        monkeypatch.syspath_prepend(str(repository / folder))


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Where a program becomes a model, exports and a verdict."""
    return Workshop(tmp_path)
