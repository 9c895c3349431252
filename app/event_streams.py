"""Server-sent events: texts of the stream, and the answer that carries them (WHATWG HTML, section 9.2).

A stream ends when the service does: its client comes back, to this one or to another replica. The application has an
``asyncio.Event`` in ``state.closing`` that says so. It ends as well when its key or login does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import State
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.errors import NotAuthenticated, TooManyRequests
from app.principal import Principal
from app.problems import problem_of

# A comment that often keeps proxies from closing a stream on which nothing happens.
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = ": nothing new\n\n"
# Each stream holds a connection, of which a process has not so many.
MOST_OF_A_KEY = 100
# How long a stream outlives its key.
ASK_AGAIN_SECONDS = 10.0
_COME_BACK_SECONDS = 15


class EventStream(StreamingResponse):
    """A stream that no cache and no proxy holds back."""

    media_type = "text/event-stream"

    # FastAPI reads the default of status_code for the description of the API.
    def __init__(self, texts: AsyncIterator[str], status_code: int = 200) -> None:
        super().__init__(texts, status_code, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._texts = texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state, caller = scope["app"].state, scope["state"]
        principal: Principal = caller["principal"]
        who, streams = str(principal.key_id or principal.name), _streams_of(state)
        if streams[who] >= MOST_OF_A_KEY:
            refusal = TooManyRequests(
                f"this key has {MOST_OF_A_KEY} streams open already; close some of them",
                retry_after_seconds=_COME_BACK_SECONDS,
            )
            await problem_of(refusal, scope["path"])(scope, receive, send)
            return
        streams[who] += 1
        try:
            self.body_iterator = _until(partial(_ended, state.closing, caller["ask_again"]), self._texts)
            await super().__call__(scope, receive, send)
        finally:
            streams[who] -= 1
            if not streams[who]:
                del streams[who]


def _streams_of(state: State) -> Counter[str]:
    """How many streams each key has open in this process."""
    if not hasattr(state, "streams"):
        state.streams = Counter()
    return state.streams


async def _ended(closing: asyncio.Event, ask_again: Callable[[], Awaitable[Principal]]) -> None:
    """Returns when the service ends, or when nobody would be let in any more who asked as the caller did."""
    while True:
        try:
            await asyncio.wait_for(closing.wait(), ASK_AGAIN_SECONDS)
            return
        except TimeoutError:
            pass
        try:
            await ask_again()
        except (NotAuthenticated, TooManyRequests):  # or one wrong key too many
            return
        except SQLAlchemyError:
            continue  # that says nothing of the key


async def _until(end: Callable[[], Awaitable[None]], texts: AsyncIterator[str]) -> AsyncIterator[str]:
    """``texts``, until ``end`` returns."""
    closed = asyncio.ensure_future(end())
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
