"""Training pipelines read the weights of the recommendation that a study has adopted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.db import Database
from app.models import Event
from app.schemas.jobs import JobState
from app.services.studies import find_study
from benchmarks.stored_recommendations import store_recommendation
from tests.app.conftest import StandingClock
from tests.app.study_bodies import weights

FIRST, SECOND = weights(0.1, 0.2, 0.7), weights(1 / 3, 1 / 3, 1 / 3)


def stored(
    database: Database,
    study: str,
    mixture: dict[str, float],
    clock: StandingClock,
    state: JobState = JobState.SUCCEEDED,
) -> str:
    """The identifier of a recommendation of these weights."""
    with database.write() as session:
        return str(store_recommendation(session, find_study(session, UUID(study)), mixture, clock(), state))


def adopt(api: TestClient, recommendation: str) -> Any:
    return api.post(f"/v1/recommendations/{recommendation}/adopt")


def test_before_an_adoption_the_refusal_says_what_to_do(api: TestClient, study: str) -> None:
    refusal = api.get(f"/v1/studies/{study}/weights")
    assert refusal.status_code == 404
    assert refusal.headers["content-type"] == "application/problem+json"
    assert "adopt a recommendation" in refusal.json()["detail"]
    assert "no study" in api.get("/v1/studies/00000000-0000-7000-8000-000000000000/weights").json()["detail"]


def test_adopted_weights_are_read_to_the_last_digit(
    api: TestClient, study: str, database: Database, clock: StandingClock
) -> None:
    recommendation = stored(database, study, SECOND, clock)
    adopted = adopt(api, recommendation)
    assert adopted.status_code == 200, adopted.text
    answer = api.get(f"/v1/studies/{study}/weights")
    assert answer.json() == adopted.json()
    assert answer.json()["weights"] == SECOND
    assert answer.json()["stages"] == [{"from_token": 0, "to_token": 1_000_000, "weights": SECOND}]
    assert answer.json()["recommendation_id"] == recommendation
    assert answer.json()["adopted_at"] == "2026-01-01T00:00:00Z"
    assert answer.headers["cache-control"] == "private, max-age=10, must-revalidate"
    assert api.get(f"/v1/studies/{study}").json()["adopted_recommendation_id"] == recommendation


def test_a_pipeline_that_has_them_is_told_so_until_others_are_adopted(
    api: TestClient, study: str, database: Database, clock: StandingClock
) -> None:
    adopt(api, stored(database, study, FIRST, clock))
    answer = api.get(f"/v1/studies/{study}/weights")
    known = {"If-None-Match": answer.headers["etag"]}
    unchanged = api.get(f"/v1/studies/{study}/weights", headers=known)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == answer.headers["etag"]
    assert unchanged.headers["cache-control"] == answer.headers["cache-control"]
    clock.advance(60)
    adopt(api, stored(database, study, SECOND, clock))
    changed = api.get(f"/v1/studies/{study}/weights", headers=known)
    assert (changed.status_code, changed.json()["weights"]) == (200, SECOND)
    assert changed.json()["version"] != answer.json()["version"]


def test_adopting_what_is_adopted_changes_nothing(
    api: TestClient, study: str, database: Database, clock: StandingClock
) -> None:
    recommendation = stored(database, study, FIRST, clock)
    first = adopt(api, recommendation)
    clock.advance(60)
    assert adopt(api, recommendation).json() == first.json()
    with database.read() as session:
        events = session.scalars(select(Event).where(Event.kind == "recommendation.adopted")).all()
    data = {
        "mixture": "recommended",
        "reason": "the recommendation offers it: no measured mixture stands beside it",
        "instead_of": None,
    }
    assert [(str(event.subject_id), event.data) for event in events] == [(recommendation, data)]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.FAILED])
def test_a_recommendation_without_weights_cannot_be_adopted(
    api: TestClient, study: str, database: Database, clock: StandingClock, state: JobState
) -> None:
    assert adopt(api, stored(database, study, FIRST, clock, state)).status_code == 409
    assert api.get(f"/v1/studies/{study}/weights").status_code == 404


def test_an_unknown_recommendation_cannot_be_adopted(api: TestClient) -> None:
    assert adopt(api, "00000000-0000-7000-8000-000000000000").status_code == 404
