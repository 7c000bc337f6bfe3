"""A Dask cluster of two processes on this machine, and a runtime that sleeps, which its workers find as a plugin."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import require

from segexport.engine.connect import LOCAL_CONFIG
from segexport.pipeline import entry_points

sys.path.append(str(Path(__file__).parents[1] / "unit"))  # recordings.py


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the metadata of the package `sleepy`, which is on the path, as for workers that start later."""
    import sleepy

    folder = tmp_path_factory.mktemp("plugin")
    sleepy.install(folder)
    sys.path.insert(0, str(folder))
    entry_points.forget()
    yield folder
    sys.path.remove(str(folder))
    entry_points.forget()


@pytest.fixture(scope="module")
def cluster(plugin: Path) -> Iterator[str]:
    """The address of a scheduler for `--on`; a task may end one worker, and is tried again."""
    require("distributed")
    from dask import config
    from distributed import LocalCluster

    with (
        config.set(LOCAL_CONFIG),
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as made,
    ):
        yield made.scheduler_address.replace("tcp://", "dask://")
