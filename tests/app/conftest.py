"""A migrated database, an application on it and a clock that stands still, new for every test.

The suite runs on SQLite and on PostgreSQL. The tests start a PostgreSQL server of their own, once a session;
MIXWRIGHT_TEST_POSTGRES_URL names another one instead, whose user may create databases.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import URL, Engine, create_engine, make_url, text

from app.db import Database
from app.main import create_app
from app.migrate import upgrade
from app.settings import DATABASE_FILE, ENV_PREFIX, Settings
from tests.app.postgres_server import NoPostgres, postgres_server
from tests.app.study_bodies import create_study, register

POSTGRES = os.environ.get(f"{ENV_PREFIX}TEST_POSTGRES_URL", "")
LOCAL = "http://127.0.0.1:8321"
OWNER_KEY = "the-key-of-the-settings"
BEARER = {"Authorization": f"Bearer {OWNER_KEY}"}


class StandingClock:
    """Time moves only when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """Plain lines on the captured output; what a test sets up for a process of its own does not last."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


class PostgresDatabases:
    """Makes databases on one server. A copy of a migrated one is made much faster than it is migrated."""

    def __init__(self, url: str) -> None:
        self._server: URL = make_url(url).set(drivername="postgresql+psycopg")
        self._admin: Engine = create_engine(self._server, isolation_level="AUTOCOMMIT")
        self._migrated: str | None = None
        with self._admin.connect() as connection:
            # Copying files is the faster way, and the only one before version 15.
            newer = (connection.dialect.server_version_info or (0,)) >= (15,)
            self._by_files = "STRATEGY file_copy" if newer else ""

    @contextmanager
    def new(self, template: str = "template1") -> Iterator[str]:
        """The URL of a database that is gone afterwards."""
        name = f"mixwright_{uuid4().hex}"
        self._say(f"CREATE DATABASE {name} TEMPLATE {template} {self._by_files}")
        try:
            yield self._server.set(database=name).render_as_string(hide_password=False)
        finally:
            self._say(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """As :meth:`new`, at this version's revision."""
        if self._migrated is None:
            self._migrated = f"mixwright_{uuid4().hex}"
            self._say(f"CREATE DATABASE {self._migrated}")
            upgrade(Settings(database_url=self._server.set(database=self._migrated).render_as_string(False)))
        with self.new(self._migrated) as url:
            yield url

    def close(self) -> None:
        if self._migrated is not None:
            self._say(f"DROP DATABASE {self._migrated} WITH (FORCE)")
        self._admin.dispose()

    def _say(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """Databases on the server of these tests, which is started once."""
    try:
        with nullcontext(POSTGRES) if POSTGRES else postgres_server() as server:
            databases = PostgresDatabases(server if isinstance(server, str) else server.url)
            yield databases
            databases.close()
    except NoPostgres as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, made once; copying it is much faster than migrating for every test."""
    made = Settings(data_dir=tmp_path_factory.mktemp("migrated"))
    upgrade(made)
    return made.data_dir / DATABASE_FILE


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """The database system of a test."""
    return request.param


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / DATABASE_FILE}"
        return
    with request.getfixturevalue("postgres").new() as url:
        yield url


@pytest.fixture
def settings(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings whose database is migrated."""
    made = Settings(data_dir=tmp_path, api_key=SecretStr(OWNER_KEY))
    if backend == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_file"), tmp_path / DATABASE_FILE)
        yield made.model_copy(update={"database_url": made.resolved_database_url})
        return
    with request.getfixturevalue("postgres").migrated() as url:
        yield made.model_copy(update={"database_url": url})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.resolved_database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def api(settings: Settings, clock: StandingClock) -> Iterator[TestClient]:
    """The application, called without a network."""
    with TestClient(
        create_app(settings, clock), base_url=LOCAL, headers=BEARER, raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def study(api: TestClient) -> str:
    """The id of a study with the usual domains and targets."""
    return create_study(api)


@pytest.fixture
def agent(api: TestClient) -> str:
    """The id of a registered agent."""
    return register(api)
