"""Domain sets have versions, and runs of an earlier version count while the domains are the same."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.db import Database
from app.models import Event, Fit, Run
from app.services.observations import measured_runs, runs_of_fit
from app.services.studies import find_study
from tests.app.conftest import StandingClock
from tests.app.study_bodies import create_study, study_body, weights

DOMAINS: list[dict[str, Any]] = study_body()["domains"]


def post(api: TestClient, study: str, domains: list[dict[str, Any]], **more: Any) -> Any:
    return api.post(f"/v1/studies/{study}/domain-sets", json={"domains": domains} | more)


def new_version(api: TestClient, study: str, domains: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    answer = post(api, study, domains, **more)
    assert answer.status_code == 201, answer.text
    return answer.json()


def report(api: TestClient, study: str, mixture: dict[str, float], loss: float = 1.0) -> str:
    body = {"runs": [{"weights": mixture, "losses": {"code": loss, "web": loss}}]}
    answer = api.post(f"/v1/studies/{study}/runs", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["runs"][0]["id"]


def observations(database: Database, study: str) -> Any:
    with database.read() as session:
        return measured_runs(session, find_study(session, UUID(study)))


def test_the_same_domains_again_are_no_new_version(api: TestClient) -> None:
    study = create_study(api)
    present = api.get(f"/v1/studies/{study}").json()["domain_set"]
    for domains in (DOMAINS, present["domains"]):
        again = post(api, study, domains)
        assert (again.status_code, again.json()["id"]) == (200, present["id"])
    assert len(api.get(f"/v1/studies/{study}/domain-sets").json()["items"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"available_tokens": 5_001},
        {"group": "programs"},
        {"mean_document_tokens": 812.5},
        {"source": "elsewhere"},
        {"licence": "MIT"},
    ],
)
def test_any_change_of_a_domain_is_a_new_version_with_another_hash(api: TestClient, change: dict[str, Any]) -> None:
    study = create_study(api)
    before = api.get(f"/v1/studies/{study}").json()["domain_set"]
    made = new_version(api, study, [DOMAINS[0] | change, *DOMAINS[1:]])
    assert (made["version"], made["enters_fits"]) == (2, True)
    assert made["content_hash"] != before["content_hash"]
    assert made["domains"][0] == before["domains"][0] | change | {"prior": made["domains"][0]["prior"]}
    assert api.get(f"/v1/studies/{study}").json()["domain_set"]["id"] == made["id"]


def test_versions_are_listed_newest_first_and_read_with_a_tag(api: TestClient, clock: StandingClock) -> None:
    study = create_study(api)
    for tokens in (1, 2, 3):
        clock.advance(1)
        made = new_version(api, study, [DOMAINS[0] | {"available_tokens": tokens}, *DOMAINS[1:]])
    url = f"/v1/studies/{study}/domain-sets"
    first = api.get(url, params={"limit": 3}).json()
    rest = api.get(url, params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [row["version"] for row in first["items"] + rest["items"]] == [4, 3, 2, 1]
    answer = api.get(f"/v1/domain-sets/{made['id']}")
    assert answer.json() == made == first["items"][0]
    known = {"If-None-Match": answer.headers["etag"]}
    assert api.get(f"/v1/domain-sets/{made['id']}", headers=known).status_code == 304


def test_runs_count_after_a_new_order_and_are_put_into_it(
    api: TestClient, database: Database, clock: StandingClock
) -> None:
    study = create_study(api)
    old = report(api, study, weights(0.5, 0.3, 0.2))
    new_version(api, study, DOMAINS[::-1])
    clock.advance(1)
    new = report(api, study, weights(0.1, 0.2, 0.7))
    runs = observations(database, study)
    assert runs.domains.names == ("web", "law", "code")
    assert runs.run_ids == (old, new)
    np.testing.assert_allclose(runs.p, [[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]], atol=1e-12)


def test_a_stated_rename_keeps_the_runs(api: TestClient, database: Database) -> None:
    study = create_study(api)
    report(api, study, weights(0.5, 0.3, 0.2))
    renamed = [{"name": "programs"}, {"name": "law"}, {"name": "web"}]
    made = new_version(api, study, renamed, renames={"code": "programs"})
    assert made["renames"] == {"code": "programs"}
    new_version(api, study, [{"name": "web"}, {"name": "statutes"}, {"name": "programs"}], renames={"law": "statutes"})
    runs = observations(database, study)
    assert runs.domains.names == ("web", "statutes", "programs")
    np.testing.assert_allclose(runs.p, [[0.2, 0.3, 0.5]], atol=1e-12)
    assert api.get(f"/v1/studies/{study}").json()["stranded_runs"] == 0


def test_two_names_may_be_swapped(api: TestClient, database: Database) -> None:
    study = create_study(api)
    report(api, study, weights(0.5, 0.3, 0.2))
    new_version(api, study, DOMAINS, renames={"code": "law", "law": "code"})
    np.testing.assert_allclose(observations(database, study).p, [[0.3, 0.5, 0.2]], atol=1e-12)


def test_runs_on_other_domains_are_stranded_and_said_to_be(
    api: TestClient, database: Database, clock: StandingClock
) -> None:
    study = create_study(api)
    for loss in (1.0, 2.0):
        report(api, study, weights(0.5, 0.3, 0.2), loss)
    clock.advance(1)
    new_version(api, study, [*DOMAINS, {"name": "books", "available_tokens": 1_000}])
    kept = report(api, study, weights(0.4, 0.3, 0.2) | {"books": 0.1})
    assert observations(database, study).run_ids == (kept,)
    assert api.get(f"/v1/studies/{study}").json()["stranded_runs"] == 2
    versions = api.get(f"/v1/studies/{study}/domain-sets").json()["items"]
    assert [(row["measured_runs"], row["enters_fits"]) for row in versions] == [(1, True), (2, False)]
    fit = api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"]}).json()
    assert (fit["runs_used"], fit["runs_left_out"]) == (1, 2)
    new_version(api, study, DOMAINS)
    assert len(observations(database, study)) == 2, "the domains of version 1 are back, and so are its runs"


def test_a_name_that_changes_without_being_stated_is_another_domain(api: TestClient, database: Database) -> None:
    study = create_study(api)
    report(api, study, weights(0.5, 0.3, 0.2))
    new_version(api, study, [DOMAINS[0] | {"name": "programs"}, *DOMAINS[1:]])
    assert len(observations(database, study)) == 0


def test_runs_without_a_measurement_do_not_count_as_stranded(api: TestClient, database: Database) -> None:
    study = create_study(api)
    report(api, study, weights(0.5, 0.3, 0.2))
    with database.write() as session:
        session.scalars(select(Run)).one().exclude_from_fit = True
        session.commit()
    new_version(api, study, DOMAINS[:2])
    assert api.get(f"/v1/studies/{study}").json()["stranded_runs"] == 0


def test_a_fit_keeps_its_runs_and_targets_when_the_study_moves_on(
    api: TestClient, database: Database, clock: StandingClock
) -> None:
    study = create_study(api)
    old = report(api, study, weights(0.5, 0.3, 0.2))
    new_version(api, study, DOMAINS[::-1])
    clock.advance(1)
    new = report(api, study, weights(0.1, 0.2, 0.7))
    assert api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"]}).status_code == 202
    new_version(api, study, DOMAINS[:2])
    assert api.post(f"/v1/studies/{study}/targets", json={"name": "late"}).status_code == 201
    with database.read() as session:
        fit = session.scalars(select(Fit)).one()
        runs = runs_of_fit(session, find_study(session, fit.study_id), fit)
    assert runs.run_ids == (old, new)
    assert (runs.domains.names, runs.targets.names) == (("web", "law", "code"), ("code", "web"))
    np.testing.assert_allclose(runs.p, [[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]], atol=1e-12)


@pytest.mark.parametrize(
    ("domains", "renames", "field"),
    [
        (DOMAINS, {"absent": "code"}, "renames.absent"),
        (DOMAINS, {"code": "absent"}, "renames.code"),
        (DOMAINS[:2], {"web": "law"}, "renames"),
        ([*DOMAINS, DOMAINS[0]], {}, "domains.3.name"),
        ([{"name": "a", "prior": 1}, {"name": "b"}], {}, "domains.1.prior"),
    ],
)
def test_wrong_versions_are_refused_and_not_made(
    api: TestClient, domains: list[dict[str, Any]], renames: dict[str, str], field: str
) -> None:
    study = create_study(api)
    refusal = post(api, study, domains, renames=renames)
    assert refusal.status_code == 422, refusal.text
    assert refusal.json()["errors"][0]["field"] == field
    assert api.get(f"/v1/studies/{study}").json()["domain_set"]["version"] == 1


def test_a_prior_of_some_domains_only_is_refused_with_the_one_way_out(api: TestClient) -> None:
    answer = post(api, create_study(api), [{"name": "code", "prior": 0.5}, {"name": "web"}])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["accepted"] == "a prior for every domain"


def test_constraints_on_a_domain_that_goes_must_go_with_it(api: TestClient) -> None:
    study = create_study(api, constraints={"max_weights": {"web": 0.5}})
    refusal = post(api, study, DOMAINS[:2])
    assert refusal.status_code == 422
    assert "send new ones as constraints with this call" in refusal.json()["detail"]
    assert refusal.json()["errors"][0]["field"] == "constraints.max_weights.web"
    new_version(api, study, DOMAINS[:2], constraints={"max_weights": {"law": 0.5}})
    assert api.get(f"/v1/studies/{study}").json()["constraints"]["max_weights"] == {"law": 0.5}


def test_a_new_version_is_recorded(api: TestClient, database: Database) -> None:
    study = create_study(api)
    made = new_version(api, study, DOMAINS[::-1])
    with database.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "domain_set.created")).one()
    assert (str(event.subject_id), event.data["version"]) == (made["id"], 2)


def test_suggestions_follow_the_newest_domains_and_know_the_runs_that_carry_over(api: TestClient) -> None:
    study = create_study(api)
    report(api, study, weights(0.5, 0.3, 0.2))
    new_version(api, study, [*DOMAINS[::-1], {"name": "books", "available_tokens": 1_000}])
    answer = api.post(f"/v1/studies/{study}/suggestions", json={"count": 5})
    assert answer.status_code == 200, answer.text
    assert all(list(each["weights"]) == ["web", "law", "code", "books"] for each in answer.json()["suggestions"])


def test_an_unknown_domain_set_is_not_found(api: TestClient) -> None:
    assert api.get("/v1/domain-sets/00000000-0000-7000-8000-000000000000").status_code == 404
