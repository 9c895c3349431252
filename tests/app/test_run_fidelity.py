"""Losses of averaged models and losses of trained ones never enter one fit, and what they lead to says which it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.schemas.run_fidelity import ABOUT_MERGED
from app.settings import Settings
from tests.app.study_bodies import SETTINGS, weights
from tests.app.test_fit_and_recommend import report_runs, work

MERGED: dict[str, Any] = {"weights": weights(1, 0, 0), "losses": {"code": 1.0, "web": 1.0}, "fidelity": "merged"}


def add(api: TestClient, study: str, *runs: dict[str, Any]) -> Any:
    return api.post(f"/v1/studies/{study}/runs", json={"runs": runs})


def fit(api: TestClient, study: str, **runs: Any) -> Any:
    return api.post(f"/v1/studies/{study}/fits", json={"laws": ["mean"], "folds": 2, "runs": runs})


def many_merged(api: TestClient, study: str) -> None:
    mixtures = [weights(i / 10, 1 - i / 10, 0) for i in range(10)]
    runs = [MERGED | {"weights": p, "losses": {"code": 1 + p["law"], "web": 2 - p["law"]}} for p in mixtures]
    assert add(api, study, *runs).status_code == 201


def test_a_run_is_trained_unless_its_report_says_that_it_was_merged(api: TestClient, study: str) -> None:
    trained = {name: value for name, value in MERGED.items() if name != "fidelity"}
    made = add(api, study, trained, MERGED).json()["runs"]
    assert [run["fidelity"] for run in made] == ["trained", "merged"]
    found = api.get(f"/v1/studies/{study}/runs", params={"fidelity": "merged"}).json()["items"]
    assert [run["id"] for run in found] == [made[1]["id"]]


def test_what_will_be_trained_cannot_be_merged(api: TestClient, study: str) -> None:
    refusal = add(api, study, {"weights": weights(1, 0, 0), "settings": SETTINGS, "fidelity": "merged"})
    assert refusal.status_code == 422
    assert "a queued run will be trained" in refusal.text


def test_a_fit_takes_runs_of_one_fidelity_and_counts_the_others(api: TestClient, study: str) -> None:
    report_runs(api, study, 8)
    many_merged(api, study)
    used = {
        name: (made["runs_used"], made["runs_filtered"])
        for name, asked in (("all", {}), ("trained", {"fidelity": "trained"}), ("merged", {"fidelity": "merged"}))
        for made in (fit(api, study, **asked).json(),)
    }
    assert used == {"all": (8, 10), "trained": (8, 10), "merged": (10, 8)}


def test_without_runs_of_the_fidelity_the_refusal_names_the_other(api: TestClient, study: str) -> None:
    add(api, study, MERGED)
    refusal = fit(api, study)
    assert refusal.status_code == 409
    assert "no measured run of fidelity trained that may enter a fit; there are 1 of the other" in refusal.text


def test_a_fit_of_merged_runs_and_what_it_recommends_say_so(
    api: TestClient, study: str, settings: Settings, clock: Any
) -> None:
    many_merged(api, study)
    address = fit(api, study, fidelity="merged").headers["location"]
    work(settings, clock)
    made = api.get(address).json()
    assert ABOUT_MERGED in made["reason"]
    response = api.post(f"/v1/studies/{study}/recommendations", json={"fit_id": made["id"]})
    work(settings, clock)
    found = api.get(response.headers["location"]).json()
    assert found["state"] == "succeeded", found["error"]
    assert found["provenance"]["run_fidelity"] == "merged"
    assert ABOUT_MERGED in found["provenance"]["reason"]
    assert ABOUT_MERGED in found["details"]["warnings"]


def imported(api: TestClient, study: str, kind: str, name: str, text: str, **more: Any) -> Any:
    return api.post(
        f"/v1/studies/{study}/imports",
        data={"settings": json.dumps({"format": kind} | more)},
        files=[("files", (name, text.encode()))],
    )


HEADER = "run_id,w:code,w:law,w:web,loss:code,loss:web,fidelity\n"
JSON_RUN = {"weights": weights(1, 0, 0), "losses": {"code": 1.0}}
SOURCES = [
    ("swarm-folder", "runs.csv", HEADER + "a,1,0,0,1,2,merged\nb,0,1,0,1,2,\nc,0,0,1,1,2,trained\n"),
    (
        "jsonl",
        "runs.jsonl",
        "\n".join(
            json.dumps(JSON_RUN | {"run_id": name} | more)
            for name, more in (("a", {"fidelity": "merged"}), ("b", {}), ("c", {"fidelity": "trained"}))
        ),
    ),
]


@pytest.mark.parametrize(("kind", "name", "text"), SOURCES, ids=["swarm-folder", "jsonl"])
def test_imports_take_the_fidelity_of_their_source(
    api: TestClient, study: str, kind: str, name: str, text: str
) -> None:
    report = imported(api, study, kind, name, text)
    assert report.status_code == 201, report.text
    assert "1 of 3 runs are of fidelity merged" in " ".join(report.json()["hints"])
    items = api.get(f"/v1/studies/{study}/runs").json()["items"]
    assert {run["external_id"]: run["fidelity"] for run in items} == {"a": "merged", "b": "trained", "c": "trained"}
    again = imported(api, study, kind, name, text.replace("merged", "trained"), update=True)
    assert again.status_code == 201, again.text
    items = api.get(f"/v1/studies/{study}/runs").json()["items"]
    assert {run["fidelity"] for run in items} == {"trained"}


def test_a_fidelity_that_is_none_is_refused_with_its_place(api: TestClient, study: str) -> None:
    refusal = imported(api, study, "swarm-folder", "runs.csv", HEADER + "a,1,0,0,1,2,averaged\n")
    assert refusal.status_code == 422
    assert "runs.csv, line 2, column 'fidelity': 'averaged' is no fidelity; accepted: trained, merged" in refusal.text
