"""The server's routes as an ASGI application."""

from __future__ import annotations

import logging
import time
import uuid

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from segexport.errors import InputError, SegexportError
from segexport.serve import responses as answer
from segexport.serve.body import receive_body, respond, respond_early
from segexport.serve.http_errors import Refused, refused
from segexport.serve.limits import ServerLimits
from segexport.serve.service import ClientLeft, Service

log = logging.getLogger(__name__)
access = logging.getLogger("segexport.serve.access")

_JSON = "application/json"
_CLIENT_LEFT = 499  # as in nginx; the client does not read the response


def make_app(service: Service, limits: ServerLimits) -> ASGIApp:
    """Builds the routes: POST to the task's path, GET /health, GET /metrics."""

    async def health(_request: Request) -> Response:
        if service.admission.stopping:
            return _no_result(503, "Stopping")
        return _no_result(200, "Healthy") if service.healthy else _no_result(503, "The model's process does not run")

    async def metrics(_request: Request) -> Response:
        return Response(service.metrics_text(), media_type=service.metrics.content_type)

    async def unknown(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _no_result(error.status_code, str(error.detail), dict(error.headers or {}))

    app = Starlette(
        routes=[
            Route(service.path, InferenceHandler(service, limits), methods=["POST"]),
            Route("/health", health),
            Route("/metrics", metrics),
        ],
        exception_handlers={HTTPException: unknown},
    )

    async def with_fair_head(scope: Scope, receive: Receive, send: Send) -> None:
        """Limits a head that arrived complete, in one piece with the body; `protocol` limits incomplete ones."""
        if _head_bytes(scope) > limits.head_bytes:
            content = answer.no_result("", 431, f"the request's head has more than {limits.head_bytes >> 10} KiB")
            await respond_early(receive, send, 431, content, content_type=_JSON)
        else:
            await app(scope, receive, send)

    return with_fair_head


def _head_bytes(scope: Scope) -> int:
    lines = sum(len(name) + len(value) + len(b": \r\n") for name, value in scope["headers"])
    return len(scope["raw_path"]) + len(scope["query_string"]) + lines


class InferenceHandler:
    """Handles one image request from its first byte to the end of the response."""

    def __init__(self, service: Service, limits: ServerLimits) -> None:
        self._service, self._limits = service, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        log_id, start, received = str(uuid.uuid4()), time.perf_counter(), False
        status, refusal = _CLIENT_LEFT, None
        with self._service.admission.holding() as held:
            try:
                self._service.admission.check()  # before reading the body, so that refusing is cheap
                body = await receive_body(scope, receive, self._limits, held)
                received = True
                result = await self._service.infer(body, Request(scope, receive).is_disconnected)
                del body
                content = answer.success(log_id, result)
                held.hold(len(content))
                status = 200
                await respond(send, status, content, content_type=_JSON)
            except ClientLeft:
                pass
            except Exception as error:
                refusal = _refusal(error, log_id).with_traceback(None)  # the traceback's frames hold the body
            finally:
                status = status if refusal is None else refusal.status
                self._service.metrics.requests.labels(str(status)).inc()
        why = ""
        if refusal is not None:  # the body is already freed, however slow the client is
            why = refusal.message
            await self._refuse(refusal, log_id, receive, send, early=not received)
        access.info("%s %d %.1f ms %s", log_id, status, (time.perf_counter() - start) * 1e3, why)

    async def _refuse(self, refusal: Refused, log_id: str, receive: Receive, send: Send, *, early: bool) -> None:
        content = answer.no_result(log_id, refusal.status, refusal.message)
        headers = []
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
        if early:
            await respond_early(receive, send, refusal.status, content, content_type=_JSON, headers=headers)
        else:
            await respond(send, refusal.status, content, content_type=_JSON, headers=headers)


def _refusal(error: Exception, log_id: str) -> Refused:
    """Converts an error to the client's response; logs server faults in full."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, SegexportError):
        if not isinstance(error, InputError):
            log.error("%s: %s", log_id, error)
        return refused(error)
    log.error("%s: a bug in segexport", log_id, exc_info=error)
    return Refused(500, f"an error of the server; its log has it under {log_id}")


def _no_result(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    content = answer.no_result(str(uuid.uuid4()), 0 if status == 200 else status, message)
    return Response(content, status, headers, media_type=_JSON)
