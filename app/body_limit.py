"""How much a caller may send, and how slowly.

A body above the limit is refused by its declared length, or as soon as it has grown too far. One that trickles in
(a slow-loris client holds connections open for nothing) is given up with 408. A head that trickles in never reaches an
application: ``app/patience.py`` closes such connections.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge, status_of
from app.principal import NOBODY
from app.problems import problem_of

# A body may take this long whatever its size, and beyond that a second for each so many bytes.
GRACE_SECONDS = 20.0
SLOWEST_BYTES_PER_SECOND = 4096.0
# Of callers that nobody knows: more than any form of ours.
UNKNOWN_BYTES = 16 * 2**10


class BodyLimit:
    """Middleware. ``larger`` holds other limits by patterns of whole addresses; who is not known may send a form only.

    A refusal that comes while a route reads is an ``HTTPException``: FastAPI passes on no other from there.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        larger: Mapping[str, int] | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._larger = [(re.compile(pattern), most) for pattern, most in (larger or {}).items()]
        self._grace = grace_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self._most(scope)
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > most:
            await problem_of(_too_large(most), scope["path"])(scope, receive, send)
            return
        await self.app(scope, _Counted(receive, most, self._grace), send)

    def _most(self, scope: Scope) -> int:
        if scope.get("state", {}).get("principal") is NOBODY:
            return min(UNKNOWN_BYTES, self._max_bytes)
        return next((most for where, most in self._larger if where.fullmatch(scope["path"])), self._max_bytes)


class _Counted:
    """Passes a body on while it is small and fast enough."""

    def __init__(self, receive: Receive, most: int, grace_seconds: float) -> None:
        self._receive, self._most, self._grace = receive, most, grace_seconds
        self._taken, self._complete = 0, False
        self._since = time.monotonic()

    async def __call__(self) -> Message:
        if self._complete:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        left = self._grace + self._taken / SLOWEST_BYTES_PER_SECOND - (time.monotonic() - self._since)
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError as exc:
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the body comes too slowly: {self._taken} bytes in {time.monotonic() - self._since:.0f} seconds",
                {"Connection": "close"},
            ) from exc
        self._taken += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._taken > self._most:
            error = _too_large(self._most)
            raise HTTPException(status_of(error), error.detail, {"Connection": "close"})
        return message


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is too large; accepted: at most {most} bytes")
