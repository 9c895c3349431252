"""Agents as users see them; what a key of an agent may do, and for which study."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from tests.app.conftest import LOCAL
from tests.app.study_bodies import claim, create_study, get_run, queue_runs, register, result


def as_key(api: TestClient, *scopes: str, study: str | None = None) -> TestClient:
    """A caller with a new key."""
    made = api.post("/v1/keys", json={"name": "k", "scopes": list(scopes), "study_id": study})
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    return TestClient(api.app, base_url=LOCAL, headers=headers, raise_server_exceptions=False)


def agent_state(api: TestClient, agent: str) -> tuple[str, list[str]]:
    read = api.get(f"/v1/agents/{agent}").json()
    return read["state"], read["run_ids"]


def test_an_agent_works_then_idles_then_is_silent(api: TestClient, study: str, clock) -> None:
    agent = register(api)
    assert agent_state(api, agent) == ("idle", [])
    run = queue_runs(api, study, 1)[0]["id"]
    claim(api, agent, lease_seconds=3600)
    clock.advance(61)
    assert agent_state(api, agent) == ("working", [run])
    api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": result()})
    assert agent_state(api, agent) == ("silent", [])
    claim(api, agent)
    assert agent_state(api, agent) == ("idle", [])


def test_a_draining_agent_keeps_what_it_has_and_gets_nothing_new(api: TestClient, study: str) -> None:
    agent = register(api)
    queue_runs(api, study, 2)
    (held,) = claim(api, agent, max_runs=1)
    etag = api.get(f"/v1/agents/{agent}").headers["etag"]
    assert api.patch(f"/v1/agents/{agent}", json={"draining": True}).status_code == 428
    drained = api.patch(f"/v1/agents/{agent}", json={"draining": True}, headers={"If-Match": etag})
    assert drained.json()["draining"]
    assert claim(api, agent) == []
    beat = {"runs": [{"run_id": held["run_id"], "attempt": 1}]}
    assert api.post(f"/v1/agents/{agent}/heartbeat", json=beat).json() == {"lost": []}
    stale = api.patch(f"/v1/agents/{agent}", json={"draining": False}, headers={"If-Match": etag})
    assert stale.status_code == 412
    api.patch(f"/v1/agents/{agent}", json={"draining": False}, headers={"If-Match": drained.headers["etag"]})
    assert len(claim(api, agent)) == 1


def test_the_list_of_agents_says_what_each_holds(api: TestClient, study: str, clock) -> None:
    first = register(api)
    clock.advance(1)
    second = register(api)
    runs = [run["id"] for run in queue_runs(api, study, 3)]
    claim(api, first, max_runs=2)
    listed = [(one["id"], one["run_ids"]) for one in api.get("/v1/agents").json()["items"]]
    assert listed == [(second, []), (first, runs[:2])]


def test_an_unknown_agent_is_not_found(api: TestClient, study: str) -> None:
    for method in ("get", "patch"):
        body: dict[str, Any] = {} if method == "get" else {"json": {"draining": True}, "headers": {"If-Match": "*"}}
        assert getattr(api, method)(f"/v1/agents/{study}", **body).status_code == 404


def test_the_scope_of_an_agent_is_enough_for_its_work_and_for_nothing_else(api: TestClient, study: str) -> None:
    runs = [run["id"] for run in queue_runs(api, study, 5)]
    worker = as_key(api, "agent")
    agent = register(worker)
    assert [run["run_id"] for run in claim(worker, agent)] == runs
    point = {"train_tokens": 1024, "losses": {"code": {"value": 2.5}}}
    results = [{"run_id": runs[1], "attempt": 1, "result": result()}]
    calls: list[tuple[str, dict[str, Any]]] = [
        (f"agents/{agent}/heartbeat", {"runs": [{"run_id": runs[0], "attempt": 1}]}),
        (f"runs/{runs[0]}/measurements", {"attempt": 1, "point": point}),
        ("runs/measurements", {"points": [{"run_id": runs[0], "attempt": 1, "point": point}]}),
        (f"runs/{runs[0]}/complete", {"attempt": 1, "result": result()}),
        ("runs/complete", {"results": results}),
        (f"runs/{runs[2]}/fail", {"attempt": 1, "reason": "broke"}),
        (f"runs/{runs[3]}/release", {"attempt": 1}),
    ]
    for path, body in calls:
        assert worker.post(f"/v1/{path}", json=body).status_code in (200, 204), path
    for path in ("agents", f"agents/{agent}", f"runs/{runs[0]}", f"studies/{study}/runs"):
        assert worker.get(f"/v1/{path}").status_code == 403, path
    for path in (f"runs/{runs[4]}/cancel", f"runs/{runs[4]}/prune", f"runs/{runs[4]}/retry"):
        assert worker.post(f"/v1/{path}").status_code == 403, path
    assert get_run(api, runs[4])["state"] == "leased"


def test_an_agent_of_a_bound_key_gets_only_runs_of_that_study(api: TestClient, study: str) -> None:
    other = create_study(api)
    theirs = queue_runs(api, other, 1)[0]["id"]
    mine = queue_runs(api, study, 2)
    worker = as_key(api, "agent", study=study)
    agent = register(worker)
    assert [run["run_id"] for run in claim(worker, agent)] == [run["id"] for run in mine]
    assert claim(worker, agent) == []
    claim(api, register(api))
    for step, body in (("complete", {"result": result()}), ("fail", {"reason": "x"}), ("release", {})):
        response = worker.post(f"/v1/runs/{theirs}/{step}", json={"attempt": 1} | body)
        assert response.status_code == 404
        assert response.json()["detail"] == f"there is no run {theirs}"
    results = [{"run_id": theirs, "attempt": 1, "result": result()}]
    assert worker.post("/v1/runs/complete", json={"results": results}).json() == {"lost": [theirs]}
    points = [{"run_id": theirs, "attempt": 1, "point": {"train_tokens": 1024, "losses": {"code": {"value": 2.5}}}}]
    assert worker.post("/v1/runs/measurements", json={"points": points}).json() == {"lost": [theirs]}
    assert (get_run(api, theirs)["state"], get_run(api, theirs)["progress_tokens"]) == ("leased", 0)


def test_a_bound_key_sees_the_agents_and_runs_of_its_study_only(api: TestClient, study: str) -> None:
    elsewhere = register(api)
    theirs = queue_runs(api, create_study(api), 1)[0]["id"]
    mine = register(as_key(api, "agent", study=study))
    reader = as_key(api, "read", "write", study=study)
    assert [agent["id"] for agent in reader.get("/v1/agents").json()["items"]] == [mine]
    assert reader.get(f"/v1/agents/{elsewhere}").status_code == 404
    for path in (f"runs/{theirs}", f"runs/{theirs}/attempts", f"runs/{theirs}/trajectory"):
        assert reader.get(f"/v1/{path}").status_code == 404
    for step in ("cancel", "prune", "retry"):
        assert reader.post(f"/v1/runs/{theirs}/{step}").status_code == 404
    assert get_run(api, theirs)["state"] == "queued"


def test_an_agent_may_not_work_in_the_name_of_one_of_another_study(api: TestClient, study: str) -> None:
    stranger = register(api)
    queue_runs(api, study, 1)
    worker = as_key(api, "agent", study=study)
    body = {"agent_id": stranger, "max_runs": 1, "corpus_hashes": ["corpus-a"]}
    assert worker.post("/v1/runs/claim", json=body).status_code == 404
