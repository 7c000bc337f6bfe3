"""The compress stages run in the toolchain's interpreter: without paddle their tests cannot even be imported."""

from __future__ import annotations

import importlib.util

import pytest

_HAS_PADDLE = importlib.util.find_spec("paddle") is not None
collect_ignore_glob = [] if _HAS_PADDLE else ["test_*.py"]


def pytest_report_header() -> str | None:
    return None if _HAS_PADDLE else "tests/compress: left out, this interpreter has no paddle"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six 32x32 images of three classes, for training."""
    from bands import write_data

    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """A small net for them, untrained; its input's batch is dynamic."""
    import paddle
    import programs

    paddle.seed(3)
    return programs.export(programs.SmallSegmenter(), tmp_path_factory.mktemp("net"), [-1, 3, 32, 32])


@pytest.fixture
def artifact(segmenter, tmp_path):
    """The net as an artifact."""
    from bands import write_model

    return write_model(segmenter, tmp_path / "artifact")
