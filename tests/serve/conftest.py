"""Real servers in separate processes, on free ports."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import nets
import pytest
from installed import require
from served import Server


@pytest.fixture(scope="session")
def needed() -> None:
    require("starlette", "uvicorn", "httptools", "prometheus_client", "httpx", "onnx", "onnxruntime")


@pytest.fixture
def start(needed, tmp_path) -> Iterator:
    """Starts servers, and ends them."""
    servers: list[Server] = []

    def one(*arguments: str | Path) -> Server:
        servers.append(Server(tmp_path, *arguments))
        return servers[-1]

    yield one
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def net(needed, tmp_path_factory) -> Path:
    """Class 1 where red is above one half."""
    return nets.red(tmp_path_factory.mktemp("nets") / "red")


@pytest.fixture(scope="module")
def server(net, tmp_path_factory) -> Iterator[Server]:
    """A server that the tests of a module share; it has to stop when asked, without an internal error."""
    found = Server(tmp_path_factory.mktemp("server"), net, "--max-body-mib", "4", "--receive-timeout", "1.5")
    yield found
    assert found.stop() == 0
    assert "Traceback" not in found.log
