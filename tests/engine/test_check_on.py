"""A check on a Dask cluster has the bytes of a check in one process; what may differ, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import recordings
import sleepy

from segexport.check.sharded import LEAST_IMAGES, MOST_IMAGES, runs_of
from segexport.commands.check import CheckOptions, check
from segexport.errors import ClusterError, InputError, MissingInputError, OptionError
from segexport.report.schema import Report
from segexport.verdict import Verdict

IMAGES = 3 * LEAST_IMAGES


@dataclass(frozen=True)
class Place:
    """A data set, and models that sleep; the reference is one of them."""

    root: Path

    def model(self, name: str, **params: Any) -> Path:
        path = self.root / name
        return path if path.exists() else sleepy.write_model(path, recordings.manifest(), **params)

    def marks(self, name: str) -> Path:
        (folder := self.root / f"marks-{name}").mkdir()
        return folder

    def check(self, output: str, *models: Path, **given: Any) -> Report:
        common = {"reference": self.model("original"), "data": self.root / "street", "latency_seconds": 0.0}
        return check(models, self.root / output, CheckOptions(**common | given))

    def files(self, output: str) -> dict[str, bytes]:
        folder = self.root / output
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Place:
    root = tmp_path_factory.mktemp("place")
    recordings.write_recording(root / "street.ref", recordings.make_data(root / "street", IMAGES))
    return Place(root)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def runs(marks: Path) -> list[tuple[int, str, int]]:
    """(time, kind, process) of everything that sleepy models did."""
    named = (file.name.split("-") for file in marks.iterdir())
    return sorted((int(moment), kind, int(pid)) for kind, pid, moment in named)


def kill_at_work(marks: Path) -> threading.Thread:
    """Kills the first process that has run two images."""

    def work() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pids = [pid for _, _, pid in runs(marks)]
            if found := next((pid for pid in pids if pids.count(pid) >= 2), None):
                os.kill(found, signal.SIGKILL)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_report_is_that_of_one_process_byte_for_byte(place, cluster):
    """With an export that contradicts the reference, which then runs again, and one that cannot be opened."""
    models = [place.model("same"), place.model("moved", shift=9), place.model("refused", refused="no bed")]
    one = place.check("one", *models)
    two = place.check("two", *models, on=cluster)
    assert place.files("two") == place.files("one")
    assert two == one
    assert {"report.json", "report.html", "report.md", "junit.xml"} <= set(place.files("one"))
    same, moved, refused = one.exports
    assert (same.verdict, moved.verdict, refused.error) == (Verdict.PASS, Verdict.FAIL, "no bed")
    assert "reference.trial" in {check.name for check in moved.checks}
    assert len([name for name in place.files("one") if name.startswith("images/moved-")]) >= 10


def test_a_worker_that_is_killed_in_the_middle_changes_nothing(place, cluster):
    """And against a recorded reference."""
    slow = place.model("slow", sleep_s=0.03, shift=1, marks=str(place.marks("slow")))
    recorded = {"reference": place.root / "street.ref"}
    place.check("alone", slow, **recorded)
    for file in (marks := place.root / "marks-slow").iterdir():
        file.unlink()
    killer = kill_at_work(marks)
    place.check("disturbed", slow, **recorded, on=cluster)
    killer.join()
    done = runs(marks)
    assert len({pid for _, _, pid in done}) >= 2  # one was killed, and another did its work
    assert len(done) > IMAGES + 1
    assert place.files("disturbed") == place.files("alone")


def test_an_export_that_ends_its_workers_is_an_error_row(place, cluster):
    killer, same = place.model("killer", ends_worker=True), place.model("same")
    ended, fine = place.check("killed", killer, same, on=cluster, limit=LEAST_IMAGES).exports
    assert (ended.verdict, fine.verdict) == (Verdict.ERROR, Verdict.PASS)
    assert ended.error is not None
    assert ended.error.startswith(f"images 1 to {LEAST_IMAGES}: 2 workers ended while they ran it\ncause: the last one")
    assert (fine.agreement, fine.error) == (1.0, None)


MEASURED = {"latency", "latency_ms", "latency_ratio", "latency_ratio_interval", "load_average"}


def unmeasured(found: Any) -> Any:
    """A report without times: the fields above, and what checks say about them."""
    if isinstance(found, dict):
        if str(found.get("name", "")).startswith(("latency.", "compression.")):
            return found["name"]
        return {key: unmeasured(value) for key, value in found.items() if key not in MEASURED}
    return [unmeasured(one) for one in found] if isinstance(found, list) else found


def test_with_times_everything_else_is_the_same(place, cluster):
    timed = place.model("timed", marks=str(place.marks("timed")))
    given = {"latency_seconds": 0.2, "limit": 2 * LEAST_IMAGES}
    place.check("timed-one", timed, **given)
    for file in (marks := place.root / "marks-timed").iterdir():
        file.unlink()
    place.check("timed-two", timed, **given, on=cluster)
    one, two = (json.loads(place.files(name)["report.json"]) for name in ("timed-one", "timed-two"))
    assert unmeasured(two) == unmeasured(one)
    assert two["exports"][0]["latency_ms"]["p50"] > 0
    assert set(two["environment"]["load_average"]) == {"before timing", "after timing"}
    done = runs(marks)
    first = next(index for index, (_, kind, _) in enumerate(done) if kind == "bench")
    assert {kind for _, kind, _ in done[first:]} == {"bench"}  # once times are taken, nothing counts
    assert len({pid for _, _, pid in done[first:]}) == 1


def test_of_two_faults_the_first_is_told_with_its_worker(place, cluster):
    labels = place.root / "street" / "labels"
    whole = {name: (labels / name).read_bytes() for name in ("5.png", "17.png")}
    try:
        for name in whole:
            (labels / name).write_bytes(b"no picture")
        with pytest.raises(InputError) as one:
            place.check("faulty", place.model("same"))
        with pytest.raises(InputError) as two:
            place.check("faulty", place.model("same"), on=cluster)
    finally:
        for name, data in whole.items():
            (labels / name).write_bytes(data)
    told, _, worker = two.value.what.partition(" (on worker tcp://127.0.0.1:")
    assert (told, two.value.cause) == (one.value.what, one.value.cause)
    assert "5.png" in told
    assert worker.endswith(")")
    assert not (place.root / "faulty").exists()


def test_data_that_workers_do_not_have(place, cluster, monkeypatch):
    """A path that leads elsewhere in another process."""
    monkeypatch.chdir(place.root)
    with pytest.raises(
        MissingInputError, match=r"^/proc/self/cwd/street: no such file or folder \(on worker tcp://"
    ) as told:
        place.check("nowhere", place.model("same"), data=Path("/proc/self/cwd/street"), on=cluster)
    assert told.value.hint == "put them on a file system that all workers have at this path"


def test_options_that_do_not_go_with_workers(place):
    for options, message in (
        ({"golden": Path("pack.zip"), "reference": None, "data": None}, "--golden and --on cannot be combined"),
        ({"device": "adb"}, "--device adb and --on cannot be combined"),
    ):
        with pytest.raises(OptionError, match=message):
            place.check("out", place.model("same"), on="local:2", **options)


def test_another_version_on_a_worker(place, cluster, monkeypatch):
    from segexport.engine import connect

    own = connect.installed()
    monkeypatch.setattr(connect, "installed", lambda: own | {"numpy": "1.2.3"})
    with pytest.raises(ClusterError, match=r"worker tcp://.* has other versions installed") as told:
        place.check("out", place.model("same"), on=cluster)
    assert told.value.cause == f"numpy {own['numpy']} there, 1.2.3 here"


def test_runs_of_images():
    assert runs_of(1, 4) == [(0, 1)]
    assert runs_of(20, 2) == [(0, 8), (8, 16), (16, 20)]
    assert runs_of(1000, 2)[:2] == [(0, 125), (125, 250)]
    assert len(runs_of(1_000_000, 64)) == -(-1_000_000 // MOST_IMAGES)
    for images, slots in ((7, 3), (100, 7), (5000, 2)):
        runs = runs_of(images, slots)
        assert [place for first, end in runs for place in range(first, end)] == list(range(images))
