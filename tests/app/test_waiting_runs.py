"""A study says which of its queued runs nobody would claim."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from tests.app.study_bodies import SETTINGS, claim, create_study, queue_runs, register


def waiting(api: TestClient, study: str) -> dict[str, int]:
    found = api.get(f"/v1/studies/{study}").json()["runs_without_agent"]
    return {row["corpus_hash"]: row["runs"] for row in found}


def ask(api: TestClient, agent: str, *corpora: str) -> None:
    """A claim of an agent that has these corpora and gets nothing, for all is given back at once."""
    for run in claim(api, agent, corpus_hashes=list(corpora)):
        api.post(f"/v1/runs/{run['run_id']}/release", json={"attempt": run["attempt"]})


def on(corpus: str) -> dict[str, Any]:
    return SETTINGS | {"corpus_hash": corpus}


def test_runs_wait_in_vain_until_an_agent_asks_for_their_corpus(api: TestClient, study: str, agent: str) -> None:
    assert waiting(api, study) == {}
    queue_runs(api, study, 3, settings=on("b"))
    queue_runs(api, study, 2, settings=on("a"))
    # Registered, but it has asked for nothing yet.
    assert waiting(api, study) == {"b": 3, "a": 2}
    ask(api, agent, "a", "z")
    assert api.get(f"/v1/agents/{agent}").json()["corpus_hashes"] == ["a", "z"]
    assert waiting(api, study) == {"b": 3}
    ask(api, agent, "b")
    assert waiting(api, study) == {"a": 2}
    assert {row["id"]: row["runs_without_agent"] for row in api.get("/v1/studies").json()["items"]} == {
        study: [{"corpus_hash": "a", "runs": 2}]
    }


def test_an_agent_that_falls_silent_or_drains_counts_no_more(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 2)
    ask(api, agent, "corpus-a")
    assert waiting(api, study) == {}
    clock.advance(61)
    assert waiting(api, study) == {"corpus-a": 2}
    ask(api, agent, "corpus-a")
    assert waiting(api, study) == {}
    tag = api.get(f"/v1/agents/{agent}").headers["etag"]
    assert api.patch(f"/v1/agents/{agent}", json={"draining": True}, headers={"If-Match": tag}).status_code == 200
    assert waiting(api, study) == {"corpus-a": 2}


def test_an_agent_at_work_will_come_back_for_more(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 2)
    assert len(claim(api, agent, max_runs=1, lease_seconds=3600)) == 1
    clock.advance(600)
    assert waiting(api, study) == {}


def test_an_agent_of_another_study_does_not_count(api: TestClient, study: str) -> None:
    other = create_study(api, name="other")
    body = {"name": "bound", "scopes": ["agent"], "study_id": other}
    made = api.post("/v1/keys", json=body)
    assert made.status_code == 201, made.text
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    bound = api.post("/v1/agents", json={"name": "bound"}, headers=key).json()["id"]
    claimed = {"agent_id": bound, "max_runs": 1, "corpus_hashes": ["corpus-a"]}
    assert api.post("/v1/runs/claim", json=claimed, headers=key).json()["runs"] == []
    for one in (study, other):
        queue_runs(api, one, 1)
    assert (waiting(api, study), waiting(api, other)) == ({"corpus-a": 1}, {})
    ask(api, register(api), "corpus-a")
    assert waiting(api, study) == {}
