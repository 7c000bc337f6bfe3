"""Receives request bodies and sends responses."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from starlette.types import Message, Receive, Scope, Send

from segexport.serve.admission import Held
from segexport.serve.http_errors import Refused
from segexport.serve.limits import ServerLimits
from segexport.serve.service import ClientLeft

_LINGER_S = 2.0  # for a client that is still sending: closing the connection would lose the response
_LINGER_BYTES = 64 << 20


async def receive_body(scope: Scope, receive: Receive, limits: ServerLimits, held: Held) -> bytes:
    """Receives a request's body. Reserves memory for its whole length first: if many bodies were received in parts, the
    memory could run out before any of them is complete.

    Raises:
        Refused: The body is too large (413), too slow (408), or exceeds the memory limit (503).
        ClientLeft: The client disconnected before the end.
    """
    length = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
    _require_fair_size(length, limits)
    held.hold(length)
    body = bytearray()
    try:
        with anyio.fail_after(limits.receive_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                part = message.get("body", b"")
                held.hold(max(length, len(body) + len(part)))
                body += part
                _require_fair_size(len(body), limits)
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise Refused(408, f"the request's body did not come in {limits.receive_s:g} s") from None


def _require_fair_size(count: int, limits: ServerLimits) -> None:
    if count > limits.body_bytes:
        raise Refused(413, f"the request's body has more than {limits.body_bytes >> 20} MiB")


async def respond(
    send: Send, status: int, body: bytes, *, content_type: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Sends a response; returns when the client has received (most of) it."""
    await send(_start(status, body, content_type, headers))
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})


async def respond_early(
    receive: Receive,
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: str,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Sends a response while the client is still sending the request, then closes the connection.

    The rest of the request is read for a while and discarded: if the connection were closed immediately, the client's
    system would report a failure and discard the response.
    """
    await send(_start(status, body, content_type, (*headers, (b"connection", b"close"))))
    await send({"type": "http.response.body", "body": body, "more_body": True})
    count = 0
    with anyio.move_on_after(_LINGER_S):
        while count < _LINGER_BYTES:
            message = await receive()
            count += len(message.get("body", b""))
            if not message.get("more_body"):
                break
    await send({"type": "http.response.body"})


def _start(status: int, body: bytes, content_type: str, headers: Sequence[tuple[bytes, bytes]]) -> Message:
    own = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    return {"type": "http.response.start", "status": status, "headers": [*own, *headers]}
