"""One id a request, one log line a request, and an answer even when the code is wrong."""

from __future__ import annotations

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import Metrics
from app.problems import problem_response

HEADER = "X-Request-ID"
# A caller's id goes into our logs, so it must not be able to forge a line.
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger(__name__)


class RequestLog:
    """Middleware: logs and counts. Successful requests are logged at debug level: agents ask all the time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ACCEPTED_ID.fullmatch(given) else uuid4().hex
        status, begun_after = 0, 0.0
        started = time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status, begun_after
            if message["type"] == "http.response.start":
                status, begun_after = message["status"], time.perf_counter() - started
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, noted)
            except Exception:  # the last door: what nobody expected becomes a 500 and a line with its traceback
                log.exception("The request broke", action="request_broke", method=scope["method"], path=scope["path"])
                if status == 0:
                    await _broke(scope["path"], request_id)(scope, receive, noted)
            self._metrics.answered(scope, status, begun_after)
            _write(scope, status, time.perf_counter() - started)


def _broke(path: str, request_id: str) -> ASGIApp:
    detail = f"the service broke on this request; its log says why under request id {request_id}"
    return problem_response(500, "internal", "The service could not do what was asked.", detail, instance=path)


def _write(scope: Scope, status: int, seconds: float) -> None:
    level = "error" if status >= 500 else "info" if status >= 400 else "debug"
    getattr(log, level)(
        "Request answered",
        action="request",
        method=scope["method"],
        path=scope["path"],
        status=status,
        seconds=round(seconds, 4),
    )
