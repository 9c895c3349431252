"""What is adopted of a recommendation: the mixture that it offers, or the one asked for; all readers follow."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.db import Database
from app.models import Recommendation
from app.settings import Settings
from tests.app.test_fit_and_recommend import make_fit, make_recommendation, measured_study


@pytest.fixture
def study(api: TestClient) -> str:
    return measured_study(api)


@pytest.fixture
def made(api: TestClient, study: str, settings: Settings, clock: Any) -> dict[str, Any]:
    fit = make_fit(api, study, settings, clock, laws=["log_linear"])["id"]
    return make_recommendation(api, study, settings, clock, fit_id=fit, constraints={"target_tokens": 20_000})


@pytest.fixture
def noisy(database: Database, made: dict[str, Any]) -> dict[str, Any]:
    """The recommendation where its gain is within the noise."""
    return _offering(database, made, "best_measured", within_noise=True)


def _offering(database: Database, made: dict[str, Any], mixture: str, within_noise: bool | None) -> dict[str, Any]:
    with database.write() as session:
        row = session.get_one(Recommendation, UUID(made["id"]))
        assert row.details is not None
        row.details = row.details | {"offered": row.details["offered"] | _offered(mixture, within_noise)}
        session.commit()
    return made


def _offered(mixture: str, within_noise: bool | None) -> dict[str, Any]:
    return {"mixture": mixture, "within_noise": within_noise}


def adopt(api: TestClient, made: dict[str, Any], mixture: str | None = None) -> dict[str, Any]:
    body = None if mixture is None else {"mixture": mixture}
    answer = api.post(f"/v1/recommendations/{made['id']}/adopt", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def predicted(made: dict[str, Any], mixture: str) -> dict[str, float]:
    return made["predictions"][mixture]["weights"]


@pytest.mark.parametrize(
    ("offered", "asked", "taken", "why"),
    [
        (("best_measured", True), None, "best_measured", "the recommendation offers it: the predicted gain"),
        (("best_measured", True), "offered", "best_measured", "is within the noise"),
        (("best_measured", True), "recommended", "recommended", "it was asked for, though the recommendation offers"),
        (("best_measured", True), "best_measured", "best_measured", "it was asked for, and the recommendation offers"),
        (("recommended", False), None, "recommended", "is beyond the noise"),
        (("recommended", False), "best_measured", "best_measured", "though the recommendation offers the recommended"),
        (("recommended", True), None, "recommended", "the constraints do not allow the measured one"),
        (("recommended", None), None, "recommended", "no measured mixture stands beside it"),
    ],
)
def test_the_answer_says_which_was_taken_and_why(
    api: TestClient, database: Database, study: str, made: dict[str, Any], offered, asked, taken: str, why: str
) -> None:
    adopted = adopt(api, _offering(database, made, *offered), asked)
    assert adopted["mixture"] == taken
    assert why in adopted["reason"]
    assert adopted["weights"] == pytest.approx(predicted(made, taken))
    assert [stage["weights"] for stage in adopted["stages"]] == [pytest.approx(predicted(made, taken))]
    assert adopted["stages"][0]["to_token"] == 20_000
    assert api.get(f"/v1/studies/{study}/weights").json() == adopted
    read = api.get(f"/v1/studies/{study}").json()
    assert (read["adopted_mixture"], read["adopted_reason"]) == (taken, adopted["reason"])
    (event,) = api.get("/v1/events", params={"kind": "recommendation.adopted"}).json()["items"]
    assert event["data"] == {"mixture": taken, "reason": adopted["reason"], "instead_of": None}


def test_the_other_mixture_of_the_same_recommendation_is_another_version(
    api: TestClient, study: str, noisy: dict[str, Any], clock: Any
) -> None:
    first = adopt(api, noisy)
    known = {"If-None-Match": api.get(f"/v1/studies/{study}/weights").headers["etag"]}
    assert adopt(api, noisy, "best_measured") == first, "what is adopted already changes nothing"
    assert api.get(f"/v1/studies/{study}/weights", headers=known).status_code == 304
    second = adopt(api, noisy, "recommended")
    assert second["version"] != first["version"]
    assert api.get(f"/v1/studies/{study}/weights", headers=known).json() == second


def test_exports_write_the_adopted_mixture_unless_another_is_asked_for(api: TestClient, noisy: dict[str, Any]) -> None:
    url = f"/v1/recommendations/{noisy['id']}/exports/json"

    def written(**query: str) -> tuple[str, str, Any, list[str]]:
        answer = api.get(url, params=query)
        assert answer.status_code == 200, answer.text
        document = json.loads(answer.json()["files"][0]["text"])
        stage = document["stages"][0]
        return answer.json()["mixture"], document["provenance"]["mixture"], stage["weights"], answer.json()["notes"]

    recommended = {name: weight for name, weight in predicted(noisy, "recommended").items() if weight > 1e-9}
    measured = predicted(noisy, "best_measured")
    name, told, weights, notes = written()
    assert (name, told) == ("recommended", "recommended")
    assert {domain: weight for domain, weight in weights.items() if weight > 1e-9} == pytest.approx(recommended)
    assert any("though the best measured mixture is offered" in note for note in notes)
    adopt(api, noisy)
    name, told, weights, notes = written()
    assert (name, told, weights) == ("best_measured", "best measured", pytest.approx(measured))
    assert any("best measured mixture, not the recommended ones: it is adopted" in note for note in notes)
    assert written(mixture="recommended")[0] == "recommended"
    assert api.get(url, params={"mixture": "natural"}).status_code == 422


def test_limits_of_change_and_differences_are_held_against_the_adopted_mixture(
    api: TestClient, study: str, noisy: dict[str, Any], settings: Settings, clock: Any
) -> None:
    adopt(api, noisy)
    measured = predicted(noisy, "best_measured")
    diff = api.get(f"/v1/recommendations/{noisy['id']}/diff", params={"against": "adopted"}).json()
    assert {row["domain"]: row["against"] for row in diff["domains"]} == pytest.approx(measured)
    assert diff["against_id"] == noisy["id"]
    near = {"current": "adopted", "max_change": 0.01}
    later = make_recommendation(api, study, settings, clock, fit_id=noisy["fit_id"], constraints=near)
    assert later["constraints"]["current"] == measured
    moved = [abs(row["weight"] - measured[row["domain"]]) for row in later["weights"]]
    assert max(moved) <= 0.01 + 1e-6


def test_a_mixture_that_is_not_there_cannot_be_adopted(
    api: TestClient, database: Database, study: str, made: dict[str, Any]
) -> None:
    with database.write() as session:
        row = session.get_one(Recommendation, UUID(made["id"]))
        row.predictions = {name: told for name, told in row.predictions.items() if name != "best_measured"}
        session.commit()
    refused = api.post(f"/v1/recommendations/{made['id']}/adopt", json={"mixture": "best_measured"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "mixture")
    assert api.post(f"/v1/recommendations/{made['id']}/adopt", json={"mixture": "natural"}).status_code == 422
    assert api.get(f"/v1/studies/{study}/weights").status_code == 404
