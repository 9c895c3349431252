"""What a study has already is not queued again, unless somebody means it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.app.study_bodies import SETTINGS, claim, create_study, weights
from tests.app.test_run_stages import STAGES, post

RUN: dict[str, Any] = {"weights": weights(0.5, 0.3, 0.2), "settings": SETTINGS}
OTHERS: list[dict[str, Any]] = [
    RUN | {"seed": 1},
    RUN | {"weights": weights(0.5, 0.2, 0.3)},
    RUN | {"settings": SETTINGS | {"train_tokens": 8192}},
    {"stages": STAGES, "settings": SETTINGS},
]


def test_what_is_queued_already_is_named_and_skipped(api: TestClient, study: str) -> None:
    first = post(api, study, RUN, *OTHERS).json()
    assert (len(first["runs"]), first["skipped"]) == (5, [])
    new = RUN | {"seed": 2}
    again = post(api, study, RUN | {"label": "again", "priority": 3}, new, *OTHERS, new).json()
    assert [run["seed"] for run in again["runs"]] == [2]
    named = [(skipped["index"], skipped["run_id"], skipped["state"]) for skipped in again["skipped"]]
    ids = [run["id"] for run in first["runs"]]
    places = zip((0, 2, 3, 4, 5), ids, strict=True)
    assert named == [*((i, run, "queued") for i, run in places), (6, again["runs"][0]["id"], "queued")]
    assert sum(api.get(f"/v1/studies/{study}").json()["run_counts"].values()) == 6


def test_replicates_are_queued_for_who_asks_for_them(api: TestClient, study: str) -> None:
    post(api, study, RUN)
    made = post(api, study, RUN, RUN, repeat=True).json()
    assert (len(made["runs"]), made["skipped"]) == (2, [])


def test_a_call_that_makes_nothing_leaves_no_event(api: TestClient, study: str) -> None:
    post(api, study, RUN)
    assert post(api, study, RUN).json()["runs"] == []
    kinds = [event["kind"] for event in api.get("/v1/events").json()["items"]]
    assert kinds.count("runs.created") == 1


@pytest.mark.parametrize(
    ("step", "body", "state"),
    [
        ("cancel", None, None),
        ("fail", {"attempt": 1, "reason": "out of memory", "retry": False}, None),
        ("prune", None, "pruned"),
    ],
)
def test_runs_that_broke_or_were_taken_back_can_be_queued_again(
    api: TestClient, study: str, agent: str, step: str, body: Any, state: str | None
) -> None:
    run = post(api, study, RUN).json()["runs"][0]["id"]
    claim(api, agent)
    assert api.post(f"/v1/runs/{run}/{step}", json=body).status_code in (200, 204)
    again = post(api, study, RUN).json()
    assert [skipped["state"] for skipped in again["skipped"]] == ([] if state is None else [state])
    assert len(again["runs"]) == (state is None)


def test_each_study_has_runs_of_its_own(api: TestClient, study: str) -> None:
    post(api, study, RUN)
    assert len(post(api, create_study(api, name="other"), RUN).json()["runs"]) == 1


def test_runs_on_domains_that_have_changed_do_not_count(api: TestClient, study: str) -> None:
    post(api, study, RUN)
    domains = [{"name": name, "prior": 0.25} for name in ("code", "law", "web", "new")]
    made = api.post(f"/v1/studies/{study}/domain-sets", json={"domains": domains})
    assert made.status_code == 201, made.text
    assert len(post(api, study, RUN).json()["runs"]) == 1


def test_callers_at_once_queue_each_run_once(api: TestClient, study: str) -> None:
    runs = [RUN | {"seed": seed} for seed in range(20)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(api, study, *runs).json(), range(6)))
    assert sorted(run["seed"] for answer in answers for run in answer["runs"]) == list(range(20))
    assert sum(len(answer["skipped"]) for answer in answers) == 100
