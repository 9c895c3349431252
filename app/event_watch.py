"""Many listeners to events, one question to the database.

While there are listeners, one task of the process reads what is new and keeps the newest in memory.
Every listener walks through that memory by itself; one that comes back after a long time, or is too slow, reads what
it missed from the database page by page. So no listener waits for another one and none misses an event.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from itertools import takewhile
from typing import NamedTuple

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from app.db import Database
from app.event_streams import HEARTBEAT, event_text
from app.one_reader import OneReader, changes, wake
from app.schemas.events import EventRead
from app.services.event_log import Place, View, is_ahead, place_of, present_end, read_after, shown

_PAGE = 500
_REMEMBERED = 5000
# Then the listener comes back with its key, which may have been revoked meanwhile.
_LONGEST_SECONDS = 900.0
_EVERYTHING = View(None, True)
_NOWHERE = Place(2**63, 0)
_REMARK = ": {} lies ahead of the log, as after the restore of an older backup; what is new from now on follows\n"


class Start(NamedTuple):
    """Where a listener starts, and a comment for it, with its line end, where that is not where it wanted to."""

    here: Place
    remark: str = ""


class EventWatch:
    """What the listeners of one process share. It belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners = 0
        self._reader = OneReader("event-watch", lambda: self._listeners > 0, self._look)
        self._forget()

    def _forget(self) -> None:
        # Everything after ``_from`` up to ``_head`` is in ``_recent``.
        self._recent: deque[tuple[Place, EventRead]] = deque()
        self._from = self._head = _NOWHERE
        self._changed = asyncio.Event()

    async def start(self, after: Place | None) -> Start:
        """Where a listener starts that has read everything up to ``after``, or that wants what is new."""
        return await run_sync(self._read_start, after)

    def _read_start(self, after: Place | None) -> Start:
        with self._database.read() as session:
            if after is None:
                return Start(present_end(session))
            if not is_ahead(session, after):
                return Start(after)
            return Start(present_end(session), _REMARK.format(after))

    def _read_end(self) -> Place:
        with self._database.read() as session:
            return present_end(session)

    async def events(self, view: View, start: Start) -> AsyncIterator[str]:
        """The events of ``view`` after ``start``, each once, in the order of their commits; heartbeats in between."""
        here = start.here
        self._listen()
        ends_at = time.monotonic() + _LONGEST_SECONDS
        try:
            # The answer begins at once, and says where to go on if the connection is lost before anything happens.
            yield f"id: {here}\n{start.remark}{HEARTBEAT}"
            while time.monotonic() < ends_at:
                changed = self._changed
                found, reached = await self._after(view, here)
                for event in found:
                    yield event_text(event.kind, event.model_dump_json(), event.key)
                if reached > here:
                    here = reached
                    continue
                if not await changes(changed):
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
        if self._reader.begin():
            self._forget()

    async def _look(self, limiter: CapacityLimiter) -> bool:
        if self._head == _NOWHERE:
            self._from = self._head = await run_sync(self._read_end, limiter=limiter)
            self._wake()
        found, reached = await run_sync(self._read, self._head, _EVERYTHING, limiter=limiter)
        self._remember(found, reached)
        return len(found) == _PAGE

    def _remember(self, found: list[EventRead], reached: Place) -> None:
        self._recent.extend((place_of(event), event) for event in found)
        while len(self._recent) > _REMEMBERED:
            self._from = self._recent.popleft()[0]
        moved, self._head = bool(found), reached
        if moved:
            self._wake()

    def _wake(self) -> None:
        self._changed = wake(self._changed)
