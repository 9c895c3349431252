"""Bodies: the state of the service's own work."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Fits and recommendations are jobs of the service itself."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"  # taken back by a user
