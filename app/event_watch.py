"""Many listeners to events, one question to the database.

While there are listeners, one task of the process reads what is new, on one thread, and keeps the newest in memory.
Every listener walks through that memory by itself; one that comes back after a long time, or is too slow, reads what
it missed from the database page by page. So no listener waits for another one and none misses an event.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from itertools import takewhile

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from app.db import Database
from app.event_streams import HEARTBEAT, HEARTBEAT_SECONDS, event_text
from app.schemas.events import EventRead
from app.services.event_log import Place, View, place_of, present_end, read_after, shown

_POLL_SECONDS = 0.5
_PAGE = 500
_REMEMBERED = 5000
# Then the listener comes back with its key, which may have been revoked meanwhile.
_LONGEST_SECONDS = 900.0
_EVERYTHING = View(None, True)

log = structlog.get_logger(__name__)


class EventWatch:
    """What the listeners of one process share. It belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners = 0
        self._poller: asyncio.Task[None] | None = None
        self._forget()

    def _forget(self) -> None:
        # Everything after ``_from`` up to ``_head`` is in ``_recent``.
        self._recent: deque[tuple[Place, EventRead]] = deque()
        self._from = self._head = Place(2**63, 0)
        self._changed = asyncio.Event()

    async def end(self) -> Place:
        """Where a listener starts that wants what is new."""
        return await run_sync(self._read_end)

    def _read_end(self) -> Place:
        with self._database.read() as session:
            return present_end(session)

    async def events(self, view: View, here: Place) -> AsyncIterator[str]:
        """The events of ``view`` after ``here``, each once, in the order of their commits; heartbeats in between."""
        self._listen()
        ends_at = time.monotonic() + _LONGEST_SECONDS
        try:
            # The answer begins at once, and says where to go on if the connection is lost before anything happens.
            yield f"id: {here}\n{HEARTBEAT}"
            while time.monotonic() < ends_at:
                changed = self._changed
                found, reached = await self._after(view, here)
                for event in found:
                    yield event_text(event.kind, event.model_dump_json(), event.key)
                if reached > here:
                    here = reached
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield HEARTBEAT
        finally:
            self._listeners -= 1

    async def _after(self, view: View, here: Place) -> tuple[list[EventRead], Place]:
        if here >= self._head:
            return [], here
        if here < self._from:
            return await run_sync(self._read, here, view)
        new = takewhile(lambda remembered: remembered[0] > here, reversed(self._recent))
        return shown(view, [event for _, event in new][::-1]), self._head

    def _read(self, here: Place, view: View) -> tuple[list[EventRead], Place]:
        with self._database.read() as session:
            return read_after(session, here, view, _PAGE)

    def _listen(self) -> None:
        self._listeners += 1
        # A loop that was closed took its task with it.
        if self._poller is None or self._poller.done() or self._poller.get_loop() is not asyncio.get_running_loop():
            self._forget()
            self._poller = asyncio.create_task(self._poll(), name="event-watch")

    async def _poll(self) -> None:
        """Until nobody listens any more."""
        limiter = CapacityLimiter(1)  # a thread of its own: those of the requests may all be busy
        started = False
        while self._listeners:
            try:
                if not started:
                    self._from = self._head = await run_sync(self._read_end, limiter=limiter)
                    started = True
                    self._wake()
                found, reached = await run_sync(self._read, self._head, _EVERYTHING, limiter=limiter)
                self._remember(found, reached)
                if len(found) == _PAGE:
                    continue
            except Exception as exc:  # its listeners wait for it: it goes on when the database is back
                log.error("Events cannot be read", action="events_failed", error=str(exc))
            await asyncio.sleep(_POLL_SECONDS)

    def _remember(self, found: list[EventRead], reached: Place) -> None:
        self._recent.extend((place_of(event), event) for event in found)
        while len(self._recent) > _REMEMBERED:
            self._from = self._recent.popleft()[0]
        moved, self._head = bool(found), reached
        if moved:
            self._wake()

    def _wake(self) -> None:
        # Each waits for the event of its time; a new one stands ready for the next change.
        self._changed.set()
        self._changed = asyncio.Event()
