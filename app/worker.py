"""Claims fits and recommendations and computes them, one at a time; ``app/worker_process.py`` makes it a process.

The lease of a job is extended from a second thread while the first one computes. A worker that dies leaves a lease
that runs out; then another worker starts the job again. Results are stored in one transaction that is fenced by the
attempt, so they are written once. What else a worker process does is in ``app/housekeeping.py``.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import OperationalError

from app.clock import Clock, utc_now
from app.db import Database
from app.errors import ServiceError
from app.housekeeping import Housekeeping
from app.models import Job
from app.services import firings, jobs
from app.services.firings import firing_runner
from app.services.fitting import OnProgress, Store, run_fit
from app.services.jobs import JobLost
from app.services.recommending import run_recommendation
from app.settings import Settings
from mixers.errors import MixError

Runner = Callable[[Database, UUID, OnProgress], Store]

# A new kind of job is a line here.
RUNNERS: dict[str, Runner] = {"fit": run_fit, "recommendation": run_recommendation}

# How soon progress is seen; the lease is extended as often.
_REPORT_EVERY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Stopped(BaseException):
    """The worker was told to stop; raised inside of whatever it was doing."""


class GivenUp(BaseException):
    """The job is not ours any more; raised inside of its computation."""


class Worker:
    """Claims and computes jobs of one database.

    Args:
        interrupt: called from another thread when the job at work was cancelled or lost; it makes :class:`GivenUp` be
            raised in the one that computes. Without it the next report of progress ends the computation.
        stopping: set before :class:`Stopped` is raised. A driver or library may turn that into an error of its own.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock = utc_now,
        runners: dict[str, Runner] | None = None,
        interrupt: Callable[[], None] = lambda: None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._runners = {**RUNNERS, firings.KIND: firing_runner(settings, clock)} if runners is None else runners
        self._interrupt = interrupt
        self._stopping = stopping or threading.Event()
        self._database = Database(settings.resolved_database_url)
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.dispose()

    def run(self) -> None:
        """Work until :class:`Stopped` is raised. A database that is away for a while is waited for."""
        with Housekeeping(self._settings, self._database, self._clock):
            while True:
                try:
                    if self.work_once():
                        continue
                except OperationalError as exc:
                    log.error("The database failed", action="database_failed", error=str(exc.orig))
                except Exception as exc:
                    if self._stopping.is_set():
                        raise Stopped from exc
                    raise
                time.sleep(self._settings.job_poll_seconds)

    def work_once(self) -> bool:
        """Compute the oldest waiting job; False when there is none."""
        with self._database.read() as session:
            if not jobs.any_job_waits(session, self._clock()):
                return False
        with self._database.write() as session:
            job = jobs.claim_job(session, self._name, self._settings.job_lease_seconds, self._clock())
        if job is None:
            return False
        log.info("Job started", action="job_started", job_id=str(job.id), kind=job.kind, attempt=job.attempt)
        self._work_on(job)
        return True

    def _work_on(self, job: Job) -> None:
        try:
            seconds = self._settings.job_lease_seconds
            with _Lease(self._database, job, seconds, self._clock, self._interrupt) as lease:
                store = self._runners[job.kind](self._database, job.id, lease.report)
            self._store(job, store)
        except (JobLost, GivenUp):
            log.warning("Job was cancelled or taken over", action="job_lost", job_id=str(job.id), kind=job.kind)
        except (MixError, ServiceError) as exc:
            self._fail(job, str(exc))
        except Stopped:
            self._release(job)
            raise
        except OperationalError:
            raise  # not the job's fault: its lease runs out and it is done again
        except Exception as exc:  # a mistake of ours must end this job, not the worker
            if self._stopping.is_set():
                self._release(job)
                raise Stopped from exc
            log.exception("Job broke", action="job_broke", job_id=str(job.id), kind=job.kind)
            self._fail(job, f"the computation broke ({type(exc).__name__}); the worker's log says more")

    def _release(self, job: Job) -> None:
        with self._database.write() as session:
            jobs.release_job(session, job.id, job.attempt)

    def _store(self, job: Job, store: Store) -> None:
        with self._database.write() as session:
            jobs.finish_job(session, job, self._clock())
            store(session)
            session.commit()
        log.info("Job succeeded", action="job_succeeded", job_id=str(job.id), kind=job.kind)

    def _fail(self, job: Job, reason: str) -> None:
        with self._database.write() as session:
            jobs.fail_job(session, job, reason, self._clock())
        log.info("Job failed", action="job_failed", job_id=str(job.id), kind=job.kind, reason=reason)


class _Lease:
    """Keeps a job's lease alive from a thread while the body of the ``with`` computes."""

    def __init__(
        self, database: Database, job: Job, seconds: float, clock: Clock, interrupt: Callable[[], None]
    ) -> None:
        self._database, self._clock, self._interrupt = database, clock, interrupt
        self._id, self._attempt, self._seconds = job.id, job.attempt, seconds
        self._progress, self._message = 0.0, ""
        self._done, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="job-lease", daemon=True)

    def __enter__(self) -> _Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def report(self, progress: float, message: str) -> None:
        """How far the computation is, from 0 to 1.

        Raises:
            JobLost: computing on would be for nothing.
        """
        self._progress, self._message = progress, message
        if self._lost.is_set():
            raise JobLost

    def _keep(self) -> None:
        while not self._done.wait(min(_REPORT_EVERY_SECONDS, self._seconds / 3)):
            try:
                if not self._lost.is_set() and not self._extend(self._clock()):
                    self._lost.set()
                if self._lost.is_set():  # again and again: code in between may have swallowed the exception
                    self._interrupt()
            except OperationalError as exc:
                log.error("The database failed", action="database_failed", error=str(exc.orig))

    def _extend(self, now: datetime) -> bool:
        with self._database.write() as session:
            return jobs.extend_lease(
                session, self._id, self._attempt, self._seconds, self._progress, self._message, now
            )
