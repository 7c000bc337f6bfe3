"""Opens an engine: connects to a Dask scheduler, or starts worker processes on this machine."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.resource_tracker
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segexport.engine.address import LocalWorkers, Scheduler, parse
from segexport.engine.dask_engine import DaskEngine
from segexport.engine.dask_task import mismatch, versions
from segexport.engine.installed import differences, installed
from segexport.engine.interrupt import remembered_interrupt
from segexport.errors import ClusterError, EnvironmentMissingError

_CONNECT_S = 30.0
_CLOSE_S = 10.0
_WORKER_BYTES = 1 << 30  # of a worker and its models' processes; a large network takes more
LOCAL_CONFIG = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.deploy.lost-worker-timeout": "365 d",
}
"""Dask's settings for workers on this machine. A task is tried again after it lost a worker once. A worker that is lost
again while it starts is not given up, which Dask would do after 15 s."""


@contextmanager
def open_engine(on: str, *, threads: int = 1) -> Iterator[DaskEngine]:
    """Opens the engine that `--on` names; its tasks end with the block, also after Ctrl-C.

    Args:
        on: As in `address.parse`.
        threads: Threads of a task, which limit the number of workers on this machine.

    Raises:
        OptionError: `on` is not an address.
        EnvironmentMissingError: Dask is not installed.
        ClusterError: There is no scheduler, it has no workers, or they have other versions.
    """
    place = parse(on)
    require_dask()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions, which are compared below, and of ports
        with (
            remembered_interrupt() as interrupted,
            _local(place, threads) if isinstance(place, LocalWorkers) else _remote(place, on) as engine,
        ):
            engine.interrupted = interrupted
            try:
                yield engine
            finally:
                engine.stop()


@contextmanager
def engine_for(on: str | None, *, threads: int = 1) -> Iterator[DaskEngine | None]:
    """As `open_engine`; None without `on`: the work is done in this process."""
    if on is None:
        yield None
        return
    with open_engine(on, threads=threads) as engine:
        yield engine


def require_dask() -> None:
    """Raises EnvironmentMissingError if Dask is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise EnvironmentMissingError(
            "--on needs Dask, which is not installed", cause=str(error), hint="pip install 'segexport[dask]'"
        ) from error


def fitting_workers(threads: int = 1) -> int:
    """The number of workers that fit this machine's processors and free memory; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = _free_bytes()
    return max(1, min(cores // threads, cores if free is None else free // _WORKER_BYTES))


@contextmanager
def _local(place: LocalWorkers, threads: int) -> Iterator[DaskEngine]:
    from dask import config
    from distributed import Client

    count = place.count or fitting_workers(threads)
    with config.set(LOCAL_CONFIG):
        cluster = _local_cluster(count)
        try:
            with Client(cluster, set_as_default=False) as client:
                yield DaskEngine(client, f"local:{count}", local=True)
        finally:
            with suppress(Exception):
                cluster.close(timeout=_CLOSE_S)


def _local_cluster(count: int) -> Any:
    """Worker processes that other users of this machine cannot talk to, and that Ctrl-C does not reach."""
    from distributed import LocalCluster

    # Processes inherit the blocked signals of the thread that starts them, and the threads of Dask those of this one.
    multiprocessing.resource_tracker.ensure_running()  # it would unblock them
    with _blocked(signal.SIGINT):
        try:
            return LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,  # models run in processes of their own, which Dask does not count
                dashboard_address=None,  # pyright: ignore[reportArgumentType] - none is started
                silence_logs=logging.CRITICAL,
                security=_own_security(),
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(f"local:{count}: the workers cannot be started", cause=str(error)) from error


def _own_security() -> bool | None:
    """Encryption with a key of this run, if its package is installed (`segexport[dask]` has it)."""
    with suppress(ImportError):
        import cryptography  # noqa: F401

        return True
    return None


@contextmanager
def _remote(place: Scheduler, on: str) -> Iterator[DaskEngine]:
    from distributed import Client

    try:
        client: Any = Client(place.address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TypeError, ValueError, RuntimeError, TimeoutError) as error:
        tls = "its certificates: Dask's configuration distributed.comm.tls (docs/scale.md)"
        raise ClusterError(
            f"--on {on}: no Dask scheduler answers there",
            cause=" ".join(str(error).split())[:300] or type(error).__name__,
            hint=tls if place.address.startswith("tls") else "start one: dask scheduler; dask worker ADDRESS",
        ) from error
    with client:
        _require_workers(client, on)
        _require_equal(client)
        yield DaskEngine(client, on, local=False)


def _require_workers(client: Any, on: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"--on {on}: the scheduler has no workers", hint=f"start some: dask worker {client.scheduler.address}"
        ) from error


def _require_equal(client: Any) -> None:
    """Raises ClusterError for a worker that has other versions than this process."""
    told = client.get_versions(check=False, packages=["segexport"])
    own = installed()
    for name, found in told["workers"].items():
        packages = (found or {}).get("packages", {})
        if packages.get("segexport") is None:  # and cannot answer below
            raise ClusterError(
                f"worker {name} has no segexport",
                cause="tasks are functions of segexport, and run in the workers' environment",
                hint="install segexport there, with the targets and runtimes that the exports need",
            )
    for name, found in client.run(versions).items():
        if other := differences(own, found):
            raise mismatch(name, other)
    there = told["scheduler"]["packages"].get("distributed")
    if there != own["distributed"]:
        raise mismatch("scheduler", [f"distributed {there} there, {own['distributed']} here"])


@contextlib.contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """A block in which the current thread does not get a signal; it gets it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = {line.partition(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith("kB")}
    return found.get("MemAvailable")
