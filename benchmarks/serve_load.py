"""Measures a server under load: throughput relative to the bare runtime, response times, and overload.

    python benchmarks/serve_load.py MODEL IMAGES [--runs 5] [-o benchmarks/results/serve_load.json]

MODEL is of any format; IMAGES is a folder, its files are sent as they are, as Base64. The parts:

- sustained: as many clients as fill the pipeline, each with the next request as soon as it has its answer, in turn with
  the bare runtime: the same tensor again and again in a separate process, nothing sent and nothing done with outputs.
- open: requests at random moments (Poisson), at 0.7 of the sustained speed, whether earlier ones are answered or not;
  times are from the moment when the request was due, so a stall of the server counts for all that it delays.
- overload: the same at 10 times the sustained speed. Each request is answered, with 200 or 503; the figures say how
  many there were of each, and how long those with a result took.

Client, server and model share the machine. Wall time needs a core for each; `processor_ms` says what each costs, and
`ratio_by_processor_time` what the server's own process would allow, had it a core to itself.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from stamped import save

from segexport import preprocess
from segexport.data.images import IMAGE_SUFFIXES, decode_image
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions


@dataclass
class Answers:
    """Seconds of the successful requests, and the status codes of all."""

    seconds: list[float] = field(default_factory=list)
    status: Counter = field(default_factory=Counter)
    without_retry_after: int = 0


class Client:
    """A keep-alive connection; requests are prepared, so that the client takes little processor time."""

    def __init__(self, host: str, port: int) -> None:
        self._place, self._reader, self._writer = (host, port), None, None

    async def post(self, request: bytes) -> tuple[int, bool]:
        """(status, whether a Retry-After came)."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._place, limit=1 << 20)
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        status = int(head[9:12])
        assert (status == 200) == (b'"errorcode": 0' in body[:200].lower())
        if b"connection: close" in head:
            self.close()
        return status, b"retry-after: " in head

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


async def one(client: Client, request: bytes, due: float, answers: Answers) -> None:
    try:
        status, retry_after = await client.post(request)
    except (OSError, asyncio.IncompleteReadError) as error:
        client.close()
        answers.status[type(error).__name__] += 1
        return
    answers.status[status] += 1
    answers.without_retry_after += status == 503 and not retry_after
    if status == 200:
        answers.seconds.append(time.perf_counter() - due)


async def closed_loop(host: str, port: int, requests: list[bytes], clients: int, seconds: float) -> Answers:
    answers, end = Answers(), time.perf_counter() + seconds

    async def work(number: int) -> None:
        client, turn = Client(host, port), number
        while (now := time.perf_counter()) < end:
            await one(client, requests[turn % len(requests)], now, answers)
            turn += clients
        client.close()

    await asyncio.gather(*(work(number) for number in range(clients)))
    return answers


async def open_loop(host: str, port: int, requests: list[bytes], rate: float, seconds: float, seed: int) -> Answers:
    answers, chance = Answers(), random.Random(seed)
    idle: list[Client] = []
    running: set[asyncio.Task] = set()

    async def run(request: bytes, due: float) -> None:
        client = idle.pop() if idle else Client(host, port)
        await one(client, request, due, answers)
        idle.append(client)

    start = due = time.perf_counter()
    turn = 0
    while due < start + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(run(requests[turn % len(requests)], due))
        running.add(task)
        task.add_done_callback(running.discard)
        turn, due = turn + 1, due + chance.expovariate(rate)
    while running:
        await asyncio.wait(running)
    for client in idle:
        client.close()
    return answers


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def percentiles_ms(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    found = np.percentile(np.array(seconds) * 1e3, [50, 95, 99])
    return dict(zip(("p50", "p95", "p99"), (round(float(value), 1) for value in found), strict=True))


def requests_of(folder: Path, url: str, visualize: bool) -> tuple[list[bytes], list[bytes]]:
    """(whole HTTP requests, the image files) of a folder."""
    files = [file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES]
    place = urlsplit(url)
    made = []
    for data in files:
        body = json.dumps({"image": base64.b64encode(data).decode(), "visualize": visualize}).encode()
        head = f"POST {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-length: {len(body)}\r\n"
        made.append((head + "content-type: application/json\r\n\r\n").encode() + body)
    return made, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--runs", type=int, default=5, help="Of bare and sustained, in turns.")
    parser.add_argument("--seconds", type=float, default=5.0, help="Of each run.")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--without-picture", action="store_true", help="visualize: false")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    artifact = import_model(arguments.model, ImportOptions(), Store())
    command = [sys.executable, "-m", "segexport", "serve", str(arguments.model), "--port", "0"]
    command += ["--workers", str(arguments.workers), "--threads", str(arguments.threads)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url = server.stdout.readline().rpartition(" ")[2].strip()
    host, port = urlsplit(url).hostname, urlsplit(url).port
    requests, files = requests_of(arguments.images, url, not arguments.without_picture)
    manifest = artifact.manifest
    tensors = [preprocess.apply(manifest.preprocess, decode_image(files[0]), input_spec=manifest.inputs[0])[0]]
    bare_session = runtime_for(manifest.format, "cpu").open(artifact, RunOptions(threads=arguments.threads))

    def bare() -> float:
        return 1e3 / statistics.mean(bare_session.bench(tensors, bare_runs))

    def sustained() -> Answers:
        return asyncio.run(closed_loop(host, port, requests, arguments.clients, arguments.seconds))

    with bare_session:
        bare_runs = max(1, round(1e3 * arguments.seconds / statistics.median(bare_session.bench(tensors, 10))))
        asyncio.run(closed_loop(host, port, requests, arguments.clients, 1.0))  # warm
        bare_speeds, served_speeds, taken = [], [], Answers()
        pids = {"server": [server.pid], "workers": children(server.pid), "client": [os.getpid()]}
        spent = dict.fromkeys((*pids, "bare"), 0.0)
        for number in range(arguments.runs):
            for way in ("bare", "served") if number % 2 == 0 else ("served", "bare"):
                if way == "bare":
                    before_s = processor_s(bare_session.pid)
                    bare_speeds.append(bare() * arguments.workers)
                    spent["bare"] += processor_s(bare_session.pid) - before_s
                    continue
                before = {name: sum(map(processor_s, some)) for name, some in pids.items()}
                start = time.perf_counter()
                answers = sustained()
                served_speeds.append(answers.status[200] / (time.perf_counter() - start))
                for name, some in pids.items():
                    spent[name] += sum(map(processor_s, some)) - before[name]
                taken.seconds += answers.seconds
                taken.status += answers.status
    bare_speed, speed = statistics.median(bare_speeds), statistics.median(served_speeds)
    usual = asyncio.run(open_loop(host, port, requests, 0.7 * speed, 2 * arguments.seconds, seed=1))
    start = time.perf_counter()
    flooded = asyncio.run(open_loop(host, port, requests, 10 * speed, arguments.seconds, seed=2))
    flood_s = time.perf_counter() - start
    after = asyncio.run(closed_loop(host, port, requests, arguments.clients, 1.0))
    server.send_signal(signal.SIGTERM)
    code = server.wait(60)
    per_request = {name: 1e3 * seconds / max(1, taken.status[200]) for name, seconds in spent.items()}
    per_request["bare"] = 1e3 * spent["bare"] / (bare_runs * arguments.runs)
    result = {
        "libraries": {name: metadata.version(name) for name in ("uvicorn", "starlette", "httptools")},
        "model": {"name": manifest.name, "format": manifest.format, "input": list(tensors[0].shape)},
        "images": {"count": len(files), "mean_bytes": round(statistics.mean(map(len, files)))},
        "workers": arguments.workers,
        "threads": arguments.threads,
        "visualize": not arguments.without_picture,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "sustained": {
            "clients": arguments.clients,
            "bare_images_per_second": round(bare_speed, 1),
            "served_images_per_second": round(speed, 1),
            "ratio": round(statistics.median(a / b for a, b in zip(served_speeds, bare_speeds, strict=True)), 3),
            "ratios": [round(a / b, 3) for a, b in zip(served_speeds, bare_speeds, strict=True)],
            "latency_ms": percentiles_ms(taken.seconds),
            "status": dict(taken.status),
            "processor_ms": {name: round(value, 2) for name, value in per_request.items()},
            "ratio_by_processor_time": round(
                per_request["bare"] / max(arguments.workers * per_request["server"], per_request["workers"]), 3
            ),
        },
        "open": {
            "rate_per_second": round(0.7 * speed, 1),
            "latency_ms": percentiles_ms(usual.seconds),
            "status": dict(usual.status),
        },
        "overload": {
            "rate_per_second": round(10 * speed, 1),
            "requests_per_second": round(sum(flooded.status.values()) / flood_s, 1),
            "results_per_second": round(flooded.status[200] / flood_s, 1),
            "latency_ms": percentiles_ms(flooded.seconds),
            "status": dict(flooded.status),
            "503_without_retry_after": flooded.without_retry_after,
            "served_afterwards_per_second": after.status[200],
        },
        "exit_code": code,
    }
    print(json.dumps(result, indent=2))
    if arguments.output:
        save(arguments.output, result)


if __name__ == "__main__":
    main()
