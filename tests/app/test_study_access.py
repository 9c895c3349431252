"""A key that is bound to a study works there and knows of nothing else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.db import Database
from app.services.studies import find_study
from benchmarks.stored_recommendations import store_recommendation
from tests.app.conftest import StandingClock
from tests.app.study_bodies import create_study, queue_runs, study_body, weights

ANY_VERSION = {"If-Match": "*"}


@pytest.fixture
def own(api: TestClient) -> str:
    """The study of the key."""
    return create_study(api, name="own")


@pytest.fixture
def key(api: TestClient, own: str) -> dict[str, str]:
    """Headers with a key that may change things in one study."""
    made = api.post("/v1/keys", json={"name": "pipeline", "scopes": ["write"], "study_id": own})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


def calls(study: dict[str, Any], recommendation: str) -> list[tuple[str, str, Any]]:
    """Every call of these resources on one study."""
    root, domain_set = f"/v1/studies/{study['id']}", f"/v1/domain-sets/{study['domain_set']['id']}"
    return [
        ("GET", root, None),
        ("PATCH", root, {"description": "x"}),
        ("GET", f"{root}/domain-sets", None),
        ("POST", f"{root}/domain-sets", {"domains": study_body()["domains"]}),
        ("GET", domain_set, None),
        ("GET", f"{domain_set}/bindings", None),
        ("PUT", f"{domain_set}/bindings/megatron", {"paths": {"web": ["/w"]}}),
        ("GET", f"{domain_set}/bindings/megatron", None),
        ("DELETE", f"{domain_set}/bindings/megatron", None),
        ("GET", f"{root}/targets", None),
        ("POST", f"{root}/targets", {"name": "math"}),
        ("GET", f"{root}/targets/math", None),
        ("PATCH", f"{root}/targets/math", {"weight": 2}),
        ("POST", f"/v1/recommendations/{recommendation}/adopt", None),
        ("GET", f"{root}/weights", None),
    ]


def statuses(api: TestClient, key: dict[str, str], study: str, database: Database, clock: StandingClock) -> list[int]:
    with database.write() as session:
        found = find_study(session, UUID(study))
        recommendation = str(store_recommendation(session, found, weights(0.2, 0.3, 0.5), clock()))
    body = api.get(f"/v1/studies/{study}").json()
    found_statuses = []
    for method, url, sent in calls(body, recommendation):
        headers = key | (ANY_VERSION if method in ("PATCH", "DELETE") else {})
        found_statuses.append(api.request(method, url, json=sent, headers=headers).status_code)
    return found_statuses


def test_the_own_study_is_open(
    api: TestClient, own: str, key: dict[str, str], database: Database, clock: StandingClock
) -> None:
    assert all(status < 300 for status in statuses(api, key, own, database, clock))


def test_another_study_is_not_there(
    api: TestClient, key: dict[str, str], database: Database, clock: StandingClock
) -> None:
    other = create_study(api, name="other")
    assert set(statuses(api, key, other, database, clock)) == {404}
    assert api.get(f"/v1/studies/{other}").json()["description"] == ""
    assert api.get(f"/v1/studies/{other}/weights").status_code == 404


def test_what_is_elsewhere_is_refused_in_the_words_of_what_is_nowhere(
    api: TestClient, key: dict[str, str], database: Database, clock: StandingClock
) -> None:
    other, nowhere = create_study(api, name="other"), "00000000-0000-7000-8000-000000000000"
    with database.write() as session:
        recommendation = store_recommendation(
            session, find_study(session, UUID(other)), weights(0.2, 0.3, 0.5), clock()
        )
    schedule = {"name": "s", "kind": "refit", "cron": "0 0 * * *", "time_zone": "UTC"}
    there = {
        "studies": other,
        "domain-sets": api.get(f"/v1/studies/{other}").json()["domain_set"]["id"],
        "runs": queue_runs(api, other, 1)[0]["id"],
        "recommendations": str(recommendation),
        "fits": api.get(f"/v1/recommendations/{recommendation}").json()["fit_id"],
        "schedules": api.post(f"/v1/studies/{other}/schedules", json=schedule).json()["id"],
    }
    for kind, found in there.items():
        assert api.get(f"/v1/{kind}/{found}").status_code == 200, kind
        refused, unknown = (api.get(f"/v1/{kind}/{one}", headers=key) for one in (found, nowhere))
        assert refused.status_code == unknown.status_code == 404
        assert refused.text == unknown.text.replace(nowhere, found), kind


def test_lists_hold_the_own_study_alone_and_no_other_can_be_made(
    api: TestClient, own: str, key: dict[str, str]
) -> None:
    create_study(api, name="other")
    assert [study["id"] for study in api.get("/v1/studies", headers=key).json()["items"]] == [own]
    assert api.post("/v1/studies", json=study_body(), headers=key).status_code == 403
