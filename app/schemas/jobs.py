"""Bodies: the state of the service's own work."""

from __future__ import annotations

from enum import StrEnum

from app.schemas.common import Answer


class JobState(StrEnum):
    """Fits and recommendations are jobs of the service itself."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"  # taken back by a user


class JobProgress(Answer):
    """Where a fit or a recommendation is; what the events of its stream carry."""

    state: JobState
    progress: float
    message: str
    error: str | None

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""
        return self.state not in (JobState.QUEUED, JobState.RUNNING)
