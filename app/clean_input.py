"""Requests that no route should see: JSON that means two things, and texts that not every database stores."""

from __future__ import annotations

import re

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import InvalidRequest
from app.exact_json import read_json
from app.problems import problem_of

# A body of this size is looked at on the event loop; a larger one would hold up the others.
_SMALL_BYTES = 64 * 2**10


class CleanInput:
    """Middleware. At addresses like ``own`` the route reads the body with ``read_json`` itself, part by part."""

    def __init__(self, app: ASGIApp, prefix: str, own: str) -> None:
        self.app = app
        self._prefix, self._own = prefix, re.compile(own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self.app(scope, receive, send)
            return
        try:
            _check_address(scope)
            if _is_json(scope) and not self._own.fullmatch(scope["path"]):
                receive = await _checked(receive)
        except InvalidRequest as refusal:
            await problem_of(refusal, scope["path"])(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _check_address(scope: Scope) -> None:
    for field, holds_nul in (("path", "\0" in scope["path"]), ("query", b"%00" in scope["query_string"])):
        if holds_nul:
            raise InvalidRequest.of(field, "holds a NUL character", "texts without it")


def _is_json(scope: Scope) -> bool:
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _checked(receive: Receive) -> Receive:
    """The body once more, when nothing is wrong with it."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > _SMALL_BYTES:
        await run_sync(read_json, bytes(body))
    elif body:  # of one that is missing the route tells
        read_json(bytes(body))
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return again
