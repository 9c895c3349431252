"""The progress of fits and recommendations as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app import job_watch, one_reader
from app.db import Database
from app.job_watch import JobWatch
from app.schemas.jobs import JobProgress, JobState
from app.services import jobs
from app.settings import Settings
from app.worker import Worker
from tests.app.study_bodies import create_study, weights
from tests.waiting import PATIENCE_SECONDS, soon


@pytest.fixture
def fit(api: TestClient) -> dict[str, Any]:
    """A queued fit of four runs."""
    study = create_study(api)
    mixtures = (weights(1, 0, 0), weights(0, 1, 0), weights(0, 0, 1), weights(0.5, 0.25, 0.25))
    runs = [{"weights": mixture, "losses": {"code": 1.0 + i, "web": 2.0 - i}} for i, mixture in enumerate(mixtures)]
    api.post(f"/v1/studies/{study}/runs", json={"runs": runs})
    return api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"]}).json()


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(kind, data) of each event; comments are left out."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_the_stream_of_a_finished_fit_ends_at_once(api: TestClient, fit, settings: Settings, clock) -> None:
    with Worker(settings, clock) as worker:
        assert worker.work_once()
    response = api.get(f"/v1/fits/{fit['id']}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    end = {"state": "succeeded", "progress": 1.0, "message": "", "error": None}
    assert read_events(response.text) == [("end", end)]


def test_a_stream_follows_a_fit_to_its_end(
    api: TestClient, fit, database: Database, settings: Settings, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every listener sees every state, in order, and calls are answered while they listen."""
    monkeypatch.setattr(one_reader, "POLL_SECONDS", 0.02)
    url = f"/v1/fits/{fit['id']}"
    with ThreadPoolExecutor(8) as pool:
        listeners = [pool.submit(api.get, f"{url}/events") for _ in range(8)]
        watch: JobWatch = api.app.state.job_watch  # type: ignore[attr-defined]
        assert soon(lambda: sum(watch._listeners.values()) == 8 and len(watch._known) == 1)
        with database.write() as session:
            job = jobs.claim_job(session, "worker", 15, clock())
        assert job is not None
        with database.write() as session:
            assert jobs.extend_lease(session, job.id, job.attempt, 15, 0.25, "mean", clock())
        assert soon(lambda: _seen(watch) == 0.25)
        assert api.get(url).json()["message"] == "mean"
        assert api.post(f"{url}/cancel").status_code == 200
        streams = [read_events(listener.result(PATIENCE_SECONDS).text) for listener in listeners]
    for events in streams:
        assert [kind for kind, _ in events[:-1]] == ["progress"] * (len(events) - 1)
        assert events[0][1]["state"] == "queued"
        assert {"state": "running", "progress": 0.25, "message": "mean", "error": None} in [data for _, data in events]
        assert (events[-1][0], events[-1][1]["state"]) == ("end", "cancelled")


def _seen(watch: JobWatch) -> float:
    known = next(iter(watch._known.values()), None)
    return -1.0 if known is None else known.progress


def test_many_listeners_ask_the_database_as_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 listeners to 2 jobs: one statement a poll, for both jobs; nobody asks when nobody listens."""
    asked: list[int] = []
    taken: list[str] = []
    first, second = UUID(int=1), UUID(int=2)

    def progress(session: object, job_ids: Collection[UUID]) -> dict[UUID, JobProgress]:
        soon(lambda: len(taken) == 500 * len(asked))  # every listener has taken what was found before
        asked.append(len(job_ids))
        done = len(asked) >= 4
        state = JobState.SUCCEEDED if done else JobState.RUNNING
        return {one: JobProgress(state=state, progress=len(asked) / 4, message="", error=None) for one in job_ids}

    monkeypatch.setattr(job_watch, "progress_of", progress)
    monkeypatch.setattr(one_reader, "POLL_SECONDS", 0.01)

    async def listen() -> list[list[str]]:
        watch = JobWatch(database)

        async def texts(job_id: UUID) -> list[str]:
            found = []
            async for text in watch.events(job_id):
                found.append(text)
                taken.append(text)
            return found

        found = await asyncio.gather(*(texts(first if i % 2 else second) for i in range(500)))
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "job-watch"))
        assert (watch._listeners, watch._known, watch._changed) == ({}, {}, {})
        return found

    streams = asyncio.run(listen())
    assert asked[:4] == [2, 2, 2, 2]  # who is late to leave may be asked for once more
    assert all(len(texts) == 4 and texts[-1].startswith("event: end\n") for texts in streams)


def test_a_silent_stream_has_heartbeats(api: TestClient, fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_reader, "HEARTBEAT_SECONDS", 0.05)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(api.get, f"/v1/fits/{fit['id']}/events")
        watch: JobWatch = api.app.state.job_watch  # type: ignore[attr-defined]
        assert soon(lambda: len(watch._known) == 1)
        assert not stream.done()
        assert soon(lambda: api.get(f"/v1/fits/{fit['id']}").status_code == 200)
        api.post(f"/v1/fits/{fit['id']}/cancel")
        text = stream.result(PATIENCE_SECONDS).text
    assert ": nothing new\n\n" in text
    assert read_events(text)[-1][0] == "end"


def test_a_stream_of_nothing_is_not_found(api: TestClient) -> None:
    missing = "00000000-0000-7000-8000-000000000000"
    for what in ("fits", "recommendations"):
        assert api.get(f"/v1/{what}/{missing}/events").status_code == 404
