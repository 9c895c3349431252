"""Runs whose weights change on the way: how they are queued, told, handed out, and kept out of fits."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.study_bodies import SETTINGS, claim, get_run, queue_runs, result, weights
from tests.app.test_fit_and_recommend import report_runs, work

EARLY, LATE = weights(1.0, 0.0, 0.0), weights(0.0, 0.2, 0.8)
STAGES = [
    {"from_token": 0, "to_token": 3072, "weights": EARLY},
    {"from_token": 3072, "to_token": 4096, "weights": LATE},
]
MEAN = {"code": 0.75, "law": 0.05, "web": 0.2}


def post(api: TestClient, study: str, *runs: dict[str, Any], **more: Any) -> Any:
    return api.post(f"/v1/studies/{study}/runs", json={"runs": runs} | more)


def staged(losses: dict[str, float] | None = None, **changes: Any) -> dict[str, Any]:
    what = {"settings": SETTINGS} if losses is None else {"losses": losses, "train_tokens": 4096}
    return {"stages": STAGES} | what | changes


def test_a_staged_run_is_told_with_its_stages_and_their_mean(api: TestClient, study: str, agent: str) -> None:
    still = queue_runs(api, study, 1)[0]
    run = post(api, study, staged()).json()["runs"][0]
    assert (run["stages"], still["stages"]) == (STAGES, None)
    assert run["weights"] == pytest.approx(MEAN)
    for asked, found in (("true", run), ("false", still)):
        items = api.get(f"/v1/studies/{study}/runs", params={"staged": asked}).json()["items"]
        assert [item["id"] for item in items] == [found["id"]]
    # Equal settings are one stack, whatever the stages.
    claimed = {given["run_id"]: given["spec"]["stages"] for given in claim(api, agent)}
    assert claimed == {
        still["id"]: [{"from_token": 0, "to_token": 4096, "weights": still["weights"]}],
        run["id"]: STAGES,
    }


def test_what_each_stage_was_trained_on_is_stored(api: TestClient, study: str, agent: str) -> None:
    run = post(api, study, staged()).json()["runs"][0]["id"]
    claim(api, agent)
    assert get_run(api, run)["realised_stages"] is None
    done = result(realised_stages=STAGES)
    assert api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": done}).status_code == 204
    assert get_run(api, run)["realised_stages"] == STAGES


def test_one_stage_is_a_mixture(api: TestClient, study: str) -> None:
    run = post(api, study, staged(stages=[{"from_token": 0, "to_token": 4096, "weights": EARLY}])).json()["runs"][0]
    assert (run["weights"], run["stages"]) == (EARLY, None)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (staged(weights=EARLY), "give either weights (of the whole run) or stages"),
        ({"settings": SETTINGS}, "give either weights (of the whole run) or stages"),
        (staged(stages=STAGES[1:]), "runs.0.stages.0.from_token: it is 3072; accepted: 0, so that no gap is left"),
        (staged(stages=STAGES[:1]), "runs.0.stages.0.to_token: it is 3072; accepted: 4096, the tokens of the run"),
        (
            staged(stages=[STAGES[0], STAGES[1] | {"weights": {"poems": 1.0}}]),
            "runs.0.stages.1.weights.poems: no such domain; accepted: code, law, web",
        ),
        (staged({"code": 1.0}, train_tokens=5000), "runs.0.stages.1.to_token: it is 4096; accepted: 5000"),
    ],
)
def test_stages_that_are_no_plan_of_the_run_are_refused(
    api: TestClient, study: str, run: dict[str, Any], said: str
) -> None:
    refusal = post(api, study, run)
    assert refusal.status_code == 422
    assert said in refusal.text


def test_a_fit_takes_staged_runs_only_when_it_is_asked_to_and_says_so(
    api: TestClient, study: str, settings: Settings, clock: Any
) -> None:
    report_runs(api, study, 8)
    assert post(api, study, staged({"code": 2.0, "web": 3.0})).status_code == 201
    made = {}
    for asked in (False, True):
        body = {"laws": ["mean"], "folds": 2, "runs": {"staged": asked}}
        made[asked] = api.post(f"/v1/studies/{study}/fits", json=body).headers["location"]
    work(settings, clock)
    fits = {asked: api.get(url).json() for asked, url in made.items()}
    assert {asked: (fit["runs_used"], fit["runs_filtered"]) for asked, fit in fits.items()} == {
        False: (8, 1),
        True: (9, 0),
    }
    said = "1 of 9 runs changed their weights on the way; each counts as the mean of its stages"
    assert said in fits[True]["reason"]
    assert "on the way" not in fits[False]["reason"]
    for asked, fit in fits.items():
        wanted = api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": fit["id"]})
        work(settings, clock)
        found = api.get(wanted.headers["location"]).json()
        assert found["provenance"]["staged_runs"] == int(asked)
        assert any(said in warning for warning in found["details"]["warnings"]) == asked


def test_without_other_runs_the_refusal_names_the_staged_ones(api: TestClient, study: str) -> None:
    post(api, study, staged({"code": 2.0}))
    refusal = api.post(f"/v1/studies/{study}/fits", json={})
    assert refusal.status_code == 409
    assert "there are 1 of several stages, for a fit that asks for them by runs.staged" in refusal.text
