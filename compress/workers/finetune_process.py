"""Trains a program as one of several: Paddle's launcher starts `finetune_process.py FOLDER OUT PARENT`.

FOLDER/job.json is the job. The first process appends its progress to progress.jsonl as lines of JSON; a process that
fails writes the reason to error.N.json.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process
from pathlib import Path

from segexport.compress import distributed as ranks
from segexport.compress.processes import chunk
from segexport.compress.training_job import Job
from segexport.compress.training_session import Running
from segexport.errors import SegexportError


def _end_with(parent: int) -> None:
    """Exits when the process that started the launcher is gone: the launcher survives it and would not end this one."""

    def watch() -> None:
        while Path(f"/proc/{parent}").exists():
            time.sleep(1.0)
        os._exit(1)

    if Path("/proc/self").exists():
        threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    _end_with(int(sys.argv[3]))
    job = Job.model_validate_json((folder / "job.json").read_text())
    try:
        running = Running(job)
        answer = running.advance(0)
        _tell(folder, answer)
        while not answer["finished"]:
            answer = running.advance(min(job.options.steps, answer["step"] + chunk(job.options.steps)))
            _tell(folder, answer)
        running.finish(out)
    except SegexportError as error:
        text = json.dumps({"code": error.code, "what": error.what, "cause": error.cause, "hint": error.hint})
        (folder / f"error.{os.environ.get('PADDLE_TRAINER_ID', '0')}.json").write_text(text)
        os._exit(1)  # the others wait for this one; the launcher ends them
    sys.stdout.flush()
    os._exit(0)


def _tell(folder: Path, answer: dict) -> None:
    if ranks.is_first():
        with (folder / "progress.jsonl").open("a") as stream:
            stream.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
