"""A migrated database, an application on it and a clock that stands still, new for every test.

The suite runs on SQLite, and on PostgreSQL too when MIXWRIGHT_TEST_POSTGRES_URL names a server whose user may create
databases.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import create_engine, make_url, text

from app.db import Database
from app.main import create_app
from app.migrate import upgrade
from app.settings import DATABASE_FILE, ENV_PREFIX, Settings

POSTGRES = os.environ.get(f"{ENV_PREFIX}TEST_POSTGRES_URL", "")
DATABASES = ["sqlite", "postgresql"] if POSTGRES else ["sqlite"]
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


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / DATABASE_FILE}"
        return
    server = make_url(POSTGRES).set(drivername="postgresql+psycopg")
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"mixwright_{uuid4().hex}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, made once; copying it is much faster than migrating for every test."""
    made = Settings(data_dir=tmp_path_factory.mktemp("migrated"))
    upgrade(made)
    return made.data_dir / DATABASE_FILE


@pytest.fixture
def settings(database_url: str, tmp_path: Path, migrated_file: Path) -> Settings:
    """Settings whose database is migrated."""
    made = Settings(data_dir=tmp_path, database_url=database_url, api_key=SecretStr(OWNER_KEY))
    if database_url.startswith("sqlite"):
        shutil.copyfile(migrated_file, tmp_path / DATABASE_FILE)
    else:
        upgrade(made)
    return made


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
