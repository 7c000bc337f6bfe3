"""What requests hold in memory: at the limit some are answered, not none, and one that is refused holds nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")

from segexport.serve.admission import Admission
from segexport.serve.app import InferenceHandler, make_app
from segexport.serve.body import receive_body
from segexport.serve.http_errors import Refused
from segexport.serve.limits import ServerLimits
from segexport.serve.metrics import Metrics

PARTS, PART_BYTES = 10, 1000
BODY_BYTES = PARTS * PART_BYTES
LIMITS = ServerLimits(held_bytes=4 * BODY_BYTES, body_bytes=BODY_BYTES)


def scope(length: int | None, **more) -> dict:
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    return {"type": "http", "headers": headers, **more}


def sender():
    """A body in parts; between any two of them, all others send too."""
    left = PARTS

    async def receive() -> dict:
        nonlocal left
        await asyncio.sleep(0)
        left -= 1
        return {"type": "http.request", "body": b"x" * PART_BYTES, "more_body": left > 0}

    return receive


@pytest.mark.parametrize("times", [1, 2, 10])
def test_as_many_bodies_as_fit_are_received_however_many_come(times):
    """Were each taken up to the moment when memory is full, all of them would be refused half received."""
    admission = Admission(LIMITS, Metrics())

    async def one() -> bool:
        with admission.holding() as held:
            try:
                body = await receive_body(scope(BODY_BYTES), sender(), LIMITS, held)
            except Refused as refused:
                return refused.status != 503
            assert len(body) == held.bytes == BODY_BYTES
            return True

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*(one() for _ in range(4 * times)))

    assert sum(asyncio.run(all_at_once())) == 4
    admission.hold(LIMITS.held_bytes)  # all of it was given back


def test_a_body_of_unknown_length_is_counted_as_it_comes():
    admission = Admission(LIMITS, Metrics())
    with admission.holding() as held:
        assert len(asyncio.run(receive_body(scope(None), sender(), LIMITS, held))) == held.bytes == BODY_BYTES


def test_a_refused_request_holds_nothing_while_its_sender_lingers():
    metrics = Metrics()
    limits = replace(LIMITS, body_bytes=3 * PART_BYTES)
    service = SimpleNamespace(admission=Admission(limits, metrics), metrics=metrics)
    held, sent = [], []

    async def receive() -> dict:
        held.append(metrics.held_bytes._value.get())
        return {"type": "http.request", "body": b"x" * PART_BYTES, "more_body": len(held) < 9}

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(InferenceHandler(service, limits)(scope(None), receive, send))
    assert sent[0]["status"] == 413
    assert max(held) == 3 * PART_BYTES
    assert held[4:] == [0] * 5  # it was refused with the fourth part, and has sent five more


@pytest.mark.parametrize(("name", "path"), [(b"x" * 40_000, b"/"), (b"x", b"/" + b"y" * 40_000)])
def test_a_large_head_that_comes_in_one_piece(name, path):
    sent = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    app = make_app(SimpleNamespace(path="/x"), ServerLimits())
    head = {"type": "http", "headers": [(name, b"1")], "raw_path": path, "query_string": b""}
    asyncio.run(app(head, receive, send))
    assert sent[0]["status"] == 431
    assert b"more than 32 KiB" in sent[1]["body"]
