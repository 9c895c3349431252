"""Trajectories of imported runs: stored with them, known again by a second import, refused where they cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.study_bodies import create_study
from tests.app.test_import_routes import runs_of, send

RUN = {
    "run_id": "r1",
    "mixture": {"code": 0.5, "law": 0.3, "web": 0.2},
    "params": 1_000_000,
    "tokens": 4_000,
    "losses": {"code": 2.0, "web": 3.0},
}
POINTS = [
    {"tokens": 2_000, "losses": {"code": 2.5, "web": {"value": 3.5, "stderr": 0.25}}},
    {"train_tokens": 1_000, "losses": {"code": 2.75}},
    {"tokens": 3_000, "losses": {"poems": 1.0}},
]


def take(api: TestClient, study: str, run: dict[str, Any], **settings: Any) -> dict[str, Any]:
    told = {"format": "jsonl"} | settings
    answer = send(api, f"/v1/studies/{study}/imports", {"runs.jsonl": json.dumps(run)}, **told)
    assert answer.status_code == 201, answer.text
    return answer.json()


def trajectory(api: TestClient, study: str) -> list[dict[str, Any]]:
    [run] = runs_of(api, study)
    return api.get(f"/v1/runs/{run['id']}/trajectory").json()["points"]


def test_the_points_of_a_run_are_stored_with_it_and_a_second_import_changes_nothing(api: TestClient) -> None:
    study = create_study(api)
    report = take(api, study, RUN | {"trajectory": POINTS})
    assert report["taken"] == 1
    stored = trajectory(api, study)
    assert stored == [
        {"train_tokens": 1_000, "losses": {"code": {"value": 2.75, "stderr": None}}},
        {
            "train_tokens": 2_000,
            "losses": {"code": {"value": 2.5, "stderr": None}, "web": {"value": 3.5, "stderr": 0.25}},
        },
    ]
    for settings in ({}, {"update": True}):
        again = take(api, study, RUN | {"trajectory": POINTS[::-1]}, **settings)
        assert (again["taken"], again["updated"]) == (0, 0)
        assert trajectory(api, study) == stored


def test_a_run_that_was_imported_without_its_trajectory_gets_it(api: TestClient) -> None:
    study = create_study(api)
    take(api, study, RUN)
    assert trajectory(api, study) == []
    assert take(api, study, RUN | {"trajectory": POINTS})["taken"] == 1
    assert [point["train_tokens"] for point in trajectory(api, study)] == [1_000, 2_000]
    assert len(runs_of(api, study)) == 1
    take(api, study, RUN, update=True)  # a source that tells none takes none away
    assert len(trajectory(api, study)) == 2


def test_another_trajectory_replaces_the_stored_one_only_when_it_may(api: TestClient) -> None:
    study = create_study(api)
    take(api, study, RUN | {"trajectory": POINTS})
    other = [{"tokens": 500, "losses": {"code": 2.9}}]
    assert take(api, study, RUN | {"trajectory": other})["updated"] == 0
    assert len(trajectory(api, study)) == 2
    assert take(api, study, RUN | {"trajectory": other}, update=True)["updated"] == 1
    assert [point["train_tokens"] for point in trajectory(api, study)] == [500]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([{"tokens": 5_000, "losses": {"code": 2}}], "its trajectory goes to 5000 tokens, beyond its 4000"),
        ([{"tokens": 0.5, "losses": {"code": 2}}], "the tokens of a point of its trajectory is 0.5"),
        (
            [{"tokens": 9, "losses": {"code": 2}}, {"tokens": 9, "losses": {"code": 3}}],
            "its trajectory tells two different things of 9 tokens",
        ),
    ],
)
def test_a_run_whose_trajectory_cannot_be_is_left_out(api: TestClient, points: list[Any], said: str) -> None:
    report = take(api, create_study(api), RUN | {"trajectory": points})
    assert report["taken"] == 0
    assert said in report["skipped"][0]["detail"]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({"tokens": 9}, "field 'trajectory': this must be a list of objects"),
        ([7], "field 'trajectory.0': this must be an object"),
        ([{"losses": {"code": 2}}], "field 'trajectory.0': there is no 'tokens'"),
        ([{"tokens": 9, "losses": {"code": "x"}}], "field 'losses.code': 'x' is not a number"),
    ],
)
def test_a_malformed_trajectory_is_refused_by_its_place(api: TestClient, points: Any, said: str) -> None:
    lines = json.dumps(RUN | {"trajectory": points})
    answer = send(api, f"/v1/studies/{create_study(api)}/imports", {"runs.jsonl": lines}, format="jsonl")
    assert answer.status_code == 422
    assert "runs.jsonl, line 1" in answer.json()["detail"]
    assert said in answer.json()["detail"]
