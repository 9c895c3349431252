"""Bodies: schedules and their firings."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body
from app.schemas.jobs import JobState
from app.schemas.names import NewName


class Missed(StrEnum):
    """What happens to firings whose time passed while no worker looked."""

    SKIP = "skip"  # none is made up for
    ONCE = "once"  # one firing stands for all of them
    ALL = "all"  # each is made up for, the newest two dozen at most


class FiringCause(StrEnum):
    """Why there is this firing."""

    DUE = "due"  # its time came
    MISSED = "missed"  # its time passed while no worker looked, and it is made up for
    SKIPPED = "skipped"  # its time passed while no worker looked, and it is not
    MANUAL = "manual"  # a caller asked for it


Cron = Annotated[
    str,
    Field(
        max_length=200,
        description="minute, hour, day of month, month, day of week; as in '30 2 * * MON-FRI'",
    ),
]
TimeZone = Annotated[str, Field(max_length=100, description="a name of the IANA database, as in 'Europe/Berlin'")]


class ScheduleCreate(Body):
    """``settings`` are those of the kind: ``top-up``, ``refit`` or ``import``."""

    name: NewName
    kind: str = Field(max_length=50, description="what is done: top-up, refit or import")
    cron: Cron
    time_zone: TimeZone = "UTC"
    missed: Missed = Missed.ONCE
    settings: dict[str, Any] = {}
    enabled: bool = True


class SchedulePatch(Body):
    """What is left out stays as it is. ``enabled`` false pauses the schedule."""

    name: NewName | None = None
    cron: Cron | None = None
    time_zone: TimeZone | None = None
    missed: Missed | None = None
    settings: dict[str, Any] | None = None
    enabled: bool | None = None


class NextFiring(Answer):
    """One instant in UTC and on the clocks of the schedule's time zone."""

    at: datetime
    local: str = Field(description="ISO 8601 with the offset that holds then")


class ScheduleRead(Answer):
    """``next_firings`` are the next five; none while the schedule is paused."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset({"next_firings"})

    id: UUID
    study_id: UUID
    name: str
    kind: str
    cron: str
    time_zone: str
    missed: Missed
    settings: dict[str, Any]
    enabled: bool
    next_firings: list[NextFiring]
    created_at: datetime


class FiringRead(Answer):
    """``state`` is null for one that was skipped. ``outcome`` names what was made: runs, a fit, a recommendation."""

    id: UUID
    schedule_id: UUID
    due_at: datetime
    cause: FiringCause
    state: JobState | None
    message: str
    outcome: dict[str, Any]
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
