"""A study's budget bounds what agents are given; what they train is counted, also when it comes to nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.db import Database
from app.models import Study
from app.schemas.budgets import BudgetRead
from app.services import queue
from app.services.budgets import budget_of
from tests.app.study_bodies import SETTINGS, claim, create_study, queue_runs, register, result

# 6ND of the runs that SETTINGS describes.
RUN_FLOPS = 6 * 26_784 * 4096


def limit(database: Database, study: str, **values: float) -> None:
    with database.write() as session:
        session.execute(update(Study).where(Study.id == UUID(study)).values(**values))
        session.commit()


def budget(database: Database, study: str) -> BudgetRead:
    with database.read() as session:
        return budget_of(session, [UUID(study)])[UUID(study)]


def complete(api: TestClient, run: dict, **changes: object) -> None:
    body = {"attempt": run["attempt"], "result": result(**changes)}
    assert api.post(f"/v1/runs/{run['run_id']}/complete", json=body).status_code == 204


def test_without_a_budget_costs_are_counted_all_the_same(api: TestClient, study: str, agent: str, database) -> None:
    queue_runs(api, study, 3)
    first, second, _ = claim(api, agent)
    complete(api, first, wall_seconds=1800)
    complete(api, second, wall_seconds=1800)
    assert budget(database, study) == BudgetRead(
        flops=None,
        gpu_hours=None,
        spent_flops=2 * RUN_FLOPS,
        reserved_flops=RUN_FLOPS,
        spent_gpu_hours=1.0,
        reserved_gpu_hours=0.5,
        spent_cpu_hours=0.0,
        reserved_cpu_hours=0.0,
        exhausted=False,
        exhausted_on_cpu=False,
    )


def test_a_budget_of_three_runs_gives_three(api: TestClient, study: str, agent: str, database) -> None:
    limit(database, study, budget_flops=3 * RUN_FLOPS)
    queue_runs(api, study, 5)
    assert len(claim(api, agent, max_runs=2)) == 2
    assert not budget(database, study).exhausted
    claimed = claim(api, agent, max_runs=2)
    assert len(claimed) == 1
    assert budget(database, study).exhausted
    assert claim(api, agent) == []
    complete(api, claimed[0])
    assert claim(api, agent) == []


def test_what_was_reserved_and_not_used_is_given_again(api: TestClient, study: str, agent: str, database) -> None:
    limit(database, study, budget_flops=2 * RUN_FLOPS)
    queue_runs(api, study, 3)
    first, second = claim(api, agent)
    assert claim(api, agent) == []
    api.post(f"/v1/runs/{first['run_id']}/release", json={"attempt": 1})
    assert budget(database, study).reserved_flops == RUN_FLOPS
    assert [run["run_id"] for run in claim(api, agent)] == [first["run_id"]]
    complete(api, second, status="diverged", losses={}, train_tokens=1024)
    assert budget(database, study).spent_flops == RUN_FLOPS / 4


def test_a_raised_budget_gives_more_and_none_left_gives_nothing(
    api: TestClient, study: str, agent: str, database
) -> None:
    queue_runs(api, study, 2)
    limit(database, study, budget_flops=0)
    assert budget(database, study).exhausted
    assert claim(api, agent) == []
    limit(database, study, budget_flops=RUN_FLOPS)
    assert len(claim(api, agent)) == 1


def test_runs_that_fit_go_on_behind_one_that_does_not(api: TestClient, study: str, agent: str, database) -> None:
    limit(database, study, budget_flops=2 * RUN_FLOPS)
    queue_runs(api, study, 1, settings=SETTINGS | {"train_tokens": 4 * 4096}, priority=1)
    small = queue_runs(api, study, 1)[0]["id"]
    assert [run["run_id"] for run in claim(api, agent)] == [small]


def test_a_study_without_room_does_not_hold_up_the_others(api: TestClient, study: str, agent: str, database) -> None:
    limit(database, study, budget_flops=RUN_FLOPS)
    other = create_study(api)
    mine, theirs = queue_runs(api, study, 3), queue_runs(api, other, 2)
    claimed = {run["run_id"] for run in claim(api, agent)}
    assert claimed == {mine[0]["id"], *(run["id"] for run in theirs)}


def test_gpu_hours_are_reserved_at_the_rate_so_far(api: TestClient, study: str, agent: str, database) -> None:
    limit(database, study, budget_gpu_hours=2)
    queue_runs(api, study, 6)
    complete(api, claim(api, agent, max_runs=1)[0], wall_seconds=1800)
    assert len(claim(api, agent)) == 3
    assert budget(database, study).reserved_gpu_hours == pytest.approx(1.5)
    assert budget(database, study).exhausted


def test_hours_on_cpus_are_no_gpu_hours(api: TestClient, study: str, agent: str, database) -> None:
    queue_runs(api, study, 4)
    on_gpu, second = claim(api, agent, max_runs=2)
    (on_cpu,) = claim(api, agent, max_runs=1, processor="cpu")
    complete(api, on_gpu, wall_seconds=1800)
    complete(api, on_cpu, wall_seconds=7200)
    claim(api, agent, processor="cpu")
    spent = budget(database, study)
    assert (spent.spent_gpu_hours, spent.spent_cpu_hours) == (0.5, 2.0)
    # One run in work on either, each at the rate of its own kind.
    assert (spent.reserved_gpu_hours, spent.reserved_cpu_hours) == (0.5, 2.0)
    complete(api, second, wall_seconds=900, processor="cpu")
    spent = budget(database, study)
    assert (spent.spent_gpu_hours, spent.spent_cpu_hours) == (0.5, 2.25), "what a result says counts, not the claim"


def test_a_budget_of_gpu_hours_binds_gpus_alone(api: TestClient, study: str, agent: str, database) -> None:
    limit(database, study, budget_gpu_hours=1)
    queue_runs(api, study, 6)
    (slow,) = claim(api, agent, max_runs=1, processor="cpu")
    complete(api, slow, wall_seconds=10 * 3600)
    assert not budget(database, study).exhausted
    complete(api, claim(api, agent, max_runs=1)[0], wall_seconds=1800)
    assert len(claim(api, agent, processor="gpu")) == 1, "half an hour is left, and that is what a run takes on a GPU"
    left = budget(database, study)
    assert (left.exhausted, left.exhausted_on_cpu) == (True, False)
    assert claim(api, agent) == [], "who does not say what it trains on counts as a GPU"
    assert len(claim(api, agent, processor="cpu")) == 3


def test_a_budget_of_flops_binds_every_processor(api: TestClient, study: str, agent: str, database) -> None:
    limit(database, study, budget_flops=RUN_FLOPS)
    queue_runs(api, study, 2)
    assert len(claim(api, agent, processor="cpu")) == 1
    assert budget(database, study).exhausted_on_cpu
    assert claim(api, agent, processor="cpu") == claim(api, agent) == []


def test_a_broken_attempt_costs_hours_of_what_it_was_claimed_for(
    api: TestClient, study: str, agent: str, database, clock
) -> None:
    queue_runs(api, study, 1)
    (run,) = claim(api, agent, processor="cpu")
    clock.advance(20)
    api.post(f"/v1/runs/{run['run_id']}/fail", json={"attempt": 1, "reason": "broke", "retry": False})
    spent = budget(database, study)
    assert (spent.spent_gpu_hours, spent.spent_cpu_hours * 3600) == (0, pytest.approx(20))


def test_broken_attempts_cost_their_share_of_the_agents_time_and_what_they_trained(
    api: TestClient, study: str, agent: str, database, clock
) -> None:
    queue_runs(api, study, 2)
    failed, silent = (run["run_id"] for run in claim(api, agent))
    clock.advance(20)
    held = [{"run_id": run, "attempt": 1, "progress_tokens": 2048} for run in (failed, silent)]
    api.post(f"/v1/agents/{agent}/heartbeat", json={"runs": held, "lease_seconds": 30})
    api.post(f"/v1/runs/{failed}/fail", json={"attempt": 1, "reason": "broke", "retry": False})
    assert budget(database, study).spent_gpu_hours * 3600 == pytest.approx(20 / 2)
    clock.advance(3600)
    with database.write() as session:
        queue.sweep(session, clock())
    spent = budget(database, study)
    assert spent.spent_flops == RUN_FLOPS, "two halves"
    # The second one was paid for until its lease ran out, 50 seconds after the claim.
    assert spent.spent_gpu_hours * 3600 == pytest.approx(20 / 2 + 50 / 2)


def test_a_cancelled_run_costs_what_it_had_trained(api: TestClient, study: str, agent: str, database, clock) -> None:
    queue_runs(api, study, 1)
    run = claim(api, agent)[0]["run_id"]
    clock.advance(10)
    held = [{"run_id": run, "attempt": 1, "progress_tokens": 1024}]
    api.post(f"/v1/agents/{agent}/heartbeat", json={"runs": held})
    api.post(f"/v1/runs/{run}/cancel")
    spent = budget(database, study)
    assert (spent.spent_flops, spent.reserved_flops) == (RUN_FLOPS / 4, 0)
    assert spent.spent_gpu_hours == pytest.approx(10 / 3600)


def test_claims_at_once_stay_within_the_budget(api: TestClient, study: str, database) -> None:
    limit(database, study, budget_flops=10 * RUN_FLOPS)
    queue_runs(api, study, 40)
    agents = [register(api) for _ in range(6)]
    with ThreadPoolExecutor(len(agents)) as pool:
        claimed = [run for runs in pool.map(lambda agent: claim(api, agent, max_runs=3), agents * 2) for run in runs]
    assert len(claimed) == len({run["run_id"] for run in claimed}) == 10


def test_a_budget_or_runs_that_come_while_a_claim_looks_are_left_to_the_next(
    api: TestClient, study: str, agent: str, database, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(database, study, budget_flops=2 * RUN_FLOPS)
    free = create_study(api)
    queue_runs(api, study, 3)
    theirs = queue_runs(api, free, 1)
    with monkeypatch.context() as patched:
        patched.setattr(queue, "limited_studies", lambda session: [])
        assert [run["run_id"] for run in claim(api, agent)] == [theirs[0]["id"]]
    assert len(claim(api, agent)) == 2


def test_a_lease_is_paid_for_until_it_ran_out_and_no_longer(
    api: TestClient, study: str, agent: str, database, clock
) -> None:
    queue_runs(api, study, 1)
    claim(api, agent)
    clock.now += timedelta(days=2)
    assert len(claim(api, agent)) == 1
    assert budget(database, study).spent_gpu_hours * 3600 == pytest.approx(30)


@pytest.mark.parametrize("far_off", [{"train_tokens": 10**30}, {"train_tokens": 10**300}, {"wall_seconds": 1e308}])
def test_costs_beyond_any_run_are_refused(api: TestClient, study: str, agent: str, far_off: dict[str, float]) -> None:
    queue_runs(api, study, 1)
    (held,) = claim(api, agent)
    report = {"attempt": held["attempt"], "result": result(**far_off)}
    assert api.post(f"/v1/runs/{held['run_id']}/complete", json=report).status_code == 422
    many = {"results": [report | {"run_id": held["run_id"]}]}
    assert api.post("/v1/runs/complete", json=many).status_code == 422
    assert api.get(f"/v1/runs/{held['run_id']}").json()["state"] == "leased"
