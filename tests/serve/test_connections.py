"""Clients that are slow, endless or many, and those that leave: each is cut off, the others are served."""

from __future__ import annotations

import base64
import json
import socket
import time

import numpy as np
import pytest
from served import png

pytestmark = pytest.mark.serial  # connections are cut by the clock
TIMEOUT_S = 1.5  # --receive-timeout of the server


def connected(server) -> socket.socket:
    return socket.create_connection(server.place, timeout=20)


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    data = b""
    while part := connection.recv(1 << 16):
        data += part
    return data


def request(image: np.ndarray, *, head: str = "", **more) -> bytes:
    body = json.dumps({"image": base64.b64encode(png(image)).decode(), **more}).encode()
    start = f"POST /semantic-segmentation HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n"
    return start.encode() + body


def trickled(connection: socket.socket, data: bytes, every_s: float = 0.1) -> None:
    """Sends a byte now and then, until the server does not want any more."""
    for index in range(len(data)):
        try:
            connection.send(data[index : index + 1])
        except OSError:
            return
        connection.settimeout(every_s)
        try:
            if connection.recv(1, socket.MSG_PEEK) is not None:
                return
        except TimeoutError:
            continue
        except OSError:
            return
        finally:
            connection.settimeout(20)


def answers(server) -> bool:
    return server.post(png(np.zeros((2, 2, 3), np.uint8))).status_code == 200


def test_a_head_that_never_ends(server):
    with connected(server) as connection:
        start = time.monotonic()
        trickled(connection, b"POST /semantic-segmentation HTTP/1.1\r\n" + b"x: y\r\n" * 1000)
        assert everything(connection).startswith(b"HTTP/1.1 408 ")
        assert TIMEOUT_S - 0.1 < time.monotonic() - start < TIMEOUT_S + 30
    assert answers(server)


def test_a_connection_that_says_nothing_or_nothing_but_empty_lines(server):
    with connected(server) as silent, connected(server) as empty:
        start = time.monotonic()
        trickled(empty, b"\r\n" * 1000)
        assert b"no request came in 1.5 s" in everything(empty)
        assert b"no request came in 1.5 s" in everything(silent)
        assert time.monotonic() - start < TIMEOUT_S + 30


def test_a_body_that_never_ends(server):
    with connected(server) as connection:
        connection.sendall(b"POST /semantic-segmentation HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n")
        start = time.monotonic()
        trickled(connection, b'{"image": "' + b"A" * 5000)
        found = everything(connection)
        assert time.monotonic() - start < TIMEOUT_S + 30
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in found.lower()
    assert json.loads(found.rpartition(b"\r\n")[2])["errorMsg"] == "the request's body did not come in 1.5 s"
    assert answers(server)
    assert server.metric("segexport_held_bytes") == 0


def test_a_head_of_a_megabyte(server):
    with connected(server) as connection:
        connection.sendall(b"POST /semantic-segmentation HTTP/1.1\r\nhost: x\r\n" + b"x: " + b"y" * (1 << 18))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 431 ")
    assert answers(server)


def test_what_is_no_http(server):
    with connected(server) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20)
        assert everything(connection).startswith(b"HTTP/1.1 400 ")
    assert answers(server)


def test_two_requests_at_once_on_a_connection_are_both_answered(server):
    image = np.zeros((3, 4, 3), np.uint8)
    with connected(server) as connection:
        connection.sendall(request(image) + request(image, head="connection: close\r\n"))
        assert everything(connection).count(b'"size": [3, 4]') == 2


def test_a_pause_longer_than_the_time_for_a_request_between_two(server):
    """Idle is not slow: a kept connection waits for `keep_alive_s`."""
    image = np.zeros((3, 4, 3), np.uint8)
    with connected(server) as connection:
        connection.sendall(request(image))
        first = connection.recv(1 << 16)
        time.sleep(TIMEOUT_S + 0.5)
        connection.sendall(request(image, head="connection: close\r\n"))
        assert b'"size": [3, 4]' in first + everything(connection)
        assert b" 200 " in first[:20]


def test_clients_that_leave_cost_nothing_for_long(server):
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for _ in range(20):
        with connected(server) as connection:
            connection.sendall(request(image))
    for _ in range(5):
        with connected(server) as connection:
            connection.sendall(request(image)[:5000])
    assert answers(server)
    deadline = time.monotonic() + 20
    while server.metric("segexport_queue_requests") or server.metric("segexport_held_bytes"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_client_that_does_not_read_its_answer(server):
    """The answer is larger than the buffers in between; the others are served meanwhile."""
    image = np.zeros((3000, 3000, 3), np.uint8)
    with connected(server) as connection:
        before = server.metric("segexport_request_seconds_count")
        connection.sendall(request(image, targetSize=8))
        deadline = time.monotonic() + 30
        while server.metric("segexport_request_seconds_count") == before:
            assert time.monotonic() < deadline, server.log
            time.sleep(0.1)
        assert answers(server)
        assert server.metric("segexport_queue_requests") == 0  # it takes no place in the queue
        assert server.metric("segexport_held_bytes") > 9_000_000


def test_a_client_that_waits_to_be_told_to_send(server):
    """`Expect: 100-continue`: a body that is too large is refused before it is sent."""
    head = b"POST /semantic-segmentation HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: "
    with connected(server) as connection:
        connection.sendall(head + b"99999999\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
    with connected(server) as connection:
        connection.sendall(head + b"2\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 422 ")
