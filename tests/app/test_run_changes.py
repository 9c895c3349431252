"""What users change about runs, which they find by filters, and what the history of a run says."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.db import Database
from app.models import Run
from tests.app.study_bodies import (
    SETTINGS,
    claim,
    create_study,
    get_run,
    queue_runs,
    register,
    result,
    weights,
)

MEASURED: dict[str, Any] = {"weights": weights(1, 0, 0), "losses": {"code": 1.0}}


def report(api: TestClient, run: str, step: str, attempt: int, **body: Any) -> int:
    return api.post(f"/v1/runs/{run}/{step}", json={"attempt": attempt} | body).status_code


def attempts(api: TestClient, run: str) -> list[dict[str, Any]]:
    return api.get(f"/v1/runs/{run}/attempts").json()["items"]


def add_runs(api: TestClient, study: str, *runs: dict[str, Any]) -> Any:
    return api.post(f"/v1/studies/{study}/runs", json={"runs": runs})


def listed(api: TestClient, study: str, **query: Any) -> list[str]:
    response = api.get(f"/v1/studies/{study}/runs", params=query)
    assert response.status_code == 200, response.text
    return [run["id"] for run in response.json()["items"]]


def kinds(database: Any) -> list[str]:
    from sqlalchemy import select

    from app.models import Event

    with database.read() as session:
        return list(session.scalars(select(Event.kind).order_by(Event.seq)))


# --- the history of attempts ---


def test_every_claim_is_an_attempt_that_says_how_it_ended(api: TestClient, study: str, clock) -> None:
    agent = register(api)
    run = queue_runs(api, study, 1)[0]["id"]
    claim(api, agent)
    report(api, run, "release", 1)
    claim(api, agent)
    clock.advance(31)
    claim(api, agent)
    report(api, run, "fail", 3, reason="out of memory")
    claim(api, agent)
    report(api, run, "complete", 4, result=result())
    told = [(one["attempt"], one["outcome"], one["reason"]) for one in attempts(api, run)]
    assert told == [
        (1, "preempted", "its agent gave it back"),
        (2, "stale", "the lease of attempt 2 of 6 ran out: its agent sent no heartbeat"),
        (3, "failed", "out of memory"),
        (4, "succeeded", None),
    ]
    assert [one["agent_id"] for one in attempts(api, run)] == [agent] * 4
    assert attempts(api, run)[1]["ended_at"] == "2026-01-01T00:00:30Z", "it ended when its lease did"


def test_an_attempt_is_open_while_its_agent_holds_the_run(api: TestClient, study: str) -> None:
    queue_runs(api, study, 3)
    claimed = claim(api, register(api))
    (one,) = attempts(api, claimed[0]["run_id"])
    assert (one["outcome"], one["ended_at"], one["stack_size"]) == (None, None, 3)


def test_attempts_come_in_pages(api: TestClient, study: str) -> None:
    agent = register(api)
    run = queue_runs(api, study, 1)[0]["id"]
    for attempt in range(1, 6):
        claim(api, agent)
        report(api, run, "release", attempt)
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"/v1/runs/{run}/attempts", params=query).json()
        seen += [one["attempt"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("cursor", ["AAAA", "_____w", "gAAAAAAAAAA"])
def test_a_cursor_that_is_no_attempt_is_refused(api: TestClient, study: str, cursor: str) -> None:
    run = queue_runs(api, study, 1)[0]["id"]
    response = api.get(f"/v1/runs/{run}/attempts", params={"cursor": cursor})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "cursor"


# --- results of a stack ---


def test_the_results_of_a_stack_count_but_for_those_that_come_late(api: TestClient, study: str, clock) -> None:
    agent, other = register(api), register(api)
    queue_runs(api, study, 3)
    first, second, third = (run["run_id"] for run in claim(api, agent))
    clock.advance(20)
    held = {"runs": [{"run_id": run, "attempt": 1} for run in (first, third)], "lease_seconds": 30}
    api.post(f"/v1/agents/{agent}/heartbeat", json=held)
    clock.advance(11)
    assert [run["run_id"] for run in claim(api, other)] == [second]
    body = {"results": [{"run_id": run, "attempt": 1, "result": result()} for run in (first, second, third, study)]}
    assert api.post("/v1/runs/complete", json=body).json() == {"lost": [second, study]}
    assert [get_run(api, run)["state"] for run in (first, second, third)] == ["succeeded", "leased", "succeeded"]


def test_a_stack_reported_twice_counts_once(api: TestClient, study: str, database) -> None:
    queue_runs(api, study, 2)
    runs = [run["run_id"] for run in claim(api, register(api))]
    for code in (2.0, 9.0):
        results = [{"run_id": run, "attempt": 1, "result": result(code=code)} for run in runs]
        assert api.post("/v1/runs/complete", json={"results": results}).json() == {"lost": []}
    assert [get_run(api, run)["losses"]["code"]["value"] for run in runs] == [2.0, 2.0]
    assert kinds(database).count("run.succeeded") == 2


# --- changes ---


def test_a_change_needs_the_version_that_was_read(api: TestClient, study: str) -> None:
    run = queue_runs(api, study, 1)[0]["id"]
    etag = api.get(f"/v1/runs/{run}").headers["etag"]
    assert api.patch(f"/v1/runs/{run}", json={"label": "a"}).status_code == 428
    changed = api.patch(f"/v1/runs/{run}", json={"label": "a"}, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()["label"]) == (200, "a")
    late = api.patch(f"/v1/runs/{run}", json={"label": "b"}, headers={"If-Match": etag})
    assert late.status_code == 412
    again = api.patch(f"/v1/runs/{run}", json={"priority": 5}, headers={"If-Match": changed.headers["etag"]})
    assert (again.json()["label"], again.json()["priority"]) == ("a", 5), "what is left out stays"


def test_what_an_agent_does_is_no_reason_to_refuse_a_change(api: TestClient, study: str) -> None:
    run = queue_runs(api, study, 1)[0]["id"]
    etag = api.get(f"/v1/runs/{run}").headers["etag"]
    claim(api, register(api))
    assert api.get(f"/v1/runs/{run}", headers={"If-None-Match": etag}).status_code == 200
    assert api.patch(f"/v1/runs/{run}", json={"exclude_from_fit": True}, headers={"If-Match": etag}).status_code == 200
    assert get_run(api, run)["exclude_from_fit"]


def test_an_unchanged_run_is_not_sent_again(api: TestClient, study: str) -> None:
    run = queue_runs(api, study, 1)[0]["id"]
    etag = api.get(f"/v1/runs/{run}").headers["etag"]
    assert api.get(f"/v1/runs/{run}", headers={"If-None-Match": etag}).status_code == 304


def test_a_raised_priority_moves_a_run_to_the_front(api: TestClient, study: str) -> None:
    runs = queue_runs(api, study, 3)
    last = runs[-1]["id"]
    api.patch(f"/v1/runs/{last}", json={"priority": 1}, headers={"If-Match": "*"})
    assert claim(api, register(api), max_runs=1)[0]["run_id"] == last


@pytest.mark.parametrize("body", [{"priority": None}, {"priority": 1001}, {"state": "queued"}, {"label": "x" * 201}])
def test_a_change_to_something_else_is_refused(api: TestClient, study: str, body: dict[str, Any]) -> None:
    run = queue_runs(api, study, 1)[0]["id"]
    response = api.patch(f"/v1/runs/{run}", json=body, headers={"If-Match": "*"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == next(iter(body))


def test_a_failed_run_is_queued_again_with_all_of_its_attempts(api: TestClient, study: str) -> None:
    agent = register(api)
    run = queue_runs(api, study, 1)[0]["id"]
    claim(api, agent)
    report(api, run, "complete", 1, result={"status": "diverged", "train_tokens": 512, "message": "NaN"})
    assert get_run(api, run)["state"] == "failed"
    retried = api.post(f"/v1/runs/{run}/retry").json()
    assert (retried["state"], retried["error"], retried["attempt"], retried["max_attempts"]) == ("queued", None, 1, 6)
    assert report(api, run, "complete", 1, result=result()) == 409, "the old attempt has had its chance"
    assert claim(api, agent)[0]["attempt"] == 2
    assert report(api, run, "complete", 2, result=result()) == 204
    assert get_run(api, run)["state"] == "succeeded"


def test_runs_that_wait_or_have_succeeded_are_not_retried(api: TestClient, study: str) -> None:
    queued = queue_runs(api, study, 1)[0]["id"]
    measured = add_runs(api, study, MEASURED).json()["runs"][0]["id"]
    for run, state in ((queued, "queued"), (measured, "succeeded")):
        response = api.post(f"/v1/runs/{run}/retry")
        assert response.status_code == 409
        assert f"is {state}; accepted: a run that is failed, stale, cancelled, pruned" in response.json()["detail"]


def test_a_cancelled_run_can_be_queued_again(api: TestClient, study: str) -> None:
    run = queue_runs(api, study, 1)[0]["id"]
    api.post(f"/v1/runs/{run}/cancel")
    assert api.post(f"/v1/runs/{run}/retry").json()["state"] == "queued"
    assert claim(api, register(api))[0]["run_id"] == run


def test_a_pruned_run_keeps_what_it_measured_and_its_agent_learns_of_it(api: TestClient, study: str) -> None:
    agent = register(api)
    run = queue_runs(api, study, 1)[0]["id"]
    assert api.post(f"/v1/runs/{run}/prune").status_code == 409
    claim(api, agent)
    point = {"train_tokens": 1024, "losses": {"code": {"value": 2.5}}}
    report(api, run, "measurements", 1, point=point)
    for _ in range(2):
        assert api.post(f"/v1/runs/{run}/prune").json()["state"] == "pruned"
    held = {"runs": [{"run_id": run, "attempt": 1}]}
    assert api.post(f"/v1/agents/{agent}/heartbeat", json=held).json() == {"lost": [run]}
    assert len(api.get(f"/v1/runs/{run}/trajectory").json()["points"]) == 1
    assert [one["outcome"] for one in attempts(api, run)] == ["pruned"]


def test_queued_runs_that_match_are_cancelled_and_no_others(api: TestClient, study: str, clock) -> None:
    swarm = queue_runs(api, study, 3)
    clock.advance(1)
    noise = queue_runs(api, study, 2, purpose="noise")
    claim(api, register(api), max_runs=1)
    cancelled = api.post(f"/v1/studies/{study}/runs/cancel", json={"purpose": "swarm"})
    assert cancelled.json() == {"cancelled": 2}
    states = [get_run(api, run["id"])["state"] for run in (*swarm, *noise)]
    assert states == ["leased", "cancelled", "cancelled", "queued", "queued"]
    assert api.post(f"/v1/studies/{study}/runs/cancel", json={}).json() == {"cancelled": 2}


def test_a_misspelt_filter_cancels_nothing(api: TestClient, study: str) -> None:
    queue_runs(api, study, 1)
    response = api.post(f"/v1/studies/{study}/runs/cancel", json={"purpos": "noise"})
    assert response.status_code == 422
    assert len(listed(api, study, state="queued")) == 1


# --- filters ---


def test_filters_combine_and_go_on_over_pages(api: TestClient, study: str, clock) -> None:
    agent = register(api)
    first = queue_runs(api, study, 4, label="Warm 100%_up")
    clock.advance(60)
    later = queue_runs(api, study, 3, label="warm 100 up", exclude_from_fit=True)
    clock.advance(60)
    measured = add_runs(api, study, MEASURED | {"model_params": 7, "label": "elsewhere"}).json()["runs"]
    claimed = [run["run_id"] for run in claim(api, agent, max_runs=2)]
    ids = [[run["id"] for run in runs] for runs in (first, later, measured)]
    assert listed(api, study, state=["leased", "succeeded"]) == [*claimed, *ids[2]]
    assert listed(api, study, label="WARM") == [*ids[0], *ids[1]]
    assert listed(api, study, label="100%_") == ids[0], "% and _ stand for themselves"
    assert listed(api, study, label="warm", state="leased") == claimed
    assert listed(api, study, exclude_from_fit=True) == ids[1]
    assert listed(api, study, source="manual") == listed(api, study, model_params=7) == ids[2]
    assert listed(api, study, agent_id=agent) == claimed
    assert listed(api, study, recommendation_id=study) == []
    assert listed(api, study, created_after="2026-01-01T00:00:00Z") == [*ids[1], *ids[2]]
    assert listed(api, study, created_after="2026-01-01T01:00:00.5+01:00", label="warm") == ids[1]
    page = api.get(f"/v1/studies/{study}/runs", params={"state": "queued", "label": "warm", "limit": 2}).json()
    rest = listed(api, study, state="queued", label="warm", cursor=page["next_cursor"])
    assert [run["id"] for run in page["items"]] + rest == [*ids[0][2:], *ids[1]]


@pytest.mark.parametrize("query", ["stat=queued", "state=waiting", "created_after=2026-01-01T00:00:00", "limit=0"])
def test_a_wrong_filter_is_named(api: TestClient, study: str, query: str) -> None:
    response = api.get(f"/v1/studies/{study}/runs?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(query.partition("=")[0])


# --- runs that were trained elsewhere ---


def test_an_external_id_is_unique_in_its_study(api: TestClient, study: str) -> None:
    named = MEASURED | {"external_id": "wandb/a1"}
    assert add_runs(api, study, named).json()["runs"][0]["external_id"] == "wandb/a1"
    again = add_runs(api, study, MEASURED, named)
    assert again.status_code == 409
    assert "'wandb/a1'" in again.json()["detail"]
    twice = add_runs(api, study, MEASURED | {"external_id": "b"}, MEASURED | {"external_id": "b"})
    assert twice.status_code == 409
    assert "'b' is given twice" in twice.json()["detail"]
    assert len(listed(api, study)) == 1, "a batch is taken whole or not at all"
    assert add_runs(api, create_study(api), named).status_code == 201


def test_a_preset_is_stored_as_the_numbers_that_it_stands_for(api: TestClient, study: str, database: Database) -> None:
    settings = SETTINGS | {"train_tokens": 65_536, "model": {"preset": "15M", "context": 128}}
    made = queue_runs(api, study, 1, settings=settings)[0]
    with database.read() as session:
        stored = session.get_one(Run, UUID(made["id"])).settings
    assert stored is not None
    assert "preset" not in stored["model"]
    assert [stored["model"][name] for name in ("d_model", "n_layers", "n_heads", "d_ff", "context")] == [
        *(384, 8, 6, 1024),
        128,
    ]
    assert abs(made["model_params"] - 15e6) < 1e6
    shown = api.get("/v1/openapi.json").json()["components"]["schemas"]
    assert any("15M" in str(schema.get("properties", {}).get("preset")) for schema in shown.values())


def test_losses_may_carry_their_standard_error_and_a_trajectory(api: TestClient, study: str) -> None:
    points = [{"train_tokens": tokens, "losses": {"code": {"value": 3.0}}} for tokens in (10, 20)]
    run = MEASURED | {"losses": {"code": {"value": 1.5, "stderr": 0.25}, "web": 2.0}, "trajectory": points}
    made = add_runs(api, study, run).json()["runs"][0]
    assert made["losses"] == {"code": {"value": 1.5, "stderr": 0.25}, "web": {"value": 2.0, "stderr": None}}
    trajectory = api.get(f"/v1/runs/{made['id']}/trajectory").json()["points"]
    assert [point["train_tokens"] for point in trajectory] == [10, 20]


@pytest.mark.parametrize("loss", [{"value": 1.0, "stderr": -1}, {"stderr": 1}, "low", {"value": 1.0, "error": 1}])
def test_a_loss_of_another_form_is_refused(api: TestClient, study: str, loss: Any) -> None:
    response = add_runs(api, study, MEASURED | {"losses": {"code": loss}})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("runs.0.losses.code")


def test_text_of_any_kind_comes_back_as_it_was_sent(api: TestClient, study: str) -> None:
    label = "'; DROP TABLE runs; -- <script>alert(1)</script> \\ % _ 漢字 🚀"
    run = add_runs(api, study, {"weights": weights(1, 0, 0), "settings": SETTINGS, "label": label}).json()["runs"][0]
    assert get_run(api, run["id"])["label"] == label
    assert listed(api, study, label=label) == [run["id"]]


def test_every_change_is_an_event(api: TestClient, study: str, database, clock) -> None:
    agent = register(api)
    run = queue_runs(api, study, 2)[0]["id"]
    claim(api, agent)
    report(api, run, "release", 1)
    claim(api, agent)
    report(api, run, "fail", 2, reason="broke")
    claim(api, agent)
    clock.advance(31)
    claim(api, agent)
    report(api, run, "complete", 4, result=result())
    api.patch(f"/v1/runs/{run}", json={"label": "best"}, headers={"If-Match": "*"})
    assert kinds(database)[2:] == [
        "runs.created", "runs.claimed", "run.preempted", "runs.claimed", "run.failed", "runs.claimed",
        "run.stale", "run.stale", "runs.claimed", "run.succeeded", "run.changed",
    ]  # fmt: skip
