"""What a schedule can do. :data:`WORK` is the one registry: a new kind is a line here."""

from __future__ import annotations

from typing import Any

from app.services.scheduled_work.base import ScheduledWork
from app.services.scheduled_work.refit import RefitWork
from app.services.scheduled_work.top_up import TopUpWork
from app.services.scheduled_work.tracker_import import TrackerImportWork

WORK: dict[str, ScheduledWork[Any]] = {work.kind: work for work in (TopUpWork(), RefitWork(), TrackerImportWork())}
