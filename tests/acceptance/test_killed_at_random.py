"""``kill -9`` at random, again and again, of the API, of agents and of PostgreSQL while a queue is drained.

Nothing may be lost, nothing may count twice, and every state must be consistent afterwards. MIXWRIGHT_LONG_TESTS makes
the drill longer; MIXWRIGHT_DRILL_SEED repeats one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from app.client import Client, ClientError
from app.db import Database
from app.schemas.runs import RunCreate, RunState
from app.schemas.studies import DomainIn, StudyCreate, TargetIn
from app.settings import Settings
from proxy_training.spec import ProxySettings
from tests.acceptance.instant_agent import CORPUS, loss_of
from tests.app.postgres_server import NoPostgres, PostgresServer
from tests.quiet_ports import quiet_port

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("MIXWRIGHT_LONG_TESTS"))
RUNS = 2000 if LONG else 200
KILLS = 60 if LONG else 6
AGENTS = 3
KEY = "the-key-of-the-drill"
ROOT = Path(__file__).resolve().parents[2]


class Killable:
    """A process that can be killed and started again."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *self._command],
            env=os.environ | self._environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def ensure(self) -> None:
        """Start it again should it have ended by itself."""
        if self._process is None or self._process.poll() is not None:
            self.start()


class Scene:
    """A service, its agents and its database, all of which can be killed."""

    def __init__(self, folder: Path, postgres: PostgresServer | None, stack: ExitStack) -> None:
        port = quiet_port()
        self.url = f"http://127.0.0.1:{port}"
        self.settings = Settings(data_dir=folder, database_url=postgres.url if postgres else None)
        environment = {
            "MIXWRIGHT_API_KEY": KEY,
            "MIXWRIGHT_SWEEP_SECONDS": "0.5",
            "MIXWRIGHT_RUN_MAX_ATTEMPTS": "100",
            "MIXWRIGHT_DATABASE_URL": self.settings.resolved_database_url,
        }
        serve = ["-m", "app.cli", "serve", "--port", str(port), "--data-dir", str(folder)]
        self.api = Killable(serve, environment)
        stack.callback(self.api.kill)
        self.client = stack.enter_context(Client(self.url, KEY, timeout_seconds=10, retries=6))
        self.client.wait_until_ready(60)
        self.agents = [Killable(["-m", "tests.acceptance.instant_agent", self.url], environment) for _ in range(AGENTS)]
        for agent in self.agents:
            stack.callback(agent.kill)
        self.postgres = postgres

    def victims(self) -> list[Callable[[], None]]:
        found = [lambda: _again(self.api), *(lambda agent=agent: _again(agent) for agent in self.agents)]
        if self.postgres is not None:
            found.append(lambda: _crash(self.postgres))
        return found

    def ensure(self) -> None:
        for process in (self.api, *self.agents):
            process.ensure()


def _again(process: Killable) -> None:
    process.kill()
    process.start()


def _crash(postgres: PostgresServer | None) -> None:
    assert postgres is not None
    postgres.kill()
    time.sleep(0.3)
    postgres.start()


@pytest.fixture(params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        postgres = None
        if request.param == "postgresql":
            try:
                postgres = PostgresServer()
            except NoPostgres as exc:
                pytest.skip(str(exc))
            stack.callback(postgres.stop)
        yield Scene(tmp_path, postgres, stack)


def test_nothing_is_lost_and_nothing_counts_twice(scene: Scene) -> None:
    seed = int(os.environ.get("MIXWRIGHT_DRILL_SEED", time.time_ns() % 10**6))
    draw = random.Random(seed)
    study = scene.client.create_study(
        StudyCreate(
            name=f"drill {seed}", domains=[DomainIn(name="a"), DomainIn(name="b")], targets=[TargetIn(name="t")]
        )
    )
    settings = ProxySettings(corpus_hash=CORPUS, train_tokens=4096)
    wanted = [RunCreate(weights={"a": 0.5, "b": 0.5}, settings=settings, seed=i) for i in range(RUNS)]
    created = {run.id for run in scene.client.create_runs(study.id, wanted).runs}
    for _ in range(KILLS):
        time.sleep(draw.uniform(0.1, 1.0))
        draw.choice(scene.victims())()
    _drained(scene, study.id)

    runs = list(scene.client.all_runs(study.id))
    assert {run.id for run in runs} == created, f"seed {seed}"
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    for run in runs:
        assert run.losses is not None
        assert run.losses["t"].value == loss_of(run.id)
        assert run.lease_expires_at is None
    _check_the_history(scene, seed)


def _drained(scene: Scene, study) -> None:
    deadline = time.monotonic() + 120
    while True:
        scene.ensure()
        try:
            counts = scene.client.get_study(study).run_counts
            if counts["queued"] == counts["leased"] == 0:
                return
        except ClientError:
            pass
        assert time.monotonic() < deadline, "the queue is not drained"
        time.sleep(0.3)


def _check_the_history(scene: Scene, seed: int) -> None:
    """Every run has one attempt that succeeded, its last; no attempt is open."""
    database = Database(scene.settings.resolved_database_url)
    with database.read() as session:
        rows = session.execute(
            text(
                "SELECT runs.id, runs.attempt, a.attempt AS number, a.outcome, a.ended_at FROM runs "
                "JOIN run_attempts a ON a.run_id = runs.id"
            )
        ).all()
    database.dispose()
    succeeded = [row for row in rows if row.outcome == "succeeded"]
    assert len(succeeded) == len({row.id for row in succeeded}) == RUNS, f"seed {seed}"
    assert all(row.number == row.attempt for row in succeeded)
    assert all(row.ended_at is not None for row in rows)
    assert {row.outcome for row in rows} <= {"succeeded", "stale"}
