"""Server-sent events: texts of the stream, and the answer that carries them (WHATWG HTML, section 9.2).

A stream ends when the service does: its client comes back, to this one or to another replica. The application has an
``asyncio.Event`` in ``state.closing`` that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

# A comment that often keeps proxies from closing a stream on which nothing happens.
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = ": nothing new\n\n"


class EventStream(StreamingResponse):
    """A stream that no cache and no proxy holds back."""

    media_type = "text/event-stream"

    # FastAPI reads the default of status_code for the description of the API.
    def __init__(self, texts: AsyncIterator[str], status_code: int = 200) -> None:
        super().__init__(texts, status_code, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._texts = texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.body_iterator = _until(scope["app"].state.closing, self._texts)
        await super().__call__(scope, receive, send)


async def _until(closing: asyncio.Event, texts: AsyncIterator[str]) -> AsyncIterator[str]:
    """``texts``, until ``closing`` is set."""
    closed = asyncio.ensure_future(closing.wait())
    following: asyncio.Future[str] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(texts))
            await asyncio.wait({following, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        closed.cancel()
        if following is not None:
            if not following.done():
                following.cancel()
                await asyncio.wait({following})
            if not following.cancelled():
                following.exception()  # the end of the texts, say; asyncio complains of one that nobody looked at
        if isinstance(texts, AsyncGenerator):
            await texts.aclose()


def event_text(kind: str, data: str, key: str | None = None) -> str:
    """One event. ``data`` may hold several lines; ``key`` is what a client that comes back sends as Last-Event-ID."""
    lines = [] if key is None else [f"id: {key}"]
    lines += [f"event: {kind}", *(f"data: {line}" for line in data.split("\n"))]
    return "\n".join(lines) + "\n\n"
