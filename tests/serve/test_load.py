"""More than the server can take, processes that die, and the end: what was accepted is answered."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import nets
import numpy as np
import pytest
from served import png

pytestmark = pytest.mark.serial  # connections are cut by the clock

httpx = pytest.importorskip("httpx")

IMAGE = png(np.zeros((8, 8, 3), np.uint8))
REQUEST = {"image": base64.b64encode(IMAGE).decode()}
ROUNDS = 2000  # of the slow net: some 50 ms
STOPPED = (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError)  # what a closed server looks like


@pytest.fixture(scope="module")
def slow_net(needed, tmp_path_factory):
    return nets.slow(tmp_path_factory.mktemp("nets") / "slow", ROUNDS)


def until(condition, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_overload_is_refused_at_once_and_what_is_accepted_is_answered(start, slow_net):
    server = start(slow_net, "--queue", "4")
    with ThreadPoolExecutor(40) as clients:
        started = time.monotonic()
        answers = list(clients.map(lambda _: server.post(IMAGE), range(40)))
        took = time.monotonic() - started
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {200, 503}
    assert codes[200] >= 4
    assert codes[503] >= 10
    for answer in answers:
        if answer.status_code == 503:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.json()["errorCode"] == 503
            assert "try again later" in answer.json()["errorMsg"]
        else:
            assert answer.json()["result"]["size"] == [8, 8]
    assert took < 120
    assert server.post(IMAGE).status_code == 200
    assert server.metric('segexport_requests_total{code="503"}') == codes[503]
    assert server.metric("segexport_queue_requests") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing_that_was_accepted(start, slow_net, number):
    server = start(slow_net, "--queue", "16")
    stopped = threading.Event()
    answered: list[int] = []
    cut_before_the_end: list[Exception] = []

    def client() -> None:
        """Asks until the server is gone."""
        with httpx.Client(timeout=60) as session:
            while True:
                try:
                    answered.append(session.post(server.url, json=REQUEST).status_code)
                except STOPPED as error:
                    if stopped.is_set():
                        return
                    cut_before_the_end.append(error)

    with ThreadPoolExecutor(8) as clients:
        running = [clients.submit(client) for _ in range(8)]
        until(lambda: answered.count(200) >= 8, "no answers")
        until(lambda: server.metric("segexport_queue_requests") >= 4, "no queue")
        stopped.set()
        assert server.stop(number) == 0
        for one in running:
            one.result()
    assert cut_before_the_end == []
    assert set(answered) <= {200, 503}
    # The server's own list: each that it accepted has come to somebody.
    told = [line.split()[4] for line in server.log.splitlines() if " INFO " in line]
    assert told.count("200") == answered.count(200) >= 12
    assert set(told) <= {"200", "503"}
    assert "Traceback" not in server.log


def test_a_stop_with_nothing_to_do_is_quick(start, net):
    server = start(net)
    assert server.post(IMAGE).status_code == 200
    workers = server.workers
    assert workers
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 60
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), "the model's process lives on")


def test_a_process_killed_at_work_costs_one_request(start, slow_net):
    server = start(slow_net)
    (worker,) = server.workers
    with ThreadPoolExecutor(6) as clients:
        running = [clients.submit(server.post, IMAGE) for _ in range(6)]
        until(lambda: server.metric("segexport_queue_requests") >= 5, "no queue")
        os.kill(worker, signal.SIGKILL)
        answers = [one.result() for one in running]
    codes = Counter(answer.status_code for answer in answers)
    assert codes[200] >= 4
    assert codes[500] <= 1  # none, where the process died between two requests
    for answer in answers:
        if answer.status_code == 500:
            assert "the model's process ended while it worked on this request" in answer.json()["errorMsg"]
    assert server.post(IMAGE).status_code == 200
    assert worker not in server.workers
    assert server.metric("segexport_worker_restarts_total") == 1
    assert "was started again" in server.log


def test_a_process_killed_while_idle_costs_nothing(start, net):
    server = start(net)
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    assert server.post(IMAGE).status_code == 200
    assert server.metric("segexport_worker_restarts_total") == 1


def test_several_processes_share_the_work(start, slow_net):
    server = start(slow_net, "--workers", "2")
    assert len(server.workers) == 2
    assert server.metric("segexport_workers_ready") == 2
    with ThreadPoolExecutor(6) as clients:
        running = [clients.submit(server.post, IMAGE) for _ in range(12)]
        until(lambda: server.metric("segexport_queue_requests") >= 4, "no queue")
        os.kill(server.workers[0], signal.SIGKILL)
        codes = Counter(one.result().status_code for one in running)
    assert codes[200] >= 11
    assert server.get("/health").status_code == 200


def test_a_request_that_takes_too_long(start, tmp_path):
    """Its process is ended with it; the next request finds another one."""
    net = nets.endless_on_white(tmp_path / "net")
    server = start(net, "--request-timeout", "3")
    assert server.post(IMAGE).status_code == 200
    (worker,) = server.workers
    started = time.monotonic()
    answer = server.post(png(np.full((8, 8, 3), 255, np.uint8)))
    assert time.monotonic() - started < 60
    assert (answer.status_code, answer.json()["errorCode"]) == (504, 504)
    until(lambda: server.metric("segexport_worker_restarts_total") == 1, "not started again")
    assert server.post(IMAGE).status_code == 200
    assert worker not in server.workers


def test_a_model_that_cannot_be_started_again_is_not_healthy(start, tmp_path):
    net = nets.red(tmp_path / "net")
    server = start(net, "--request-timeout", "2")
    (worker,) = server.workers
    (net / "model.onnx").rename(net / "gone.onnx")
    os.kill(worker, signal.SIGKILL)
    until(lambda: server.get("/health").status_code == 503, "healthy")
    assert server.get("/health").json()["errorMsg"] == "The model's process does not run"
    answer = server.post(IMAGE)
    assert (answer.status_code, answer.json()["errorMsg"]) == (504, "not done in 2 s")
    (net / "gone.onnx").rename(net / "model.onnx")
    until(lambda: server.get("/health").status_code == 200, "not started again")
    assert server.post(IMAGE).status_code == 200
