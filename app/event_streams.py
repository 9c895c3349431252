"""Server-sent events: texts of the stream, and the answer that carries them (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import AsyncIterable

from starlette.responses import StreamingResponse

# A comment that often keeps proxies from closing a stream on which nothing happens.
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = ": nothing new\n\n"


class EventStream(StreamingResponse):
    """A stream that no cache and no proxy holds back."""

    media_type = "text/event-stream"

    def __init__(self, texts: AsyncIterable[str]) -> None:
        super().__init__(texts, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


def event_text(kind: str, data: str, key: str | None = None) -> str:
    """One event. ``data`` may hold several lines; ``key`` is what a client that comes back sends as Last-Event-ID."""
    lines = [] if key is None else [f"id: {key}"]
    lines += [f"event: {kind}", *(f"data: {line}" for line in data.split("\n"))]
    return "\n".join(lines) + "\n\n"
