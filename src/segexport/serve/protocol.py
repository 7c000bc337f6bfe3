"""uvicorn's HTTP protocol with limits on slow clients, long headers and many connections."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from segexport.serve import responses as answer
from segexport.serve.limits import ServerLimits


def limited_protocol(limits: ServerLimits) -> type[HttpToolsProtocol]:
    """Returns uvicorn's connection protocol with `limits`.

    A request's body is the application's business (`body.py`): it answers a slow or large one. A head that does not
    come, and an answer that is not taken, have no reader, so here connections are cut.
    """

    class Limited(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _send_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _in_body = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._say_and_close(503, "too many connections; try again later", b"retry-after: 2\r\n")
            else:
                self._expect_head()

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if not self._in_body:
                self._head_bytes += len(data)
                if self._head_timer is None:
                    self._expect_head()
            super().data_received(data)
            if not self._in_body and self._head_bytes > limits.head_bytes and not self.transport.is_closing():
                self._say_and_close(431, f"the request's head has more than {limits.head_bytes >> 10} KiB")

        def on_headers_complete(self) -> None:
            self._in_body, self._head_bytes = True, 0
            self._head_timer = _cancelled(self._head_timer)
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._send_timer = _cancelled(self._send_timer)
            self._send_timer = self.loop.call_later(limits.send_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._send_timer = _cancelled(self._send_timer)
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_timer, self._send_timer = _cancelled(self._head_timer), _cancelled(self._send_timer)
            super().connection_lost(exc)

        def _expect_head(self) -> None:
            self._head_timer = self.loop.call_later(limits.receive_s, self._head_is_late)

        def _head_is_late(self) -> None:
            self._head_timer = None
            if self.cycle is not None and not self.cycle.response_complete:
                self._expect_head()  # an answer is still due to what was sent before
            elif not self.transport.is_closing():
                self._say_and_close(408, f"no request came in {limits.receive_s:g} s")

        def _say_and_close(self, status: int, message: str, headers: bytes = b"") -> None:
            content = answer.no_result("", status, message)
            self.transport.write(
                b"HTTP/1.1 %d \r\ncontent-type: application/json\r\nconnection: close\r\n%scontent-length: %d\r\n\r\n%s"
                % (status, headers, len(content), content)
            )
            self.transport.close()

    return Limited


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
