"""A study is found by its name and changed by whoever has read its present version."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.db import Database
from app.models import Event, Study
from tests.app.conftest import StandingClock
from tests.app.study_bodies import create_study, queue_runs, study_body

# Each of these has broken a service that built its SQL, JSON paths or pages by hand.
HOSTILE = [
    "'; DROP TABLE studies; --",
    '" OR 1=1 --',
    "<script>alert('1')</script>",
    "<img src=x onerror=alert(1)>&amp;",
    '100%_\\ \\\' $."a" {{7*7}} ${x}',
    "数据 🧪 a\u0301 \u05e2\u05d1",
]


def read(api: TestClient, study: str) -> tuple[dict[str, Any], str]:
    answer = api.get(f"/v1/studies/{study}")
    return answer.json(), answer.headers["etag"]


def change(api: TestClient, study: str, body: dict[str, Any], etag: str | None = None) -> Any:
    etag = etag or read(api, study)[1]
    return api.patch(f"/v1/studies/{study}", json=body, headers={"If-Match": etag})


def test_what_is_left_out_of_a_change_stays(api: TestClient) -> None:
    study = create_study(api, description="first", constraints={"max_weights": {"code": 0.7}})
    before, _ = read(api, study)
    answer = change(api, study, {"name": "renamed"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == before | {"name": "renamed"}
    assert answer.headers["etag"] == read(api, study)[1]


def test_every_part_of_a_study_can_be_changed(api: TestClient) -> None:
    study = create_study(api)
    body = {
        "name": "n", "description": "d", "objective": {"kl_to_prior": 0.5},
        "constraints": {"min_weights": {"web": 0.1}}, "budget": {"flops": 1e18, "gpu_hours": 12.5},
    }  # fmt: skip
    changed = change(api, study, body).json()
    assert (changed["name"], changed["description"]) == ("n", "d")
    assert changed["objective"]["kl_to_prior"] == 0.5
    assert changed["constraints"]["min_weights"] == {"web": 0.1}
    assert (changed["budget"]["flops"], changed["budget"]["gpu_hours"]) == (1e18, 12.5)
    assert change(api, study, {"budget": {"gpu_hours": 3}}).json()["budget"]["flops"] is None


def test_a_budget_can_be_given_from_the_start(api: TestClient) -> None:
    budget = read(api, create_study(api, budget={"gpu_hours": 2}))[0]["budget"]
    assert (budget["flops"], budget["gpu_hours"], budget["spent_flops"]) == (None, 2.0, 0.0)


def test_a_change_needs_the_present_version(api: TestClient) -> None:
    study = create_study(api)
    etag = read(api, study)[1]
    assert api.patch(f"/v1/studies/{study}", json={"name": "x"}).status_code == 428
    assert change(api, study, {"name": "first"}, etag).status_code == 200
    late = change(api, study, {"name": "second"}, etag)
    assert late.status_code == 412
    assert read(api, study)[0]["name"] == "first"


def test_new_runs_do_not_stand_in_the_way_of_a_change_but_are_news_to_a_reader(api: TestClient) -> None:
    study = create_study(api)
    etag = read(api, study)[1]
    assert api.get(f"/v1/studies/{study}", headers={"If-None-Match": etag}).status_code == 304
    queue_runs(api, study, 1)
    assert api.get(f"/v1/studies/{study}", headers={"If-None-Match": etag}).status_code == 200
    assert change(api, study, {"name": "x"}, etag).status_code == 200


def test_what_was_spent_does_not_stand_in_the_way_but_another_limit_does(api: TestClient, database: Database) -> None:
    study = create_study(api, budget={"flops": 1e18})
    etag = read(api, study)[1]
    with database.write() as session:
        session.scalars(select(Study)).one().spent_flops = 5e17
        session.commit()
    assert read(api, study)[1] != etag
    assert change(api, study, {"budget": {"flops": 2e18}}, etag).status_code == 200
    assert change(api, study, {"name": "x"}, etag).status_code == 412


def test_constraints_that_no_mixture_satisfies_leave_the_study_as_it_was(api: TestClient) -> None:
    study = create_study(api)
    before = read(api, study)
    unknown = change(api, study, {"name": "x", "constraints": {"min_weights": {"nope": 0.1}}})
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["accepted"] == "code, law, web"
    infeasible = change(api, study, {"constraints": {"min_weights": {"code": 0.6, "web": 0.6}}})
    assert infeasible.status_code == 422
    assert infeasible.json()["type"].endswith(":infeasible")
    assert read(api, study) == before


def test_a_change_is_recorded_with_what_changed_and_no_change_is_not(api: TestClient, database: Database) -> None:
    study = create_study(api)
    name = read(api, study)[0]["name"]
    change(api, study, {"name": name})
    change(api, study, {"name": "x", "description": ""})
    with database.read() as session:
        events = session.scalars(select(Event).where(Event.kind == "study.changed")).all()
    assert [(str(event.study_id), event.data) for event in events] == [(study, {"changed": ["name"]})]


def test_studies_are_found_by_a_part_of_their_name_in_any_case(api: TestClient, clock: StandingClock) -> None:
    for name in ("Swarm 100% web", "swarm 100 code", "other_one"):
        clock.advance(1)
        create_study(api, name=name)

    def found(text: str) -> list[str]:
        return [study["name"] for study in api.get("/v1/studies", params={"name": text}).json()["items"]]

    assert found("SWARM") == ["swarm 100 code", "Swarm 100% web"]
    assert found("100%") == ["Swarm 100% web"], "a per cent sign is text, not a pattern"
    assert found("r_o") == ["other_one"]
    assert found("absent") == []


@pytest.mark.parametrize("text", HOSTILE)
def test_names_come_back_letter_by_letter(api: TestClient, text: str) -> None:
    domains = [{"name": text, "group": text, "source": text}, {"name": "b"}]
    targets = [{"name": text, "family": text, "unit": text[:50], "definition": text}]
    study = create_study(api, name=text, description=text, domains=domains, targets=targets)
    read_back, _ = read(api, study)
    assert (read_back["name"], read_back["description"]) == (text, text)
    domain, target = read_back["domain_set"]["domains"][0], read_back["targets"][0]
    assert (domain["name"], domain["group"], domain["source"]) == (text, text, text)
    assert (target["name"], target["family"], target["definition"]) == (text, text, text)
    assert [found["id"] for found in api.get("/v1/studies", params={"name": text}).json()["items"]] == [study]
    run = {"weights": {text: 0.25, "b": 0.75}, "losses": {text: 1.5}, "label": text, "purpose": text[:50]}
    made = api.post(f"/v1/studies/{study}/runs", json={"runs": [run]}).json()["runs"][0]
    assert (made["weights"], made["label"]) == ({text: 0.25, "b": 0.75}, text)
    assert made["losses"][text]["value"] == 1.5
    listed = api.get(f"/v1/studies/{study}/runs", params={"purpose": text[:50]}).json()["items"]
    assert [found["id"] for found in listed] == [made["id"]]


@pytest.mark.parametrize("text", ["line\nbreak\ttab", "turned \u202e round"])
def test_text_that_is_no_name_may_hold_what_names_may_not(api: TestClient, text: str) -> None:
    domains = [{"name": "a", "source": text}, {"name": "b"}]
    study = create_study(api, description=text, domains=domains, targets=[{"name": "a", "definition": text}])
    read_back, _ = read(api, study)
    kept = (read_back["description"], read_back["domain_set"]["domains"][0]["source"])
    assert (*kept, read_back["targets"][0]["definition"]) == (text, text, text)
    assert api.post("/v1/studies", json=study_body(name=text)).status_code == 422


@pytest.mark.parametrize("text", HOSTILE)
def test_a_refusal_quotes_a_name_as_json_text(api: TestClient, text: str) -> None:
    refusal = api.post(
        f"/v1/studies/{create_study(api)}/runs", json={"runs": [{"weights": {text: 1.0}, "losses": {"code": 1.0}}]}
    )
    assert refusal.status_code == 422
    assert refusal.headers["content-type"] == "application/problem+json"
    assert refusal.headers["x-content-type-options"] == "nosniff"
    assert refusal.json()["errors"][0]["field"] == f"runs.0.weights.{text}"
