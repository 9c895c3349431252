"""The queue: leases, attempts, fencing. A result counts once, a late agent changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from tests.app.study_bodies import SETTINGS, claim, get_run, queue_runs, register, result, weights

STEPS = ("measurements", "complete", "fail", "release")


def _write(api: TestClient, step: str, run: str, attempt: int):
    point = {"train_tokens": 1024, "losses": {"code": {"value": 2.5}}}
    body = {
        "measurements": {"point": point},
        "complete": {"result": result()},
        "fail": {"reason": "out of memory"},
        "release": {},
    }[step]
    return api.post(f"/v1/runs/{run}/{step}", json={"attempt": attempt} | body)


def test_a_claim_leases_runs_and_hands_out_their_specs(api: TestClient, study: str, agent: str, clock) -> None:
    queued = queue_runs(api, study, 2, weights=weights(0.6, 0.0, 0.4))
    claimed = claim(api, agent)
    assert [run["run_id"] for run in claimed] == [run["id"] for run in queued]
    spec = claimed[1]["spec"]
    assert spec["seed"] == 1
    assert spec["stages"] == [{"from_token": 0, "to_token": 4096, "weights": weights(0.6, 0.0, 0.4)}]
    assert spec["settings"]["corpus_hash"] == "corpus-a"
    run = get_run(api, claimed[0]["run_id"])
    assert (run["state"], run["attempt"], run["agent_id"]) == ("leased", 1, agent)
    assert run["lease_expires_at"] == "2026-01-01T00:00:30Z"


def test_a_claim_takes_only_runs_that_train_as_one_stack(api: TestClient, study: str, agent: str, clock) -> None:
    first = queue_runs(api, study, 2)
    clock.advance(1)
    longer = queue_runs(api, study, 2, settings=SETTINGS | {"train_tokens": 8192})
    clock.advance(1)
    same = queue_runs(api, study, 1)
    assert [run["run_id"] for run in claim(api, agent)] == [run["id"] for run in (*first, *same)]
    assert [run["run_id"] for run in claim(api, agent)] == [run["id"] for run in longer]
    assert claim(api, agent) == []


def test_a_claim_takes_only_runs_on_corpora_that_the_agent_has(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1, settings=SETTINGS | {"corpus_hash": "elsewhere"})
    mine = queue_runs(api, study, 1)
    assert [run["run_id"] for run in claim(api, agent)] == [mine[0]["id"]]
    assert len(claim(api, agent, corpus_hashes=["other", "elsewhere"])) == 1


def test_higher_priority_goes_first_then_the_older(api: TestClient, study: str, agent: str) -> None:
    low, middle, high = (queue_runs(api, study, 1, priority=p)[0]["id"] for p in (-1, 0, 7))
    order = [claim(api, agent, max_runs=1)[0]["run_id"] for _ in range(3)]
    assert order == [high, middle, low]


def test_max_runs_bounds_the_batch(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 5)
    assert [len(claim(api, agent, max_runs=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_an_unregistered_agent_gets_nothing(api: TestClient, study: str) -> None:
    queue_runs(api, study, 1)
    body = {"agent_id": study, "max_runs": 1, "corpus_hashes": ["corpus-a"]}
    response = api.post("/v1/runs/claim", json=body)
    assert response.status_code == 404
    assert "register with POST /v1/agents" in response.json()["detail"]


def test_claims_at_once_never_hand_out_a_run_twice(api: TestClient, study: str) -> None:
    queued = {run["id"] for run in queue_runs(api, study, 60)}
    agents = [register(api) for _ in range(8)]

    def drain(agent: str) -> list[str]:
        mine: list[str] = []
        while batch := claim(api, agent, max_runs=3):
            mine += [run["run_id"] for run in batch]
        return mine

    with ThreadPoolExecutor(len(agents)) as pool:
        taken = [run for runs in pool.map(drain, agents) for run in runs]
    assert len(taken) == len(set(taken)) == 60
    assert set(taken) == queued


def test_completion_stores_what_was_measured(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    points = [{"train_tokens": t, "losses": {"code": {"value": 9.0 - t / 1024}}} for t in (1024, 2048)]
    assert _write(api, "measurements", run, 1).status_code == 204
    done = result(code=2.0, web=3.0, trajectory=points)
    assert api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": done}).status_code == 204
    stored = get_run(api, run)
    assert stored["state"] == "succeeded"
    assert stored["losses"] == {"code": {"value": 2.0, "stderr": 0.01}, "web": {"value": 3.0, "stderr": None}}
    assert stored["realised_weights"] == weights(0.5, 0.3, 0.2)
    assert (stored["wall_seconds"], stored["progress_tokens"], stored["lease_expires_at"]) == (1.5, 4096, None)
    trajectory = api.get(f"/v1/runs/{run}/trajectory").json()["points"]
    # The point at 1024 that was reported on the way is replaced by the final trajectory's.
    assert [(p["train_tokens"], p["losses"]["code"]["value"]) for p in trajectory] == [(1024, 8.0), (2048, 7.0)]


def test_losses_of_domains_that_are_no_targets_do_not_reach_the_run(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    done = result(losses={"law": {"value": 1.0}, "web": {"value": 3.0}})
    api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": done})
    assert get_run(api, run)["losses"] == {"web": {"value": 3.0, "stderr": None}}


def test_a_result_without_any_target_of_the_study_is_no_data_point(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    done = result(losses={"law": {"value": 1.0}})
    assert api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": done}).status_code == 204
    stored = get_run(api, run)
    assert stored["state"] == "failed"
    assert stored["error"] == "it measured law, but the targets of the study are code, web"


def test_completing_twice_counts_once(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    assert _write(api, "complete", run, 1).status_code == 204
    first = get_run(api, run)
    clock.advance(5)
    late = api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": result(code=9.0)})
    assert late.status_code == 204
    assert get_run(api, run) == first
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["succeeded"] == 1


def test_a_diverged_run_has_failed_and_is_not_retried(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    diverged = {"status": "diverged", "train_tokens": 512, "message": "loss is NaN at step 8"}
    for _ in range(2):
        assert api.post(f"/v1/runs/{run}/complete", json={"attempt": 1, "result": diverged}).status_code == 204
    stored = get_run(api, run)
    assert (stored["state"], stored["losses"]) == ("failed", None)
    assert stored["error"] == "diverged: loss is NaN at step 8"
    assert claim(api, agent) == []


# Four steps of 1024 tokens and a rest of 100, which trainers may leave out or train as a whole step.
@pytest.mark.parametrize(("trained", "state"), [
    (5, "failed"), (3072, "failed"), (4095, "failed"), (4096, "succeeded"), (4196, "succeeded"), (5120, "succeeded"),
    (5220, "failed"), (10**12, "failed"),
])  # fmt: skip
def test_a_result_of_a_run_of_another_length_is_none(
    api: TestClient, study: str, agent: str, trained: int, state: str
) -> None:
    settings = SETTINGS | {"train_tokens": 4196, "batch_sequences": 8, "model": {"context": 128}}
    queue_runs(api, study, 2, settings=settings)
    one, other = (held["run_id"] for held in claim(api, agent))
    told = result(train_tokens=trained)
    assert api.post(f"/v1/runs/{one}/complete", json={"attempt": 1, "result": told}).status_code == 204
    many = {"results": [{"run_id": other, "attempt": 1, "result": told}]}
    assert api.post("/v1/runs/complete", json=many).json() == {"lost": []}
    for run in (one, other):
        stored = get_run(api, run)
        assert stored["state"] == state
        sentence = f"its agent reports success after {trained} tokens; the run has 4196"
        assert stored["error"] == (sentence if state == "failed" else None)


@pytest.mark.parametrize("step", STEPS)
def test_a_late_attempt_changes_nothing(api: TestClient, study: str, agent: str, clock, step: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    clock.advance(31)
    other = register(api)
    assert claim(api, other)[0]["attempt"] == 2
    before = get_run(api, run)
    response = _write(api, step, run, 1)
    assert response.status_code == 409
    assert response.json()["type"] == "urn:mixwright:problem:lease-lost"
    assert "attempt 1 may not write" in response.json()["detail"]
    assert get_run(api, run) == before
    assert api.get(f"/v1/runs/{run}/trajectory").json()["points"] == []
    assert _write(api, "complete", run, 2).status_code == 204


@pytest.mark.parametrize("step", STEPS)
def test_no_attempt_may_write_to_a_cancelled_run(api: TestClient, study: str, agent: str, step: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    api.post(f"/v1/runs/{run}/cancel")
    assert _write(api, step, run, 1).status_code == 409
    assert get_run(api, run)["state"] == "cancelled"
    assert claim(api, agent) == []


@pytest.mark.parametrize("step", STEPS)
def test_no_attempt_may_write_to_a_run_that_nobody_claimed(api: TestClient, study: str, step: str) -> None:
    run = queue_runs(api, study, 1)[0]["id"]
    assert _write(api, step, run, 1).status_code == 409
    assert get_run(api, run)["state"] == "queued"


def test_a_lease_that_runs_out_returns_the_run_until_attempts_are_used_up(
    api: TestClient, study: str, agent: str, clock
) -> None:
    queue_runs(api, study, 1)
    for attempt in range(1, 6):
        claimed = claim(api, agent)
        assert [run["attempt"] for run in claimed] == [attempt]
        clock.advance(30)
        assert claim(api, agent) == [], "a lease holds until its very end"
        clock.advance(0.001)
    assert claim(api, agent) == []
    run = api.get(f"/v1/studies/{study}/runs").json()["items"][0]
    assert run["state"] == "stale"
    assert run["error"] == "the lease of attempt 5 of 5 ran out: its agent sent no heartbeat"
    assert run["finished_at"] is not None


def test_the_sweep_returns_runs_without_a_claim(api: TestClient, study: str, agent: str, clock, database) -> None:
    from app.services import queue

    queue_runs(api, study, 2)
    run = claim(api, agent, max_runs=1)[0]["run_id"]
    clock.advance(31)
    with database.write() as session:
        queue.sweep(session, clock())
    stored = get_run(api, run)
    assert (stored["state"], stored["agent_id"], stored["attempt"]) == ("queued", None, 1)
    assert "attempt 1 of 5 ran out" in stored["error"]


def test_a_report_after_the_end_of_the_lease_counts_while_nobody_took_the_run(
    api: TestClient, study: str, agent: str, clock
) -> None:
    """The work is done and nobody else does it: refusing the result would only waste it."""
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    clock.advance(3600)
    assert _write(api, "complete", run, 1).status_code == 204
    assert get_run(api, run)["state"] == "succeeded"


def test_heartbeats_keep_leases_alive_and_report_progress(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 2)
    claimed = claim(api, agent)
    for beat in range(1, 6):
        clock.advance(20)
        held = [{"run_id": run["run_id"], "attempt": 1, "progress_tokens": 100 * beat} for run in claimed]
        answer = api.post(f"/v1/agents/{agent}/heartbeat", json={"runs": held, "lease_seconds": 30})
        assert answer.json() == {"lost": []}
        assert claim(api, register(api)) == []
    assert get_run(api, claimed[0]["run_id"])["progress_tokens"] == 500
    assert api.get("/v1/agents").json()["items"][-1]["last_seen_at"] == "2026-01-01T00:01:40Z"


def test_a_heartbeat_names_every_run_that_is_lost(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 4)
    cancelled, taken, done, kept = (run["run_id"] for run in claim(api, agent))
    api.post(f"/v1/runs/{cancelled}/cancel")
    _write(api, "complete", done, 1)
    _write(api, "release", taken, 1)
    assert [run["run_id"] for run in claim(api, register(api))] == [taken]
    unknown = study
    held = [{"run_id": run, "attempt": 1} for run in (cancelled, taken, done, kept, unknown)]
    lost = api.post(f"/v1/agents/{agent}/heartbeat", json={"runs": held}).json()["lost"]
    assert lost == [cancelled, taken, done, unknown]


def test_a_heartbeat_of_another_agent_does_not_extend_a_lease(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    held = [{"run_id": run, "attempt": 1}]
    assert api.post(f"/v1/agents/{register(api)}/heartbeat", json={"runs": held}).json()["lost"] == [run]


def test_a_failure_is_retried_until_attempts_are_used_up(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    for attempt in range(1, 6):
        run = claim(api, agent)[0]
        assert run["attempt"] == attempt
        assert _write(api, "fail", run["run_id"], attempt).status_code == 204
    assert claim(api, agent) == []
    stored = get_run(api, run["run_id"])
    assert (stored["state"], stored["error"]) == ("failed", "attempt 5 of 5 failed: out of memory")


def test_a_failure_without_retry_is_final(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    body = {"attempt": 1, "reason": "no shard for domain law", "retry": False}
    api.post(f"/v1/runs/{run}/fail", json=body)
    assert get_run(api, run)["state"] == "failed"
    assert claim(api, agent) == []


def test_a_released_run_keeps_all_of_its_attempts_under_a_new_number(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    for attempt in range(1, 8):
        run = claim(api, agent)[0]
        assert run["attempt"] == attempt
        assert _write(api, "release", run["run_id"], attempt).status_code == 204
    for _ in range(5):
        run = claim(api, agent)[0]
        _write(api, "fail", run["run_id"], run["attempt"])
    assert claim(api, agent) == []
    assert get_run(api, run["run_id"])["state"] == "failed"


def test_points_of_an_attempt_that_was_lost_are_not_shown(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    _write(api, "measurements", run, 1)
    assert len(api.get(f"/v1/runs/{run}/trajectory").json()["points"]) == 1
    clock.advance(31)
    claim(api, agent)
    assert api.get(f"/v1/runs/{run}/trajectory").json()["points"] == []


def test_the_same_point_again_replaces_it(api: TestClient, study: str, agent: str) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    for value in (5.0, 4.0):
        point = {"train_tokens": 1024, "losses": {"code": {"value": value}}}
        assert api.post(f"/v1/runs/{run}/measurements", json={"attempt": 1, "point": point}).status_code == 204
    points = api.get(f"/v1/runs/{run}/trajectory").json()["points"]
    assert [point["losses"]["code"]["value"] for point in points] == [4.0]
    assert get_run(api, run)["progress_tokens"] == 1024


def test_the_points_of_a_stack_count_but_for_those_of_lost_runs(api: TestClient, study: str, agent: str, clock) -> None:
    queue_runs(api, study, 3)
    first, second, third = (run["run_id"] for run in claim(api, agent))
    clock.advance(20)
    held = {"runs": [{"run_id": run, "attempt": 1} for run in (first, third)], "lease_seconds": 30}
    api.post(f"/v1/agents/{agent}/heartbeat", json=held)
    clock.advance(11)
    assert [run["run_id"] for run in claim(api, register(api))] == [second]
    told = [
        (run, tokens, value) for tokens, value in ((2048, 3.0), (1024, 4.0)) for run in (first, second, third, study)
    ]
    told.append((third, 2048, 2.5))
    points = [
        {"run_id": run, "attempt": 1, "point": {"train_tokens": tokens, "losses": {"code": {"value": value}}}}
        for run, tokens, value in told
    ]
    for _ in range(2):  # the same points again replace themselves
        assert api.post("/v1/runs/measurements", json={"points": points}).json() == {"lost": [second, study]}
    shown = {run: api.get(f"/v1/runs/{run}/trajectory").json()["points"] for run in (first, second, third)}
    values = {run: [(at["train_tokens"], at["losses"]["code"]["value"]) for at in its] for run, its in shown.items()}
    assert values == {first: [(1024, 4.0), (2048, 3.0)], second: [], third: [(1024, 4.0), (2048, 2.5)]}
    assert [get_run(api, run)["progress_tokens"] for run in (first, second, third)] == [2048, 0, 2048]


def test_many_agents_drain_a_queue_with_each_result_counted_once(api: TestClient, study: str) -> None:
    """Agents complete, drop and fail at once; afterwards every run succeeded in exactly one attempt."""
    queue_runs(api, study, 40)

    def work(agent: str) -> int:
        done = 0
        while batch := claim(api, agent, max_runs=4):
            for i, run in enumerate(batch):
                step = "release" if run["attempt"] == 1 and i % 3 == 1 else "complete"
                assert _write(api, step, run["run_id"], run["attempt"]).status_code == 204
                done += step == "complete"
        return done

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, [register(api) for _ in range(6)])) == 40
    assert api.get(f"/v1/studies/{study}").json()["run_counts"]["succeeded"] == 40
