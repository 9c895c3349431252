"""Imports what is new in a tracker.

Runs are keyed by their name there, so an import that is done again, after a worker died say, changes nothing: its rows
need not wait for the end of the job.
"""

from __future__ import annotations

from pydantic import ValidationError

from app.errors import InvalidRequest
from app.formats.imports import IMPORTS
from app.schemas.imports import ImportSettings
from app.services.imports import run_import, source_of, trackers_of
from app.services.scheduled_work.base import Done, Finish, ScheduledWork, Task, wrong_settings
from app.settings import Settings


class TrackerImportWork(ScheduledWork[ImportSettings]):
    """The settings are the body of a call to ``/imports``."""

    kind = "import"
    wishes = ImportSettings

    def check(self, wishes: ImportSettings, settings: Settings) -> None:
        trackers = [name for name, known in IMPORTS.items() if known.takes != "files"]
        if wishes.format not in trackers:
            raise InvalidRequest.of("settings.format", f"{wishes.format!r} asks no tracker", ", ".join(trackers))
        if wishes.dry_run:
            raise InvalidRequest.of("settings.dry_run", "a schedule that stores nothing has no use", "false")
        tracker = IMPORTS[wishes.format]
        try:
            options = tracker.options.model_validate(wishes.options)
        except ValidationError as exc:
            raise wrong_settings(exc, "settings.options") from exc
        tracker.check(trackers_of(settings), options)

    def step(self, task: Task[ImportSettings]) -> Finish:
        task.on_progress(0.0, f"asking {task.wishes.format}")
        with source_of([], task.settings) as source:
            report = run_import(task.database, task.study_id, task.wishes, source, task.now)
        made = {"import_id": str(report.id), "runs_taken": report.taken, "runs_updated": report.updated}
        return lambda session: Done(made)
