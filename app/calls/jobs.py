"""Waiting for the service's own work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from app.calls.transport import ClientError, Transport
from app.schemas.fits import FitRead
from app.schemas.jobs import JobState
from app.schemas.recommendations import RecommendationRead

Job = TypeVar("Job", FitRead, RecommendationRead)

_ASK_EVERY_SECONDS = 0.2
_GONE_WRONG = (JobState.FAILED, JobState.CANCELLED)


class JobFailed(ClientError):
    """A fit or recommendation of the service failed, was cancelled, or took too long."""


class Jobs(Transport):
    """What the calls of fits and recommendations share."""

    def _wait(self, kind: str, read: Callable[[], Job], seconds: float, on_read: Callable[[Job], None]) -> Job:
        deadline = time.monotonic() + seconds
        while True:
            job = read()
            on_read(job)
            if job.state is JobState.SUCCEEDED:
                return job
            if job.state in _GONE_WRONG:
                raise JobFailed(f"{kind} {job.id} {job.state}: {job.error or 'no reason given'}")
            if time.monotonic() > deadline:
                raise JobFailed(f"{kind} {job.id} is {job.state} after {seconds:g} seconds")
            time.sleep(_ASK_EVERY_SECONDS)


def ignore(_: object) -> None:
    """Nobody wants to hear of the progress."""
