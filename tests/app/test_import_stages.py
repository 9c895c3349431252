"""Imported runs whose mixture changes on the way: stored with their stages, known again, left out of plain fits."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.study_bodies import create_study, weights
from tests.app.test_import_routes import runs_of
from tests.app.test_import_trajectories import RUN, take

STAGES = [
    {"from_token": 0, "to_token": 3_000, "weights": weights(0.2, 0.2, 0.6)},
    {"from_token": 3_000, "to_token": 4_000, "weights": weights(0.6, 0.4, 0.0)},
]
STAGED = RUN | {"mixture": STAGES}
# (3 * (.2, .2, .6) + (.6, .4, 0)) / 4
MEAN = weights(0.3, 0.25, 0.45)


def test_stages_are_stored_and_a_second_import_changes_nothing(api: TestClient) -> None:
    study = create_study(api)
    first = take(api, study, STAGED)
    assert (first["taken"], first["skipped"]) == (1, [])
    assert any("change their weights on the way" in note for note in first["notes"])
    [run] = runs_of(api, study)
    assert (run["stages"], run["train_tokens"], run["source"]) == (STAGES, 4_000, "imported")
    assert run["weights"] == pytest.approx(MEAN)
    again = take(api, study, STAGED)
    assert (again["taken"], again["already_there"], again["differs"]["count"]) == (0, 1, 0)
    assert runs_of(api, study) == [run]
    page = api.get(f"/v1/studies/{study}/runs", params={"staged": True}).json()["items"]
    assert [each["id"] for each in page] == [run["id"]]


def test_other_stages_of_the_same_mean_are_another_run(api: TestClient) -> None:
    study = create_study(api)
    take(api, study, STAGED)
    static = RUN | {"mixture": MEAN}
    assert take(api, study, static)["differs"]["count"] == 1
    assert take(api, study, static, update=True)["updated"] == 1
    [run] = runs_of(api, study)
    assert run["stages"] is None


def test_one_stage_is_a_mixture_that_does_not_change(api: TestClient) -> None:
    study = create_study(api)
    take(api, study, RUN | {"stages": [{"from_token": 0, "to_token": 4_000, "weights": MEAN}]})
    [run] = runs_of(api, study)
    assert (run["stages"], run["weights"]) == (None, pytest.approx(MEAN))


@pytest.mark.parametrize(
    ("stage", "changes", "why"),
    [
        (0, {"from_token": 5}, "its stage 0 is from token 5 to 3000; it must begin at 0"),
        (1, {"from_token": 2_999}, "its stage 1 is from token 2999 to 4000; it must begin at 3000"),
        (1, {"to_token": 3_000}, "it must begin at 3000 and end after that"),
        (1, {"to_token": 5_000}, "its stages end at token 5000, and it has 4000"),
        (1, {"weights": weights(0.6, 0.6, 0.0)}, "the weights sum to 1.2"),
        (1, {"to_token": None}, "a stage lacks from_token or to_token"),
    ],
)
def test_stages_that_make_no_run_are_left_out_and_the_report_says_why(
    api: TestClient, stage: int, changes: dict[str, Any], why: str
) -> None:
    study = create_study(api)
    stages = [dict(each) for each in STAGES]
    stages[stage] |= changes
    [skipped] = take(api, study, RUN | {"mixture": stages})["skipped"]
    assert why in skipped["detail"]
    assert runs_of(api, study) == []
