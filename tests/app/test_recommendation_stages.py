"""Weights given stage by stage are judged, kept, exported and adopted as recommended ones are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.study_bodies import SETTINGS, claim, create_study, register, weights
from tests.app.test_fit_and_recommend import make_fit, make_recommendation, report_runs

STAGES = [
    {"from_token": 0, "to_token": 3_000, "weights": weights(0.2, 0.2, 0.6)},
    {"from_token": 3_000, "to_token": 4_000, "weights": weights(0.6, 0.4, 0.0)},
]
# (3 * (.2, .2, .6) + (.6, .4, 0)) / 4
MEAN = weights(0.3, 0.25, 0.45)


@pytest.fixture
def study(api: TestClient) -> str:
    made = create_study(api)
    report_runs(api, made)
    return made


@pytest.fixture
def fit(api: TestClient, study: str, settings: Settings, clock: Any) -> str:
    return make_fit(api, study, settings, clock, laws=["log_linear"])["id"]


@pytest.fixture
def given(api: TestClient, study: str, fit: str, settings: Settings, clock: Any) -> dict[str, Any]:
    return make_recommendation(api, study, settings, clock, fit_id=fit, stages=STAGES)


def test_the_stages_stay_and_their_mean_is_predicted(api: TestClient, fit: str, given: dict[str, Any]) -> None:
    assert given["state"] == "succeeded", given["error"]
    assert given["stages"] == STAGES
    assert {row["domain"]: row["weight"] for row in given["weights"]} == pytest.approx(MEAN)
    # 4000 tokens on domains of 5000, 3000 and 2000.
    assert [row["epochs"] for row in given["weights"]] == pytest.approx([0.24, 1 / 3, 0.9])
    asked = api.post(f"/v1/fits/{fit}/predictions", json={"weights": [MEAN]}).json()["predictions"][0]
    assert given["predictions"]["recommended"]["targets"]["code"]["mean"] == pytest.approx(
        asked["targets"]["code"]["mean"]
    )
    assert any("the mean of the stages" in warning for warning in given["details"]["warnings"])


def test_nothing_is_searched_and_no_constraint_has_a_price(given: dict[str, Any]) -> None:
    assert given["solver_status"] == "given"
    assert given["details"]["prices"] == []
    assert given["message"].startswith("Solver: none, the weights were given.")


def test_stages_outside_of_the_constraints_are_judged_and_said_to_be_so(
    api: TestClient, study: str, fit: str, settings: Settings, clock: Any
) -> None:
    limits = {"max_weights": {"web": 0.4}}
    made = make_recommendation(api, study, settings, clock, fit_id=fit, stages=STAGES, constraints=limits)
    assert "The given weights are outside of the constraints." in made["message"]


def test_each_stage_is_a_phase_of_the_exported_mixture(api: TestClient, given: dict[str, Any]) -> None:
    files = api.get(f"/v1/recommendations/{given['id']}/exports/json").json()["files"]
    written = json.loads(files[0]["text"])["stages"]
    assert [(stage["from_token"], stage["to_token"]) for stage in written] == [(0, 3_000), (3_000, 4_000)]
    assert written[1]["weights"] == {"code": 0.6, "law": 0.4}  # a domain without weight is left out


def test_pipelines_read_the_stages_of_an_adopted_plan(api: TestClient, study: str, given: dict[str, Any]) -> None:
    asked = {"mixture": "recommended"}
    assert api.post(f"/v1/recommendations/{given['id']}/adopt", json=asked).status_code == 200
    assert api.get(f"/v1/studies/{study}/weights").json()["stages"] == STAGES


def test_instead_of_a_plan_that_gains_nothing_the_measured_mixture_holds_for_the_whole_run(
    api: TestClient, study: str, given: dict[str, Any]
) -> None:
    assert given["details"]["offered"]["mixture"] == "best_measured"
    adopted = api.post(f"/v1/recommendations/{given['id']}/adopt").json()
    best = given["predictions"]["best_measured"]["weights"]
    assert adopted["mixture"] == "best_measured"
    assert adopted["stages"] == [{"from_token": 0, "to_token": 4_000, "weights": best}]


@pytest.mark.parametrize(
    ("stage", "changes", "words"),
    [
        (0, {"from_token": 5}, "stages.0.from_token: it is 5; accepted: 0, so that no gap is left"),
        (1, {"from_token": 2_999}, "stages.1.from_token: it is 2999; accepted: 3000, so that no gap is left"),
        (1, {"to_token": 3_000}, "stages.1.to_token: it is 3000; accepted: more than 3000"),
        (1, {"weights": weights(0.6, 0.5, 0.0)}, "stages.1.weights: the weights sum to 1.1"),
        (0, {"weights": {"prose": 1.0}}, "stages.0.weights.prose: no such domain"),
    ],
)
def test_stages_that_make_no_plan_are_refused(
    api: TestClient, study: str, fit: str, stage: int, changes: dict[str, Any], words: str
) -> None:
    stages = [dict(each) for each in STAGES]
    stages[stage] |= changes
    answer = api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit, "stages": stages})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(words)


def test_a_verification_trains_the_stages_in_their_order_beside_fixed_baselines(
    api: TestClient, given: dict[str, Any]
) -> None:
    """Runs of 2,000 tokens where the plan has 4,000: every stage keeps its share."""
    url = f"/v1/recommendations/{given['id']}"
    body = {"settings": SETTINGS | {"train_tokens": 2_000}, "seeds": [1, 2], "baselines": ["uniform"]}
    runs = api.post(f"{url}/verifications", json=body).json()["runs"]
    agent = register(api)
    by_label = {run["label"]: run for run in runs}
    stages = by_label["recommended, seed 1"]["stages"]
    assert stages == [
        {"from_token": 0, "to_token": 1_500, "weights": STAGES[0]["weights"]},
        {"from_token": 1_500, "to_token": 2_000, "weights": STAGES[1]["weights"]},
    ]
    assert by_label["recommended, seed 1"]["weights"] == pytest.approx(MEAN)
    assert by_label["uniform, seed 1"]["stages"] is None
    told = {run["run_id"]: run["spec"]["stages"] for run in claim(api, agent, 4)}
    assert told[by_label["recommended, seed 2"]["id"]] == stages, "what the agent is told to train"
    found = api.get(f"{url}/verification").json()
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert (arms["recommended"]["stages"], arms["uniform"]["stages"]) == (stages, [])
    assert arms["recommended"]["predicted"] == given["predictions"]["recommended"]["objective"]
    assert any("train the 2 stages" in note for note in found["notes"])
    again = api.post(f"{url}/verifications", json=body)
    assert again.status_code == 409, "nothing is missing"


def test_a_verification_too_short_for_every_stage_is_refused(
    api: TestClient, study: str, fit: str, settings: Settings, clock: Any
) -> None:
    brief = [STAGES[0] | {"to_token": 1}, STAGES[1] | {"from_token": 1, "to_token": 10**9}]
    made = make_recommendation(api, study, settings, clock, fit_id=fit, stages=brief)
    body = {"settings": SETTINGS, "seeds": [1, 2]}
    refused = api.post(f"/v1/recommendations/{made['id']}/verifications", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "settings.train_tokens")
    assert "none is left for stage 0" in refused.json()["detail"]
