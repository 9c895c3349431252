"""Jobs: leased, fenced, retried; their results are written once, whatever happens to a worker."""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.db import Database
from app.schemas.jobs import JobState
from app.services import jobs
from app.services.fitting import OnProgress, Store
from app.settings import Settings
from app.worker import GivenUp, Stopped, Worker
from mixers.errors import TooFewRuns
from tests.app.study_bodies import create_study, weights
from tests.waiting import PATIENCE_SECONDS, soon

LEASE = 15.0


@pytest.fixture
def fit(api: TestClient) -> str:
    """A queued fit of three runs."""
    study = create_study(api)
    mixtures = (weights(1, 0, 0), weights(0, 1, 0), weights(0, 0, 1))
    runs = [{"weights": mixture, "losses": {"code": 1.0 + i, "web": 2.0 - i}} for i, mixture in enumerate(mixtures)]
    api.post(f"/v1/studies/{study}/runs", json={"runs": runs})
    return api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"]}).json()["id"]


def _read(api: TestClient, fit: str) -> dict:
    return api.get(f"/v1/fits/{fit}").json()


@contextmanager
def _worker(settings: Settings, clock: Callable, compute: Callable[[OnProgress], Store]) -> Iterator[Worker]:
    """A worker whose fits are computed by ``compute``."""
    with Worker(settings, clock, {"fit": lambda _database, _job_id, on_progress: compute(on_progress)}) as worker:
        yield worker


def _work_once(settings: Settings, clock: Callable, compute: Callable[[OnProgress], Store]) -> bool:
    with _worker(settings, clock, compute) as worker:
        return worker.work_once()


def test_a_job_is_handed_to_one_worker(database: Database, api: TestClient, fit: str, clock) -> None:
    def claim(number: int):
        with database.write() as session:
            return jobs.claim_job(session, f"worker-{number}", LEASE, clock())

    with ThreadPoolExecutor(8) as pool:
        claimed = [job for job in pool.map(claim, range(8)) if job is not None]
    assert len(claimed) == 1
    assert _read(api, fit)["state"] == "running"


def test_a_lease_that_ran_out_is_claimed_again_until_attempts_are_used_up(
    database: Database, api: TestClient, fit: str, clock
) -> None:
    for attempt in (1, 2, 3):
        with database.write() as session:
            job = jobs.claim_job(session, "worker", LEASE, clock())
        assert job is not None
        assert job.attempt == attempt
        with database.read() as session:
            assert not jobs.any_job_waits(session, clock())
        clock.advance(LEASE + 1)
        with database.read() as session:
            assert jobs.any_job_waits(session, clock())
    with database.write() as session:
        assert jobs.claim_job(session, "worker", LEASE, clock()) is None
    assert _read(api, fit)["state"] == "failed"
    assert "died in every attempt" in _read(api, fit)["error"]


def test_a_worker_that_lost_its_job_cannot_store_results(
    settings: Settings, database: Database, api: TestClient, fit: str, clock
) -> None:
    stored: list[str] = []

    def slow(on_progress: OnProgress) -> Store:
        clock.advance(LEASE + 1)
        with database.write() as session:
            assert jobs.claim_job(session, "another worker", LEASE, clock()) is not None
        return lambda _: stored.append("late")

    assert _work_once(settings, clock, slow)
    assert stored == []
    state = _read(api, fit)
    assert (state["state"], state["fidelity"]) == ("running", [])


def test_computing_stops_soon_after_the_job_is_lost(settings: Settings, database: Database, fit: str, clock) -> None:
    """The lease is looked at every second; the next report of progress then ends the computation."""

    def slow(on_progress: OnProgress) -> Store:
        clock.advance(LEASE + 1)
        with database.write() as session:
            jobs.claim_job(session, "another worker", LEASE, clock())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            on_progress(0.5, "still at it")
            time.sleep(0.05)
        raise AssertionError("nobody told the computation to stop")

    assert _work_once(settings, clock, slow)


def test_progress_is_seen_while_the_job_runs_and_its_lease_is_kept(
    settings: Settings, api: TestClient, fit: str, clock
) -> None:
    seen: list[float] = []

    def slow(on_progress: OnProgress) -> Store:
        for i in range(1, 4):
            on_progress(i / 4, "at work")
            clock.advance(LEASE - 1)
            assert soon(lambda told=i / 4: _read(api, fit)["progress"] == told)
            seen.append(_read(api, fit)["progress"])
        return lambda _: None

    _work_once(settings, clock, slow)
    assert seen == [0.25, 0.5, 0.75]
    assert _read(api, fit)["state"] == "succeeded"


def test_a_refusal_of_the_mathematics_ends_the_job_with_its_sentence(
    settings: Settings, api: TestClient, fit: str, clock
) -> None:
    def refuse(on_progress: OnProgress) -> Store:
        raise TooFewRuns("bimix needs at least 9 measured runs")

    _work_once(settings, clock, refuse)
    assert (_read(api, fit)["state"], _read(api, fit)["error"]) == ("failed", "bimix needs at least 9 measured runs")


def test_a_mistake_of_ours_ends_the_job_and_not_the_worker(
    settings: Settings, api: TestClient, fit: str, clock
) -> None:
    def broken(on_progress: OnProgress) -> Store:
        raise ZeroDivisionError("some internal detail")

    with _worker(settings, clock, broken) as worker:
        assert worker.work_once() is True
        assert worker.work_once() is False
    state = _read(api, fit)
    assert state["state"] == "failed"
    assert "ZeroDivisionError" in state["error"]
    assert "internal detail" not in state["error"]


def test_results_and_state_are_stored_together_or_not_at_all(
    settings: Settings, api: TestClient, fit: str, clock
) -> None:
    def half(on_progress: OnProgress) -> Store:
        def store(session: Session) -> None:
            raise ZeroDivisionError

        return store

    _work_once(settings, clock, half)
    assert _read(api, fit)["state"] == "failed"


def test_a_worker_told_to_stop_gives_its_job_back_with_all_attempts(
    settings: Settings, database: Database, api: TestClient, fit: str, clock
) -> None:
    from app.worker import Stopped

    def stopped(on_progress: OnProgress) -> Store:
        raise Stopped

    with _worker(settings, clock, stopped) as worker:
        for _ in range(10):
            with pytest.raises(Stopped):
                worker.work_once()
    assert _read(api, fit)["state"] == "queued"
    with database.write() as session:
        job = jobs.claim_job(session, "worker", LEASE, clock())
    assert job is not None
    assert job.max_attempts - job.attempt == settings.job_max_attempts - 1


def _kinds(api: TestClient) -> list[str]:
    return [event["kind"] for event in api.get("/v1/events").json()["items"]]


def test_a_cancelled_fit_that_waits_is_never_computed(settings: Settings, api: TestClient, fit: str, clock) -> None:
    cancelled = api.post(f"/v1/fits/{fit}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert api.post(f"/v1/fits/{fit}/cancel").json() == cancelled.json(), "once is as good as twice"
    assert _work_once(settings, clock, lambda _: lambda _: None) is False
    clock.advance(10 * LEASE)
    assert _work_once(settings, clock, lambda _: lambda _: None) is False
    assert _kinds(api).count("fit.cancelled") == 1
    refused = api.post(f"/v1/fits/{fit}/predictions", json={"weights": [weights(1, 0, 0)]})
    assert (refused.status_code, "was cancelled" in refused.json()["detail"]) == (409, True)


def test_a_fit_that_is_cancelled_while_it_is_computed_is_not_stored(
    settings: Settings, api: TestClient, fit: str, clock
) -> None:
    """Even when the worker only learns of it at the very end."""
    stored: list[str] = []

    def unaware(on_progress: OnProgress) -> Store:
        assert api.post(f"/v1/fits/{fit}/cancel").status_code == 200
        return lambda _: stored.append("late")

    assert _work_once(settings, clock, unaware)
    assert stored == []
    assert (_read(api, fit)["state"], _read(api, fit)["error"]) == ("cancelled", None)


def test_a_computation_that_reports_nothing_is_interrupted_within_a_moment(
    settings: Settings, api: TestClient, fit: str, clock
) -> None:
    def give_up(signum: int, frame: FrameType | None) -> None:
        raise GivenUp

    def silent(database: Database, job_id: UUID, on_progress: OnProgress) -> Store:
        assert api.post(f"/v1/fits/{fit}/cancel").status_code == 200
        time.sleep(PATIENCE_SECONDS)
        raise AssertionError("nobody interrupted the computation")

    computing = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, give_up)
    try:
        interrupt = functools.partial(signal.pthread_kill, computing, signal.SIGUSR1)
        with Worker(settings, clock, {"fit": silent}, interrupt) as worker:
            assert worker.work_once()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert _read(api, fit)["state"] == "cancelled"


def test_what_has_ended_cannot_be_cancelled(settings: Settings, api: TestClient, fit: str, clock) -> None:
    assert _work_once(settings, clock, lambda _: lambda _: None)
    response = api.post(f"/v1/fits/{fit}/cancel")
    assert (response.status_code, response.json()["detail"]) == (
        409,
        "the fit has succeeded and cannot be cancelled any more",
    )
    assert _kinds(api).count("fit.succeeded") == 1


def test_the_event_of_a_failure_says_why(
    settings: Settings, database: Database, api: TestClient, fit: str, clock
) -> None:
    """Also when no worker lived to say it."""
    for _ in range(settings.job_max_attempts):
        with database.write() as session:
            assert jobs.claim_job(session, "worker", LEASE, clock()) is not None
        clock.advance(LEASE + 1)
    with database.write() as session:
        assert jobs.claim_job(session, "worker", LEASE, clock()) is None
    failed = next(event for event in api.get("/v1/events").json()["items"] if event["kind"] == "fit.failed")
    assert failed["subject_id"] == fit
    assert "died in every attempt" in failed["data"]["error"]


def test_finished_jobs_are_not_claimed_again(
    settings: Settings, database: Database, api: TestClient, fit: str, clock
) -> None:
    assert _work_once(settings, clock, lambda _: lambda _: None)
    clock.advance(10 * LEASE)
    with database.write() as session:
        assert jobs.claim_job(session, "worker", LEASE, clock()) is None
    assert _read(api, fit)["state"] == JobState.SUCCEEDED


def test_a_stop_that_a_driver_turns_into_an_error_gives_the_job_back(
    api: TestClient, settings: Settings, clock: Callable, fit: str
) -> None:
    """A signal that arrives inside of a database driver may come out as an error of that driver."""
    stopping = threading.Event()

    def broken(*_: object) -> NoReturn:
        stopping.set()
        raise RuntimeError("the connection was closed in the middle of a call")

    with Worker(settings, clock, {"fit": broken}, stopping=stopping) as worker, pytest.raises(Stopped):
        worker.work_once()
    read = _read(api, fit)
    assert (read["state"], read["error"]) == ("queued", None)
