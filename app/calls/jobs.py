"""Waiting for the service's own work, and watching it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

from app.calls.errors import ClientError
from app.calls.transport import Transport
from app.schemas.fits import FitRead
from app.schemas.jobs import JobProgress, JobState
from app.schemas.recommendations import RecommendationRead

Job = TypeVar("Job", FitRead, RecommendationRead)

_ASK_EVERY_SECONDS = 0.2
_GONE_WRONG = (JobState.FAILED, JobState.CANCELLED)


class JobFailed(ClientError):
    """A fit or recommendation of the service failed, was cancelled, or took too long."""


class Jobs(Transport):
    """What the calls of fits and recommendations share."""

    def _wait(
        self, kind: str, read: Callable[[], Job], seconds: float, on_progress: Callable[[float], None] | None
    ) -> Job:
        deadline = time.monotonic() + seconds
        while True:
            job = read()
            if on_progress is not None:
                on_progress(job.progress)
            if job.state is JobState.SUCCEEDED:
                return job
            if job.state in _GONE_WRONG:
                raise JobFailed(f"{kind} {job.id} {job.state}: {job.error or 'no reason given'}")
            if time.monotonic() > deadline:
                raise JobFailed(f"{kind} {job.id} is {job.state} after {seconds:g} seconds")
            time.sleep(_ASK_EVERY_SECONDS)

    def _watch(self, path: str) -> Iterator[JobProgress]:
        with closing(self._stream(path)) as events:
            for event in events:
                if event.data == "{}":  # the job is gone
                    return
                progress = self._parsed(path, event.data, JobProgress)
                yield progress
                if progress.over:
                    return
