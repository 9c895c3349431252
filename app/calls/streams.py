"""Server-sent events: reads them off a connection, and goes on where it was when the connection is lost."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from app.calls.answers import checked, retry_after, unreachable
from app.calls.errors import Unreachable

# The service writes at least a comment every 15 seconds; a connection that is silent for longer is dead.
_SILENT_SECONDS = 45.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
# Who listens already waits about half a minute: long enough for a service that is started anew.
_RETRIES_OF_LISTENERS = 8


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream. ``id`` is where to go on after it; empty where the stream names no places."""

    kind: str
    data: str
    id: str


class _Lost(Exception):
    """The connection is gone; ``asked_seconds`` is the pause that the service asked for."""

    def __init__(self, reason: Unreachable, asked_seconds: float = 0.0) -> None:
        super().__init__(str(reason))
        self.reason, self.asked_seconds = reason, asked_seconds


def events_of(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events of a stream of bytes. One that is cut off in the middle is left out; one without data is a place."""
    kind, data, event_id, moved = "", [], "", False
    for line in _lines(chunks):
        if not line:
            if data or moved:
                yield ServerEvent(kind or "message", "\n".join(data), event_id)
            kind, data, moved = "", [], False
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            event_id, moved = value, True


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines that end in LF or CR LF, as the service writes them; httpx would also break at separators inside JSON."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", errors="replace")


class EventStream:
    """The events at one address, for as long as they are asked for.

    Args:
        http: where the connections come from. last_id: go on after this event.
        retries: how often the first connection is tried again before that is an error.
    """

    def __init__(
        self, http: httpx.Client, path: str, query: Mapping[str, Any], last_id: str | None, retries: int
    ) -> None:
        self._http, self._path, self._query, self._retries = http, path, dict(query), retries
        self._last_id = last_id or ""

    def __iter__(self) -> Generator[ServerEvent, None, None]:
        """Events without end: it is the reader who knows the last one, and stops.

        Raises:
            Refused: the service does not answer this call.
            Unreachable: the connection was lost and could not be made again.
        """
        failures = 0
        while True:
            began = time.monotonic()
            lost = _Lost(Unreachable(f"{self._http.base_url.join(self._path)} ends its stream again and again"))
            try:
                for event in self._once():
                    failures, self._retries = 0, max(self._retries, _RETRIES_OF_LISTENERS)
                    self._last_id = event.id or self._last_id
                    if event.data:
                        yield event
            except _Lost as exc:
                lost = exc
            if time.monotonic() - began > _LONGEST_PAUSE_SECONDS:  # it held for a while: that was no failure
                failures = 0
            if failures >= self._retries:
                raise lost.reason from lost
            pause = max(_FIRST_PAUSE_SECONDS * 2**failures, lost.asked_seconds)
            time.sleep(min(pause, _LONGEST_PAUSE_SECONDS))
            failures += 1

    def _once(self) -> Iterator[ServerEvent]:
        """The events of one connection."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        usual = self._http.timeout
        timeout = httpx.Timeout(_SILENT_SECONDS, connect=usual.connect, pool=usual.pool)
        request = self._http.build_request("GET", self._path, params=self._query, headers=headers, timeout=timeout)
        try:
            response = self._http.send(request, stream=True)
            try:
                if response.status_code in _TRY_AGAIN:
                    raise _Lost(
                        Unreachable(f"{request.url} answers {response.status_code}"), retry_after(response) or 0.0
                    )
                if not response.is_success:
                    response.read()
                yield from events_of(checked(response).iter_bytes())
            finally:
                response.close()
        except httpx.TransportError as exc:
            raise _Lost(unreachable(request, exc)) from exc
