"""Takes the body of a call in before the call takes anything that others wait for.

A route reads its body while it holds a place among the calls that may write. A client that sends a few bytes now and
then would keep that place from everybody; the first pages of the dashboard are open to clients that nobody knows. So
the body is there before. What is longer than a mebibyte lies in a temporary file meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile

from anyio.to_thread import run_sync
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import problem_of_http

# The key in ``scope["state"]`` of the SHA-256 of the body, in hexadecimal digits.
BODY_HASH = "body_hash"
_IN_MEMORY_BYTES = 2**20
_CHUNK_BYTES = 2**18
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class WholeBody:
    """Middleware. A call whose client goes away before its body is complete is not carried out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self.app(scope, receive, send)
            return
        with _Spooled.opened() as body:
            try:
                complete = await body.take_in(receive)
            except HTTPException as exc:  # too large or too slow, as app/body_limit.py found
                await problem_of_http(exc, scope["path"])(scope, receive, send)
                return
            if complete:
                scope.setdefault("state", {})[BODY_HASH] = body.hash.hexdigest()
                await self.app(scope, body.given_out(receive), send)


class _Spooled:
    """A body that was sent, to be read again from its start."""

    def __init__(self, file: SpooledTemporaryFile[bytes]) -> None:
        self._file, self._size = file, 0
        self.hash = hashlib.sha256()

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[_Spooled]:
        with SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
            yield cls(file)

    async def take_in(self, receive: Receive) -> bool:
        """Read all of it; False when the client went away before its end."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            self._size += len(part)
            self.hash.update(part)
            # Only a disk is worth a thread.
            if self._size > _IN_MEMORY_BYTES:
                await run_sync(self._file.write, part)
            else:
                self._file.write(part)
            if not message.get("more_body", False):
                self._file.seek(0)
                return True

    def given_out(self, receive: Receive) -> Receive:
        """The body once more, and then what else the server says."""
        left: int | None = self._size

        async def next_message() -> Message:
            nonlocal left
            if left is None:
                return await receive()
            if self._size > _IN_MEMORY_BYTES:
                part = await run_sync(self._file.read, _CHUNK_BYTES)
            else:
                part = self._file.read()
            left -= len(part)
            more = left > 0
            if not more:
                left = None
            return {"type": "http.request", "body": part, "more_body": more}

        return next_message
