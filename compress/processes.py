"""Runs training processes: one worker, or several started by Paddle's launcher; both report progress."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import segexport
from segexport.compress.training_job import Job
from segexport.errors import WorkerCrashed, WorkerTimeout, all_kinds
from segexport.process.fast_products import fast_products
from segexport.process.interpreter import interpreter_for
from segexport.process.worker import Worker, thread_limits

_WORKERS = Path(__file__).parent / "workers"
WORKER = _WORKERS / "finetune_worker.py"
_PARTS, _MOST_STEPS = 50, 20  # reports per training, most steps per report
_LOOK_EVERY_S = 0.2
_END_S = 10.0


def chunk(steps: int) -> int:
    """Returns the number of steps between two reports."""
    return max(1, min(steps // _PARTS, _MOST_STEPS))


def alone(
    job: Job,
    out: Path,
    *,
    threads: int,
    timeout_s: float,
    script: Path = WORKER,
    more: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Trains in one worker process and writes the program into `out`; yields the results of `Running.advance`.

    Args:
        script: The worker file.
        more: Worker arguments besides the job.
    """
    steps = job.options.steps
    how = {"threads": threads, "environment": fast_products()}
    with Worker(script, needs="paddle", own_code=True, name="fine-tuning", **how) as worker:
        answer, _ = worker.call("begin", {"job": job.model_dump_json(), **(more or {})}, timeout_s=timeout_s)
        yield answer
        while not answer["finished"]:
            until = min(steps, answer["step"] + chunk(steps))
            answer, _ = worker.call("advance", {"until": until}, timeout_s=timeout_s)
            yield answer
        worker.call("finish", {"out": str(out)}, timeout_s=timeout_s)


def several(job: Job, count: int, out: Path, *, threads: int, timeout_s: float) -> Iterator[dict[str, Any]]:
    """Trains in `count` processes of `python -m paddle.distributed.launch`; see `alone`.

    Raises:
        InputError: A process reports that the job is invalid.
        WorkerCrashed, WorkerTimeout: A process exited, or none reported progress for `timeout_s` seconds.
    """
    folder = Path(job.folder) / "processes"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json*"):
        old.unlink()
    (folder / "job.json").write_text(job.model_dump_json())
    command = [str(interpreter_for("paddle")), "-m", "paddle.distributed.launch"]
    if job.device == "cpu":
        command += ["--nproc_per_node", str(count)]
    else:
        command += ["--devices", ",".join(map(str, range(count)))]
    command += ["--log_dir", str(folder), "--max_restart", "0"]
    command += [str(_WORKERS / "finetune_process.py"), str(folder), str(out.resolve()), str(os.getpid())]
    (folder / "import").mkdir(exist_ok=True)
    package = folder / "import" / "segexport"  # alone: neighbouring packages may belong to another Python
    package.unlink(missing_ok=True)
    package.symlink_to(Path(segexport.__file__).parent)
    limits = thread_limits(threads) | fast_products()
    paths = {"PYTHONPATH": str(package.parent)}
    backend = {"PADDLE_DISTRI_BACKEND": "gloo"} if job.device == "cpu" else {}
    with (folder / "launcher.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **limits, **backend, **paths}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield from _told(process, folder, timeout_s)
            if process.wait() != 0:
                raise _why(folder, count, process.returncode)
        finally:
            _end(process)


def _told(process: subprocess.Popen, folder: Path, timeout_s: float) -> Iterator[dict[str, Any]]:
    """Yields the lines from the first process until the launcher exits."""
    seen, last = 0, time.monotonic()
    while True:
        ended = process.poll() is not None
        file = folder / "progress.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
        for line in (line for line in lines[seen:] if line.endswith("\n")):
            seen, last = seen + 1, time.monotonic()
            yield json.loads(line)
        if ended:
            return
        if time.monotonic() - last > timeout_s:
            raise WorkerTimeout(f"fine-tuning: the processes reported no progress for {timeout_s:g} s and were stopped")
        time.sleep(_LOOK_EVERY_S)


def _why(folder: Path, count: int, code: int) -> Exception:
    for file in sorted(folder.glob("error.*.json")):
        told = json.loads(file.read_text())
        return all_kinds()[told.pop("code")](**told)
    tails = [_tail(file) for file in sorted(folder.glob("workerlog.*"))]
    return WorkerCrashed(
        f"fine-tuning: one of {count} processes ended (the launcher's exit code is {code})",
        cause=next((tail for tail in tails if tail), _tail(folder / "launcher.log")),
        hint=f"{folder} has the log of each",
    )


def _tail(file: Path) -> str:
    if not file.is_file():
        return ""
    lines = [line.strip() for line in file.read_text(errors="replace").splitlines() if "Error" in line]
    return " | ".join(lines[-2:])[:600]


def _end(process: subprocess.Popen) -> None:
    """Asks the launcher to end its processes; they also exit when this process exits."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
