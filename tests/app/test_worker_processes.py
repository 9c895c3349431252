"""Workers as processes: killed, stopped, orphaned. No job is lost and no process stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.clock import utc_now
from app.db import Database
from app.housekeeping import Housekeeping
from app.main import create_app
from app.models import Job
from app.settings import Settings
from tests.app.conftest import BEARER, LOCAL
from tests.app.study_bodies import claim, create_study, get_run, queue_runs, register, weights
from tests.waiting import PATIENCE_SECONDS, alive, soon


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Leases so short that a test need not wait long for them."""
    return settings.model_copy(update={"job_lease_seconds": 1.0, "job_poll_seconds": 0.05, "sweep_seconds": 0.1})


@pytest.fixture
def live_api(quick: Settings) -> Iterator[TestClient]:
    """As ``api``, under the real clock that real workers go by."""
    with TestClient(create_app(quick), base_url=LOCAL, headers=BEARER) as client:
        yield client


SLOW_WORKER = """
import sys, time
import app.worker_process, app.services.fitting as fitting

def slow_compare(*args, **kwargs):
    sys.stdout.write("computing\\n")
    sys.stdout.flush()
    time.sleep(600)

fitting.compare = slow_compare
sys.exit(app.worker_process.main(sys.argv[1:]))
"""


def _spawn(settings: Settings, *command: str) -> subprocess.Popen[str]:
    names = ("data_dir", "database_url", "job_lease_seconds", "job_poll_seconds", "sweep_seconds")
    ours = {f"MIXWRIGHT_{name.upper()}": str(getattr(settings, name)) for name in names}
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | ours,
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _fit(api: TestClient, fit: str) -> dict:
    return api.get(f"/v1/fits/{fit}").json()


def _lease_end(database: Database) -> datetime:
    """Of the only job."""
    with database.read() as session:
        end = session.scalars(select(Job.lease_expires_at)).one()
    assert end is not None
    return end


def _queued_fit(api: TestClient) -> str:
    study = create_study(api)
    mixtures = (weights(1, 0, 0), weights(0, 1, 0), weights(0, 0, 1))
    runs = [{"weights": mixture, "losses": {"code": 1.0 + i, "web": 2.0}} for i, mixture in enumerate(mixtures)]
    api.post(f"/v1/studies/{study}/runs", json={"runs": runs})
    return api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"]}).json()["id"]


@pytest.mark.slow
def test_a_fit_survives_kill_9_of_its_worker(quick: Settings, live_api: TestClient) -> None:
    fit = _queued_fit(live_api)
    doomed = _spawn(quick, "-c", SLOW_WORKER)
    assert doomed.stdout is not None
    assert doomed.stdout.readline() == "computing\n"
    # It keeps its lease for longer than one lease lasts, so that only its death can free the job.
    database = Database(quick.resolved_database_url)
    whole, first = timedelta(seconds=quick.job_lease_seconds), _lease_end(database)
    assert soon(lambda: _lease_end(database) > first + whole)
    database.dispose()
    assert _fit(live_api, fit)["state"] == "running"
    doomed.kill()
    doomed.communicate()
    heir = _spawn(quick, "-m", "app.worker_process")
    try:
        assert soon(lambda: _fit(live_api, fit)["state"] == "succeeded"), heir.stderr
        assert [row["law"] for row in _fit(live_api, fit)["fidelity"]] == ["mean"]
    finally:
        heir.send_signal(signal.SIGTERM)
        _, logged = heir.communicate(timeout=PATIENCE_SECONDS)
    assert heir.returncode == 0, logged
    assert "Traceback" not in logged
    assert "attempt=2" in logged


@pytest.mark.slow
def test_sigterm_in_the_middle_gives_the_job_back(quick: Settings, live_api: TestClient) -> None:
    fit = _queued_fit(live_api)
    worker = _spawn(quick, "-c", SLOW_WORKER)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "computing\n"
    worker.send_signal(signal.SIGTERM)
    _, logged = worker.communicate(timeout=PATIENCE_SECONDS)
    assert worker.returncode == 0, logged
    assert _fit(live_api, fit)["state"] == "queued"


@pytest.mark.slow
def test_a_worker_ends_when_its_parent_is_killed(quick: Settings, live_api: TestClient) -> None:
    fit = _queued_fit(live_api)
    parent_code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'app.worker_process', '--parent', str(os.getpid())])\n"
        "sys.stdout.write(f'{child.pid}\\n'); sys.stdout.flush(); time.sleep(600)\n"
    )
    parent = _spawn(quick, "-c", parent_code)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert soon(lambda: _fit(live_api, fit)["state"] == "succeeded")  # it is at work
    assert alive(child)
    parent.kill()
    assert soon(lambda: not alive(child))
    parent.communicate(timeout=PATIENCE_SECONDS)


def test_a_sweep_in_the_worker_returns_runs_of_dead_agents(quick: Settings, live_api: TestClient) -> None:
    queue_runs(live_api, create_study(live_api), 1)
    run = claim(live_api, register(live_api), lease_seconds=1)[0]["run_id"]
    stop = threading.Event()
    thread = threading.Thread(target=_sweep_until, args=(quick, stop), daemon=True)
    thread.start()
    try:
        assert soon(lambda: get_run(live_api, run)["state"] == "queued")
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)


def _sweep_until(settings: Settings, stop: threading.Event) -> None:
    database = Database(settings.resolved_database_url)
    while not stop.wait(0.05):
        Housekeeping(settings, database, utc_now).look()
    database.dispose()
