"""Measures a server at its memory limit: results per second with requests of 0.5 to 10 times the allowed bytes.

    python benchmarks/serve_bytes.py MODEL IMAGES [--limit-mib 16] [--seconds 10] [-o FILE]

Every request has a body of 1 MiB (an image, and blanks), so as many clients as the limit has MiB fill it. Each sends
its next request after an answer or a refusal, in two rounds of all loads. The number of waiting requests is not
limited.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from serve_load import closed_loop, percentiles_ms, requests_of
from stamped import save

BODY_BYTES = 1 << 20
LOADS = (0.5, 1, 2, 10)  # clients' bodies over the limit
SERVER = """
import sys
from pathlib import Path
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.serve.limits import ServerLimits
from segexport.serve.server import Settings, serve

artifact = import_model(Path(sys.argv[1]), ImportOptions(), Store())
limits = ServerLimits(held_bytes=int(sys.argv[2]) << 20, queue=10_000)
settings = Settings(host="127.0.0.1", port=0, device="cpu", limits=limits)
serve(artifact, settings, lambda address: print(address, flush=True))
"""


def padded(request: bytes) -> bytes:
    """Returns the request with blanks after its JSON."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    lines.append(b"content-length: %d" % BODY_BYTES)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body.ljust(BODY_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--limit-mib", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="Of each load and turn.")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    command = [sys.executable, "-c", SERVER, str(given.model), str(given.limit_mib)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    host, port = urlsplit(url).hostname, urlsplit(url).port
    assert host is not None
    assert port is not None
    requests = [padded(one) for one in requests_of(given.images, url, visualize=False)[0]]
    asyncio.run(closed_loop(host, port, requests, 4, 2.0))  # warm
    found: dict[float, list[dict]] = {load: [] for load in LOADS}
    for turn in (LOADS, LOADS[::-1]):
        for load in turn:
            clients = max(1, round(load * given.limit_mib))
            answers = asyncio.run(closed_loop(host, port, requests, clients, given.seconds))
            found[load].append(
                {
                    "clients": clients,
                    "results_per_second": round(answers.status[200] / given.seconds, 1),
                    "status": {str(status): count for status, count in answers.status.items()},
                    "503_without_retry_after": answers.without_retry_after,
                    "latency_ms": percentiles_ms(answers.seconds),
                }
            )
    server.send_signal(signal.SIGTERM)
    base = statistics.mean(one["results_per_second"] for one in found[LOADS[0]])
    result = {
        "limit_mib": given.limit_mib,
        "body_bytes": BODY_BYTES,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "exit_code": server.wait(60),
        "loads": {
            f"{load:g}x": {
                "of_half_the_limit": round(statistics.mean(one["results_per_second"] for one in turns) / base, 2),
                "turns": turns,
            }
            for load, turns in found.items()
        },
    }
    print(json.dumps(result, indent=2))
    if given.output:
        save(given.output, result)


if __name__ == "__main__":
    main()
