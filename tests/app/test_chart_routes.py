"""The charts over the API, and what they say when there is nothing to draw."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi.testclient import TestClient

from tests.app.study_bodies import claim, create_study, queue_runs, register, result


def test_the_weights_of_a_new_study_are_its_prior(api: TestClient) -> None:
    study = create_study(api, constraints={"target_tokens": 10_000, "max_epochs": 2})
    chart = api.get(f"/v1/charts/studies/{study}/weights").json()
    assert [bar["prior"] for bar in chart["bars"]] == [0.5, 0.3, 0.2]
    assert [bar["prior_epochs"] for bar in chart["bars"]] == [1.0, 1.0, 1.0]
    assert [bar["cap"] for bar in chart["bars"]] == [None, 0.6, 0.4]
    assert chart["recommendation_id"] is None


def test_the_trajectory_of_a_trained_run_holds_what_the_agent_measured(api: TestClient) -> None:
    study = create_study(api)
    queue_runs(api, study, 1, label="first")
    held = claim(api, register(api))[0]
    losses: dict[str, Any] = {"code": {"value": 4.0, "stderr": 0.1}, "web": {"value": 8.0}}
    point = {"attempt": held["attempt"], "point": {"train_tokens": 1024, "losses": losses}}
    assert api.post(f"/v1/runs/{held['run_id']}/measurements", json=point).status_code == 204
    body = {"attempt": held["attempt"], "result": result()}
    assert api.post(f"/v1/runs/{held['run_id']}/complete", json=body).status_code == 204
    chart = api.get(f"/v1/charts/runs/{held['run_id']}/trajectory").json()
    assert chart["label"] == "first"
    lines = {line["name"]: line for line in chart["lines"]}
    assert lines["code"]["losses"][0] == 4.0
    assert lines["code"]["stderr"][0] == 0.1
    assert lines["objective"]["losses"][0] == (3 * 4.0 + 8.0) / 4


def test_what_is_not_there_is_a_problem_that_says_so(api: TestClient) -> None:
    study, other = create_study(api), uuid4()
    for path in (f"studies/{other}/weights", f"fits/{other}/predicted", f"runs/{other}/trajectory"):
        response = api.get(f"/v1/charts/{path}")
        assert response.status_code == 404, path
        assert str(other) in response.json()["detail"]
    response = api.get(f"/v1/charts/studies/{study}/weights", params={"recommendation": str(other)})
    assert response.status_code == 404
