from __future__ import annotations

from collections.abc import Iterator

import pytest
from toolchain import Toolchain


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolchain]:
    """The real Paddle, paddle2onnx, ONNX Runtime and Paddle-Lite."""
    toolchain = Toolchain(tmp_path_factory.mktemp("tools"))
    yield toolchain
    toolchain.close()
