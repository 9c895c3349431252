"""Many listeners to the progress of jobs, one question to the database.

A listener waits on an ``asyncio.Event`` and costs no thread. While there are listeners, one task of the process asks
for the state of all jobs that are listened to, in one statement on one thread, and wakes those whose job has changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from sqlalchemy.exc import SQLAlchemyError

from app.db import Database
from app.event_streams import HEARTBEAT, HEARTBEAT_SECONDS, event_text
from app.schemas.jobs import JobProgress
from app.services.jobs import progress_of

_POLL_SECONDS = 0.5

log = structlog.get_logger(__name__)


class JobWatch:
    """What the listeners of one process share. It belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: Counter[UUID] = Counter()
        self._known: dict[UUID, JobProgress | None] = {}
        self._changed: dict[UUID, asyncio.Event] = {}
        self._poller: asyncio.Task[None] | None = None

    async def events(self, job_id: UUID) -> AsyncIterator[str]:
        """``progress`` at the start and whenever it has changed, at last ``end``; heartbeats in between."""
        self._listen(job_id)
        try:
            sent: JobProgress | None = None
            while True:
                changed = self._changed[job_id]
                now = self._known.get(job_id)
                if job_id in self._known and now != sent:
                    sent = now
                    if now is None or now.over:
                        yield event_text("end", "{}" if now is None else now.model_dump_json())
                        return
                    yield event_text("progress", now.model_dump_json())
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield HEARTBEAT
        finally:
            self._leave(job_id)

    def _listen(self, job_id: UUID) -> None:
        self._listeners[job_id] += 1
        self._changed.setdefault(job_id, asyncio.Event())
        # A loop that was closed took its task with it.
        if self._poller is None or self._poller.done() or self._poller.get_loop() is not asyncio.get_running_loop():
            self._poller = asyncio.create_task(self._poll(), name="job-watch")

    def _leave(self, job_id: UUID) -> None:
        self._listeners[job_id] -= 1
        if self._listeners[job_id] <= 0:
            for of_job in (self._listeners, self._known, self._changed):
                of_job.pop(job_id, None)

    async def _poll(self) -> None:
        """Until nobody listens any more."""
        limiter = CapacityLimiter(1)  # a thread of its own: those of the requests may all be busy
        while self._listeners:
            try:
                self._tell(await run_sync(self._read, tuple(self._listeners), limiter=limiter))
            except SQLAlchemyError as exc:
                log.error("The database failed", action="database_failed", error=str(exc))
            await asyncio.sleep(_POLL_SECONDS)

    def _read(self, job_ids: tuple[UUID, ...]) -> dict[UUID, JobProgress | None]:
        with self._database.read() as session:
            found = progress_of(session, job_ids)
        return {job_id: found.get(job_id) for job_id in job_ids}

    def _tell(self, found: dict[UUID, JobProgress | None]) -> None:
        for job_id, progress in found.items():
            if job_id not in self._listeners or (job_id in self._known and self._known[job_id] == progress):
                continue
            self._known[job_id] = progress
            # Each waits for the event of its time; a new one stands ready for the next change.
            self._changed[job_id].set()
            self._changed[job_id] = asyncio.Event()
