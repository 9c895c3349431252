"""A disk that fills and a database that goes away: a clear answer, nothing half stored, and on it goes afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text

from app.main import create_app
from app.settings import Settings
from tests.app.conftest import BEARER, LOCAL, StandingClock
from tests.app.study_bodies import create_study, study_body, weights


@pytest.fixture
def own_api(settings: Settings, clock: StandingClock) -> Iterator[TestClient]:
    with TestClient(create_app(settings, clock), base_url=LOCAL, headers=BEARER) as client:
        yield client


def _fill_the_disk(api: TestClient) -> bool:
    """Allow SQLite no more pages than it has; True where that can be done."""
    engine = api.app.state.database.engine  # type: ignore[attr-defined]
    if engine.dialect.name != "sqlite":
        return False

    @event.listens_for(engine, "begin")
    def full(connection) -> None:
        if api.app.state.disk_full:  # type: ignore[attr-defined]
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        else:
            connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")

    api.app.state.disk_full = True  # type: ignore[attr-defined]
    return True


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "filling"}])
def test_a_full_disk_is_said_and_nothing_is_half_stored(own_api: TestClient, headers: dict[str, str]) -> None:
    study = create_study(own_api)
    if not _fill_the_disk(own_api):
        pytest.skip("a full disk is imitated on SQLite only")
    batch = {"runs": [{"weights": weights(0.5, 0.3, 0.2), "losses": {"code": 1.0}} for _ in range(2000)]}
    answer = own_api.post(f"/v1/studies/{study}/runs", json=batch, headers=headers)
    assert answer.status_code == 507, answer.text
    assert answer.json()["detail"] == "The disk of the database is full; nothing was stored."
    assert sum(own_api.get(f"/v1/studies/{study}").json()["run_counts"].values()) == 0

    own_api.app.state.disk_full = False  # type: ignore[attr-defined]
    assert own_api.post(f"/v1/studies/{study}/runs", json=batch, headers=headers).status_code == 201
    assert own_api.get(f"/v1/studies/{study}").json()["run_counts"]["succeeded"] == 2000


def test_a_database_that_drops_its_connections_is_found_again(own_api: TestClient) -> None:
    study = create_study(own_api)
    engine = own_api.app.state.database.engine  # type: ignore[attr-defined]
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no connections to drop")
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    assert own_api.get(f"/v1/studies/{study}").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "away"}])
def test_a_database_that_is_away_is_said_with_a_time_to_come_back(
    settings: Settings, clock: StandingClock, headers: dict[str, str]
) -> None:
    if settings.resolved_database_url.startswith("sqlite"):
        url = f"sqlite:///{settings.data_dir / 'gone' / 'nothing.sqlite3'}"
    else:
        url = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    away = settings.model_copy(update={"database_url": url})
    with TestClient(create_app(away, clock), base_url=LOCAL, headers=BEARER) as api:
        for answer in (api.get("/v1/studies"), api.post("/v1/studies", json=study_body(), headers=headers)):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["detail"] == "The database does not answer at the moment; try again."
        assert api.get("/healthz").status_code == 200
        assert api.get("/readyz").status_code == 503
