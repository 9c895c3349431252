"""Many listeners to the progress of jobs, one question to the database.

While there are listeners, one task of the process asks for the state of all jobs that are listened to, in one
statement, and wakes those whose job has changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from app.db import Database
from app.event_streams import HEARTBEAT, event_text
from app.one_reader import OneReader, changes, wake
from app.schemas.jobs import JobProgress
from app.services.jobs import progress_of


class JobWatch:
    """What the listeners of one process share. It belongs to one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: Counter[UUID] = Counter()
        self._known: dict[UUID, JobProgress | None] = {}
        self._changed: dict[UUID, asyncio.Event] = {}
        self._reader = OneReader("job-watch", lambda: bool(self._listeners), self._look)

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
                if not await changes(changed):
                    yield HEARTBEAT
        finally:
            self._leave(job_id)

    def _listen(self, job_id: UUID) -> None:
        self._listeners[job_id] += 1
        self._changed.setdefault(job_id, asyncio.Event())
        self._reader.begin()

    def _leave(self, job_id: UUID) -> None:
        self._listeners[job_id] -= 1
        if self._listeners[job_id] <= 0:
            for of_job in (self._listeners, self._known, self._changed):
                of_job.pop(job_id, None)

    async def _look(self, limiter: CapacityLimiter) -> bool:
        self._tell(await run_sync(self._read, tuple(self._listeners), limiter=limiter))
        return False

    def _read(self, job_ids: tuple[UUID, ...]) -> dict[UUID, JobProgress | None]:
        with self._database.read() as session:
            found = progress_of(session, job_ids)
        return {job_id: found.get(job_id) for job_id in job_ids}

    def _tell(self, found: dict[UUID, JobProgress | None]) -> None:
        for job_id, progress in found.items():
            if job_id not in self._listeners or (job_id in self._known and self._known[job_id] == progress):
                continue
            self._known[job_id] = progress
            self._changed[job_id] = wake(self._changed[job_id])
