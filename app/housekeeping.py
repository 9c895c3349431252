"""What a worker process does beside its jobs, every few seconds: leases that ran out, schedules, what is too old.

It has a thread of its own, so that a fit of many minutes holds up no schedule. All of it may run in any number of
processes at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import OperationalError

from app.clock import Clock
from app.db import Database
from app.idempotency import forget_old_calls
from app.services import event_log, firings, queue
from app.settings import Settings

# What is kept for days need not be looked at every few seconds.
_TIDY_EVERY_SECONDS = 600.0

log = structlog.get_logger(__name__)


class Housekeeping:
    """Looks after one database while the ``with`` lasts."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._settings, self._database, self._clock = settings, database, clock
        self._tidied_at: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="housekeeping", daemon=True)

    def __enter__(self) -> Housekeeping:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def look(self) -> None:
        """Everything once. What fails is logged and does not keep the rest from being done."""
        for chore in (self._return_runs, self._fire, self._tidy):
            self._try(chore)

    def _keep_looking(self) -> None:
        while True:
            self.look()
            if self._stop.wait(self._settings.sweep_seconds):
                return

    def _try(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except OperationalError as exc:
            log.error("The database failed", action="database_failed", error=str(exc.orig))
        except Exception:  # a mistake of ours in one chore must not end the others
            log.exception("Housekeeping broke", action="housekeeping_broke", chore=chore.__name__)

    def _return_runs(self) -> None:
        with self._database.write() as session:
            queue.sweep(session, self._clock())

    def _fire(self) -> None:
        attempts = self._settings.job_max_attempts
        if fired := firings.fire_due(self._database, attempts, self._clock()):
            log.info("Schedules fired", action="schedules_fired", firings=fired)
        firings.take_next_steps(self._database, attempts, self._clock())

    def _tidy(self) -> None:
        if self._tidied_at is not None and time.monotonic() - self._tidied_at < _TIDY_EVERY_SECONDS:
            return
        with self._database.write() as session:
            forget_old_calls(session, self._clock())
        with self._database.write() as session:
            event_log.forget_old_events(session, self._settings.events_keep_days, self._clock())
            session.commit()
        self._tidied_at = time.monotonic()
