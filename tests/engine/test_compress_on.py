"""A search on workers has the result of one process; what may go wrong, and that it goes on afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from installed import require
from sleepy import SleepyExport
from sleepy_candidate import SleepyCandidate
from test_run_on import place, segexport, started  # noqa: F401

from segexport.commands.run import DEMO_RECIPE
from segexport.data.dataset import Dataset
from segexport.engine.connect import open_engine
from segexport.errors import Interrupted, MissingInputError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.search.candidate import Attempt, Trial
from segexport.search.evaluate import Evaluator, Workbench
from segexport.search.on_engine import SearchOnEngine, searching

DEMO = DEMO_RECIPE.parent
FP32 = SleepyCandidate(export=SleepyExport(to="sleepy"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Workbench:
    require("paddle")
    store = Store(tmp_path_factory.mktemp("cache"))
    images = Dataset.open(DEMO / "data", "all")
    source = import_model(DEMO / "model", ImportOptions(fallback_labels=images.labels), store)
    images = images.read_for(source.manifest.preprocess)
    return Workbench(source=source, images=images, learning=None, store=store, screened=3)


@contextmanager
def workers(cluster: str, bench: Workbench, model: Path = DEMO / "model") -> Iterator[SearchOnEngine]:
    with open_engine(cluster) as engine, searching(engine, bench, model) as found:
        yield found


def export(**params: Any) -> SleepyExport:
    return SleepyExport(to="sleepy", **params)


def attempts(*exports: SleepyExport) -> list[Attempt]:
    candidates = [FP32, *(SleepyCandidate(export=one) for one in exports)]
    return [
        Attempt(candidate=one, stage="precision", idea=f"try {index}", timed=False)
        for index, one in enumerate(candidates)
    ]


def evaluated(workers: SearchOnEngine, wanted: list[Attempt]) -> list[Trial]:
    """The trials in the order in which they were recorded, which is that of the attempts."""
    found: list[Trial | Interrupted] = []
    workers.evaluate(FP32, wanted, lambda _attempt, trial: found.append(trial))
    trials = [one for one in found if isinstance(one, Trial)]
    assert [trial.attempt for trial in trials] == wanted
    return trials


def marked(folder: Path, kind: str) -> list[tuple[int, int]]:
    """(time, process) of what sleepy models did."""
    named = [file.name.split("-") for file in folder.iterdir()]
    return sorted((int(moment), int(pid)) for what, pid, moment in named if what == kind)


def test_a_candidate_that_ends_workers_is_a_failed_trial(bench, cluster):
    with workers(cluster, bench) as found:
        trials = evaluated(found, attempts(export(shift=1), export(ends_worker=True), export(shift=2)))
    killer = trials.pop(2)
    assert (killer.error or "").startswith("try 2: 2 workers ended while they ran it\ncause: the last one was ")
    assert all(trial.error is None and trial.images == 3 for trial in trials)


def test_a_lost_worker_costs_its_candidate_only(bench, cluster, tmp_path):
    (marks := tmp_path / "marks").mkdir()

    def kill() -> None:
        end = time.monotonic() + 60
        while not (runs := marked(marks, "run")) and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(runs[0][1], signal.SIGKILL)

    (thread := threading.Thread(target=kill)).start()
    with workers(cluster, bench) as found:
        trials = evaluated(found, attempts(export(sleep_s=0.2, marks=str(marks)), export(shift=3)))
    thread.join()
    assert len({pid for _, pid in marked(marks, "run")}) == 2
    assert [(trial.error, trial.images) for trial in trials] == [(None, 3)] * 3


def test_glances_of_workers_are_those_of_one_process(bench, cluster):
    """The original's scores are kept for both; a screening among glances needs the original's masks too."""
    wanted = [one.glance(2) for one in attempts(export(shift=1), export(shift=9), export(refused="no bed"))]
    wanted.append(attempts(export(shift=9))[1])
    with workers(cluster, bench) as found:
        many = evaluated(found, wanted)
    evaluator = Evaluator(bench, FP32)
    one = [evaluator(attempt) for attempt in wanted]
    assert [trial.distance for trial in many] == [trial.distance for trial in one]
    fp32, near, far, refused, screened = many
    assert (fp32.images, fp32.miou, fp32.agreement, refused.distance, screened.images) == (2, None, None, None, 3)
    assert len({fp32.distance, near.distance, far.distance}) == 3
    assert refused.error == "no bed"


def test_what_a_worker_does_not_have_ends_the_search(bench, cluster, tmp_path):
    """It is no property of a candidate."""
    with (
        pytest.raises(MissingInputError, match=r"gone: no such file or folder \(on worker tcp"),
        workers(cluster, bench, tmp_path / "gone") as found,
    ):
        evaluated(found, attempts())


@pytest.mark.slow  # five processes that import Paddle
def test_a_search_that_is_interrupted_goes_on_to_the_result_of_one_process(place):  # noqa: F811
    """With a candidate that loses accuracy, one that cannot be opened, and times, which sleepy models always have."""
    require("paddle")
    images = ("--split", "all", "--verdict-split", "all", "--screen-images", "3")
    common = ("compress", "model", "--data", "data", *images, "--objective", "size", "--latency-seconds", "0")
    arguments = (*common, "--to", "sleepy", "--no-train", "-o", "out")
    journals = "cache/searches/*/*.jsonl"
    process = started(place, *arguments, "--on", "local:2", until=lambda: any(place.glob(journals)))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    assert not (place / "out").exists()

    done = segexport(place, *arguments, "--on", "local:2")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr  # sleepy models are no good
    assert "1 measurements of an earlier run reused" in done.stderr
    many = outcome(place)
    shutil.rmtree(place / "cache")
    alone = segexport(place, *arguments)
    assert alone.returncode == 1, alone.stderr
    one = outcome(place)
    assert one == many
    assert [line["error"] for line in one["journal"]] == [None, None, "no bed"]
    assert [line["latency_ratio"] for line in one["journal"]] == [1.0, 1.0, None]
    assert alone.stdout == done.stdout


def outcome(place: Path) -> dict[str, Any]:  # noqa: F811
    """All that a search leaves, without its seconds and which part of it an earlier run did."""
    out = place / "out"
    journal = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    summary = json.loads((out / "search.json").read_text())
    tries = [_without_seconds(one) for one in summary["tries"]]
    return {
        "journal": [_without_seconds(line) for line in journal],
        "summary": {key: summary[key] for key in summary if key not in ("spent_seconds", "made", "found", "tries")},
        "tries": tries,
        **{name: (out / name).read_bytes() for name in ("report.json", "recipe.yaml")},
    }


def _without_seconds(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if not key.endswith("seconds")}


def test_a_phone_is_refused(place):  # noqa: F811
    done = segexport(place, "compress", "model", "--data", "data", "--device", "adb", "--on", "local", "-o", "out")
    assert (done.returncode, "--device adb and --on cannot be combined" in done.stderr) == (2, True), done.stderr
