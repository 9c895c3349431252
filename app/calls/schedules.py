"""Calls: schedules and what they did."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from app.calls.pages import walked
from app.calls.transport import Transport
from app.schemas.common import Page
from app.schemas.schedules import FiringRead, ScheduleCreate, SchedulePatch, ScheduleRead


class ScheduleCalls(Transport):
    """The calls of this resource; one method a route."""

    def create_schedule(self, study_id: UUID, body: ScheduleCreate) -> ScheduleRead:
        return self._post(f"/v1/studies/{study_id}/schedules", body, ScheduleRead)

    def list_schedules(self, study_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[ScheduleRead]:
        return self._get(f"/v1/studies/{study_id}/schedules", Page[ScheduleRead], limit=limit, cursor=cursor)

    def all_schedules(self, study_id: UUID) -> Iterator[ScheduleRead]:
        """Every schedule of a study, page by page."""
        return walked(lambda cursor: self.list_schedules(study_id, 1000, cursor))

    def get_schedule(self, schedule_id: UUID) -> ScheduleRead:
        return self._get(f"/v1/schedules/{schedule_id}", ScheduleRead)

    def change_schedule(self, schedule_id: UUID, body: SchedulePatch, etag: str | None = None) -> ScheduleRead:
        """Change the version ``etag``, or the present one."""
        return self._change(f"/v1/schedules/{schedule_id}", body, ScheduleRead, etag)

    def delete_schedule(self, schedule_id: UUID, etag: str | None = None) -> None:
        """Delete a schedule and its history; what it made stays."""
        self._delete(f"/v1/schedules/{schedule_id}", etag)

    def fire_schedule(self, schedule_id: UUID) -> FiringRead:
        """Do it once now, whatever its times are."""
        return self._post(f"/v1/schedules/{schedule_id}/fire", None, FiringRead)

    def list_firings(self, schedule_id: UUID, limit: int = 100, cursor: str | None = None) -> Page[FiringRead]:
        """What the schedule did, newest first."""
        return self._get(f"/v1/schedules/{schedule_id}/firings", Page[FiringRead], limit=limit, cursor=cursor)

    def all_firings(self, schedule_id: UUID) -> Iterator[FiringRead]:
        """Everything that the schedule did, page by page."""
        return walked(lambda cursor: self.list_firings(schedule_id, 1000, cursor))
