"""Targets can be added and changed; what their values mean is fixed once there are some."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.db import Database
from app.models import Event
from tests.app.conftest import StandingClock
from tests.app.study_bodies import create_study, weights


def url_of(study: str, name: str) -> str:
    return f"/v1/studies/{study}/targets/{quote(name, safe='')}"


def change(api: TestClient, study: str, name: str, body: dict[str, Any]) -> Any:
    etag = api.get(url_of(study, name)).headers["etag"]
    return api.patch(url_of(study, name), json=body, headers={"If-Match": etag})


def measure(api: TestClient, study: str) -> None:
    run = {"weights": weights(0.5, 0.3, 0.2), "losses": {"code": 1.0}}
    assert api.post(f"/v1/studies/{study}/runs", json={"runs": [run]}).status_code == 201


def test_targets_are_listed_in_their_order_and_a_new_one_comes_last(api: TestClient, clock: StandingClock) -> None:
    study = create_study(api)
    clock.advance(1)
    body = {"name": "math", "unit": "nats", "weight": 0.5, "definition": "GSM8K gold bpb", "definition_version": "2"}
    made = api.post(f"/v1/studies/{study}/targets", json=body)
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in body} == body
    first = api.get(f"/v1/studies/{study}/targets", params={"limit": 2}).json()
    rest = api.get(f"/v1/studies/{study}/targets", params={"cursor": first["next_cursor"]}).json()
    assert [target["name"] for target in first["items"] + rest["items"]] == ["code", "web", "math"]
    assert api.get(f"/v1/studies/{study}").json()["targets"][2]["definition_version"] == "2"


def test_a_name_that_is_taken_is_refused(api: TestClient) -> None:
    study = create_study(api)
    refusal = api.post(f"/v1/studies/{study}/targets", json={"name": "web"})
    assert refusal.status_code == 409
    assert "has a target 'web' already" in refusal.json()["detail"]


@pytest.mark.parametrize("name", ["eval/downstream/gsm8k (BPB v2)", "a?b#c", "50%", "ünï", "'; DROP TABLE targets; --"])
def test_names_of_trackers_can_be_addressed(api: TestClient, name: str) -> None:
    study = create_study(api, targets=[{"name": name}])
    assert api.get(url_of(study, name)).json()["name"] == name
    assert change(api, study, name, {"weight": 2.0}).json()["weight"] == 2.0


def test_weight_unit_and_family_can_be_changed_at_any_time(api: TestClient, database: Database) -> None:
    study = create_study(api)
    measure(api, study)
    changed = change(api, study, "code", {"weight": 2.0, "unit": "nats_per_token", "family": "programs"})
    assert changed.status_code == 200, changed.text
    assert changed.headers["etag"] == api.get(url_of(study, "code")).headers["etag"]
    assert [changed.json()[name] for name in ("weight", "unit", "family")] == [2.0, "nats_per_token", "programs"]
    with database.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "target.changed")).one()
    assert event.data == {"name": "code", "changed": {"weight": 2.0, "unit": "nats_per_token", "family": "programs"}}


@pytest.mark.parametrize("body", [{"definition_version": "2"}, {"direction": "maximize"}])
def test_what_values_mean_is_fixed_once_there_are_some(api: TestClient, body: dict[str, Any]) -> None:
    study = create_study(api)
    measure(api, study)
    refusal = change(api, study, "code", body)
    assert refusal.status_code == 409
    assert "add a new target instead" in refusal.json()["detail"]
    assert change(api, study, "web", body).status_code == 200, "web has no value yet"


def test_the_present_definition_version_may_be_sent_again(api: TestClient) -> None:
    study = create_study(api)
    measure(api, study)
    assert change(api, study, "code", {"definition_version": "", "definition": "the loss"}).status_code == 200


def test_a_change_needs_the_present_version(api: TestClient) -> None:
    study = create_study(api)
    etag = api.get(url_of(study, "code")).headers["etag"]
    assert api.patch(url_of(study, "code"), json={"weight": 1}).status_code == 428
    assert change(api, study, "code", {"weight": 9}).status_code == 200
    assert api.patch(url_of(study, "code"), json={"weight": 1}, headers={"If-Match": etag}).status_code == 412
    assert api.get(url_of(study, "code"), headers={"If-None-Match": etag}).json()["weight"] == 9


def test_the_last_weight_cannot_be_taken(api: TestClient) -> None:
    study = create_study(api)
    assert change(api, study, "web", {"weight": 0}).status_code == 200
    refusal = change(api, study, "code", {"weight": 0})
    assert refusal.status_code == 422
    assert api.get(url_of(study, "code")).json()["weight"] == 3.0


def test_a_target_that_is_not_there_is_not_found(api: TestClient) -> None:
    study = create_study(api)
    assert api.get(url_of(study, "absent")).json()["detail"] == f"study {study} has no target 'absent'"
    assert api.patch(url_of(study, "absent"), json={}, headers={"If-Match": "*"}).status_code == 404
