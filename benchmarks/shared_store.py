"""Two machines share a store on an S3 server: what the second one still does, and what killed writers leave.

    python benchmarks/shared_store.py            # a recipe on two machines, then kills and concurrent writers

The server is moto's, on this machine; a machine is a home of its own, and a copy of the recipe in another folder.
Writers are killed at random moments while they write outputs; after each kill, a reader with an empty cache takes what
it finds. A wrong byte is one that differs from what its key stands for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stamped

from segexport.artifact import digest_of
from segexport.files.shared_store import SharedStore
from segexport.files.store import Store

DEMO = stamped.REPOSITORY / "src" / "segexport" / "demo"
BUCKET = "team-models"
FILES, LARGEST_BYTES = 3, 1_500_000
LONGEST_S = 10.0  # of a wait before a kill, on a machine that is busy with other work
FOUND = re.compile(r": \S+ found in the shared store$", re.MULTILINE)
MADE = re.compile(r"^\S+: \S+ done in ", re.MULTILINE)
ALL_FOUND = re.compile(r"^nothing to do: all \d+ steps and the check were found", re.MULTILINE)
SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
PROCESSES = multiprocessing.get_context("forkserver")  # a child begins with imports done, and nothing open
PROCESSES.set_forkserver_preload(["segexport.files.store", "s3fs"])


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A server with an empty bucket; yields the variables by which s3fs finds it."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", SERVER], text=True, **pipes) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            variables = {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}",
                "AWS_ACCESS_KEY_ID": "tester",
                "AWS_SECRET_ACCESS_KEY": "not-a-secret",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            before = {name: os.environ.get(name) for name in variables}
            os.environ.update(variables)
            import s3fs

            s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
            yield variables
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
        finally:
            server.stdin.close()
            server.wait(30)


# -- outputs that are known --------------------------------------------------------------------------------------


def key_of(index: int) -> str:
    return digest_of(["shared store", index])


def content_of(index: int) -> dict[str, bytes]:
    """The files that key `index` stands for."""
    rng = random.Random(index)
    return {f"part/{each}.bin": rng.randbytes(rng.randrange(LARGEST_BYTES)) for each in range(FILES)}


def build(index: int, folder: Path) -> None:
    for name, data in content_of(index).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def read(store: Store, index: int) -> tuple[bool, int]:
    """Whether an output was found, and its number of wrong or missing bytes."""
    folder = store.find(key_of(index))
    if folder is None:
        return False, 0
    expected = content_of(index)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return True, sum(_differing(expected.get(name, b""), found.get(name, b"")) for name in {*expected, *found})


def _differing(one: bytes, two: bytes) -> int:
    if one == two:
        return 0
    return sum(a != b for a, b in zip(one, two, strict=False)) + abs(len(one) - len(two))


def write(root: Path, url: str, indices: list[int], ready: Any = None) -> None:
    """A writer: one process with a cache of its own."""
    store = Store(root, SharedStore(url))
    store.find(key_of(-1))  # connect
    if ready is not None:
        ready.set()
    for index in indices:
        store.keep(key_of(index), lambda folder, index=index: build(index, folder))


def kill_writers(url: str, kills: int, scratch: Path, outputs: int = 3) -> dict[str, Any]:
    """Kills a writer `kills` times, each in an empty store; then reads, writes the rest, and reads again.

    A writer does not end by itself; it is killed within the time that one takes for these outputs.
    """
    indices = list(range(outputs))
    writer = _writing(scratch / "whole", _empty(url, "whole"), indices)
    start = time.monotonic()
    writer.join()
    span, rng = min(time.monotonic() - start, LONGEST_S), random.Random(0)
    found = wrong = healed = unfinished = 0
    for trial in range(kills):
        place = _empty(url, trial)
        writer = _writing(scratch / f"{trial}-writer", place, [*indices, *range(outputs, 1000)])
        time.sleep(rng.uniform(0, span))
        unfinished += writer.is_alive()
        writer.kill()
        writer.join()
        for index in indices:
            one = read(Store(scratch / f"{trial}-reader", SharedStore(place)), index)
            found, wrong = found + one[0], wrong + one[1]
        write(scratch / f"{trial}-writer", place, indices)  # the run is repeated, on the same machine
        for index in indices:
            one = read(Store(scratch / f"{trial}-later", SharedStore(place)), index)
            healed, wrong = healed + one[0], wrong + one[1]
        for name in ("writer", "reader", "later"):
            shutil.rmtree(scratch / f"{trial}-{name}", ignore_errors=True)
    return {
        "kills": kills,
        "killed while writing": unfinished,
        "outputs": kills * outputs,
        "found after the kill": found,
        "found after the next run": healed,
        "wrong bytes": wrong,
    }


def _writing(root: Path, url: str, indices: list[int]) -> Any:
    """A writer in a process of its own that has begun."""
    ready = PROCESSES.Event()
    writer = PROCESSES.Process(target=write, args=(root, url, indices, ready))
    writer.start()
    assert ready.wait(120), "the writer did not start"
    return writer


def _empty(url: str, name: object) -> str:
    """The address of an empty store below another; a folder has to exist."""
    if "://" not in url:
        Path(url, str(name)).mkdir()
    return f"{url}/{name}"


def _at_once(root: Path, url: str, indices: list[int], results: Any) -> None:
    store, found, wrong = Store(root, SharedStore(url)), 0, 0
    for index in indices:
        one = read(store, index)
        if not one[0]:
            store.keep(key_of(index), lambda folder, index=index: build(index, folder))
            one = read(store, index)
        found, wrong = found + one[0], wrong + one[1]
    results.put((found, wrong))


def write_at_once(url: str, processes: int, scratch: Path, outputs: int = 3) -> dict[str, Any]:
    """Processes with caches of their own find or make the same outputs at the same time."""
    results = PROCESSES.Queue()
    indices = list(range(outputs))
    running = [
        PROCESSES.Process(target=_at_once, args=(scratch / f"at-once-{each}", url, indices, results))
        for each in range(processes)
    ]
    for one in running:
        one.start()
    got = [results.get(timeout=300) for _ in running]
    for one in running:
        one.join()
    last = [read(Store(scratch / "at-once-last", SharedStore(url)), index) for index in indices]
    return {
        "processes": processes,
        "outputs": outputs,
        "found": sum(found for found, _ in got),
        "found by one more": sum(found for found, _ in last),
        "wrong bytes": sum(wrong for _, wrong in [*got, *last]),
    }


# -- a recipe on two machines ------------------------------------------------------------------------------------


def run_recipe(home: Path, project: Path, url: str) -> dict[str, Any]:
    """`segexport run` of a copy of the demo, with a home of its own."""
    shutil.copytree(DEMO, project)
    home.mkdir()
    hidden = ("SEGEXPORT_CACHE", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(home), "SEGEXPORT_STORE": url, "SOURCE_DATE_EPOCH": "0"}
    start = time.monotonic()
    command = [sys.executable, "-m", "segexport", "run", str(project / "recipe.yaml"), "-o", str(project / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    hits = json.loads((home / ".cache" / "segexport" / "1" / "hits.json").read_text())
    return {
        "seconds": round(seconds, 1),
        "steps made": len(MADE.findall(done.stderr)),
        "steps found in the shared store": len(FOUND.findall(done.stderr)),
        "check made": ALL_FOUND.search(done.stderr) is None,
        "outputs published": hits["published"],
        "bytes published": hits["published_bytes"],
        "outputs taken": hits["shared"],
        "bytes taken": hits["shared_bytes"],
    }


def two_machines(url: str, scratch: Path) -> dict[str, Any]:
    first = run_recipe(scratch / "home-of-one", scratch / "one" / "project", url)
    second = run_recipe(scratch / "home-of-two", scratch / "elsewhere" / "checkout", url)
    projects = (scratch / "one" / "project", scratch / "elsewhere" / "checkout")
    reports = [(project / "out" / "report.json").read_bytes() for project in projects]
    return {
        "first": first,
        "second": second,
        "second / first": round(second["seconds"] / first["seconds"], 3),
        "equal reports": reports[0] == reports[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--only", default="", help="measure parts with this in their names, and keep the others")
    parser.add_argument("-o", "--output", type=Path, default=stamped.RESULTS / "shared_store.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, s3_server():
        scratch, mount = Path(name), Path(name) / "mount"
        mount.mkdir()
        parts = {
            "a recipe on two machines": lambda: two_machines(f"s3://{BUCKET}/recipe", scratch),
            "killed writers": lambda: kill_writers(f"s3://{BUCKET}/kills", given.kills, scratch),
            "killed writers, mounted folder": lambda: kill_writers(str(mount), given.kills, scratch),
            "writers at once": lambda: write_at_once(f"s3://{BUCKET}/at-once", given.processes, scratch),
        }
        results = stamped.load(given.output) if given.only else {}
        results |= {name: part() for name, part in parts.items() if given.only in name}
    print(json.dumps(results, indent=1))
    stamped.save(given.output, results)


if __name__ == "__main__":
    main()
